# SPDX-License-Identifier: BSD-3-Clause
"""See zap.pxd, the contents page. What is spoken here is ZAP 1.0: frames of version, request, domain, address,
identity, mechanism and credentials, answered by version, request, status, text, user and metadata.
"""
from libc.string cimport memcmp, memcpy, memset, strlen

from covey.link.libzmq cimport ZMQ_DONTWAIT, ZMQ_LINGER, ZMQ_REP, ZMQ_SNDMORE, ZmqMessage, zmq

cdef enum:
    REQUEST = 1
    ADDRESS = 3
    MECHANISM = 5
    CREDENTIALS = 6
    REQUEST_MAX = 64


cdef int zap_open(Zap* self, void* context) noexcept nogil:
    cdef int zero = 0
    self.socket = zmq.socket(context, ZMQ_REP)
    if self.socket == NULL:
        return -1
    zmq.setsockopt(self.socket, ZMQ_LINGER, &zero, sizeof(int))
    return zmq.bind(self.socket, b"inproc://zeromq.zap.01")


cdef void zap_close(Zap* self) noexcept nogil:
    if self.socket != NULL:
        zmq.close(self.socket)
        self.socket = NULL


cdef void _say(Zap* self, const void* data, size_t size, bint more) noexcept nogil:
    cdef ZmqMessage message
    zmq.msg_init_size(&message, size)
    memcpy(zmq.msg_data(&message), data, size)
    if zmq.msg_send(&message, self.socket, ZMQ_DONTWAIT | (ZMQ_SNDMORE if more else 0)) < 0:
        zmq.msg_close(&message)


# The place of the key in the list; -1: it is not there. Every place is looked at, so that the time says nothing.
cdef int _find(const Zap* self, const uint8_t* key) noexcept nogil:
    cdef int found = -1
    cdef uint32_t i
    cdef uint32_t j
    cdef uint8_t differs
    for i in range(self.count):
        differs = 0
        for j in range(KEY_BYTES):
            differs |= self.allowed[i].key[j] ^ key[j]
        if differs == 0:
            found = <int> i
    return found


cdef void zap_answer(Zap* self) noexcept nogil:
    cdef ZmqMessage message
    cdef char request[REQUEST_MAX]
    cdef size_t request_size = 0
    cdef char address[FROM_MAX]
    cdef const char* user
    cdef size_t size
    cdef bint is_curve
    cdef int found
    cdef int frame
    cdef bint more
    while True:
        is_curve = False
        found = -1
        frame = 0
        more = True
        memset(address, 0, sizeof(address))
        while more:
            zmq.msg_init(&message)
            if zmq.msg_recv(&message, self.socket, ZMQ_DONTWAIT) < 0:
                zmq.msg_close(&message)
                return
            size = zmq.msg_size(&message)
            if frame == REQUEST:
                request_size = min(size, <size_t> REQUEST_MAX)
                memcpy(request, zmq.msg_data(&message), request_size)
            elif frame == ADDRESS:
                memcpy(address, zmq.msg_data(&message), min(size, sizeof(address) - 1))
            elif frame == MECHANISM:
                is_curve = size == 5 and memcmp(zmq.msg_data(&message), b"CURVE", 5) == 0
            elif frame == CREDENTIALS and is_curve and size == KEY_BYTES:
                found = _find(self, <uint8_t*> zmq.msg_data(&message))
            more = zmq.msg_more(&message)
            zmq.msg_close(&message)
            frame += 1
        user = b""
        if found >= 0:
            user = self.allowed[found].user
        _say(self, b"1.0", 3, True)
        _say(self, request, request_size, True)
        if found >= 0:
            _say(self, b"200", 3, True)
        else:
            _say(self, b"400", 3, True)
        _say(self, b"", 0, True)
        _say(self, user, strlen(user), True)
        _say(self, b"", 0, False)
        if found >= 0:
            self.accepted += 1
        else:
            self.refused += 1
            memcpy(self.refused_from, address, sizeof(address))
