# SPDX-License-Identifier: BSD-3-Clause
"""See dial.pxd, the contents page."""
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free
from libc.string cimport memcpy, memset, strchr, strdup, strncpy

from covey.link.libzmq cimport (
    ZMQ_CURVE_PUBLICKEY, ZMQ_CURVE_SECRETKEY, ZMQ_CURVE_SERVERKEY, ZMQ_DEALER, ZMQ_DONTWAIT,
    ZMQ_EVENT_CLOSED, ZMQ_EVENT_DISCONNECTED, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH, ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL, ZMQ_EVENT_HANDSHAKE_SUCCEEDED, ZMQ_HANDSHAKE_IVL, ZMQ_HEARTBEAT_IVL,
    ZMQ_HEARTBEAT_TIMEOUT, ZMQ_HEARTBEAT_TTL, ZMQ_IPV6, ZMQ_LINGER, ZMQ_MAXMSGSIZE, ZMQ_PAIR, ZMQ_RCVHWM,
    ZMQ_RECONNECT_IVL, ZMQ_SNDHWM, ZmqMessage, zmq)
from covey.link.post cimport clock_now
from covey.wire.protocol cimport FRAME_BYTES

# A try that takes longer is given up: somebody swallows what we send.
cdef double TRY = 3.0
# Pauses between tries double from the first to the last.
cdef double FIRST_PAUSE = 0.05
cdef double LAST_PAUSE = 1.0


cdef int dial_init(Dial* self, const char* address, int role, const CurveKeys* keys) noexcept nogil:
    memset(self, 0, sizeof(Dial))
    self.address = strdup(address)
    self.role = role
    self.keys = keys[0]
    self.pause = FIRST_PAUSE
    self.dice = <uint32_t> (<size_t> self.address >> 4) ^ <uint32_t> <int64_t> (clock_now() * 1e6) | 1
    if address[0] == 0:
        self.when = INFINITY
    return -1 if self.address == NULL else 0


cdef void dial_free(Dial* self) noexcept nogil:
    _close(self)
    free(self.address)
    self.address = NULL


cdef int dial_redirect(Dial* self, const char* address) noexcept nogil:
    cdef char* copy = strdup(address)
    if copy == NULL:
        return -1
    free(self.address)
    self.address = copy
    if self.state == RESTING and self.when == INFINITY:
        self.when = 0
    return 0


cdef void _close(Dial* self) noexcept nogil:
    if self.monitor != NULL:
        zmq.socket_monitor(self.socket, NULL, 0)
        zmq.close(self.monitor)
        self.monitor = NULL
    if self.socket != NULL:
        zmq.close(self.socket)
        self.socket = NULL


cdef void _set(void* socket, int option, int value) noexcept nogil:
    zmq.setsockopt(socket, option, &value, sizeof(int))


cdef void _begin(Dial* self, void* context, double now) noexcept nogil:
    cdef int64_t largest = FRAME_BYTES
    cdef char where[64]
    cdef int events = (
        ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
        | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
    self.tries += 1
    self.socket = zmq.socket(context, ZMQ_DEALER)
    self.monitor = zmq.socket(context, ZMQ_PAIR)
    if self.socket == NULL or self.monitor == NULL:
        dial_end(self, b"no socket is to be had: too many open files?", LAST_PAUSE, now)
        return
    _set(self.monitor, ZMQ_LINGER, 0)
    _set(self.socket, ZMQ_LINGER, 0)
    _set(self.socket, ZMQ_SNDHWM, 10_000)
    _set(self.socket, ZMQ_RCVHWM, 10_000)
    if strchr(self.address, c"[") != NULL:
        # Only where it is written so: a name that has both kinds of address would be dialled by one of them alone.
        _set(self.socket, ZMQ_IPV6, 1)
    _set(self.socket, ZMQ_RECONNECT_IVL, -1)
    _set(self.socket, ZMQ_HANDSHAKE_IVL, 2000)
    # What is dead without saying so (a cable, a lid) is noticed by libzmq's own signs of life.
    _set(self.socket, ZMQ_HEARTBEAT_IVL, 2000)
    _set(self.socket, ZMQ_HEARTBEAT_TIMEOUT, 6000)
    _set(self.socket, ZMQ_HEARTBEAT_TTL, 6000)
    if self.keys.used:
        zmq.setsockopt(self.socket, ZMQ_MAXMSGSIZE, &largest, sizeof(largest))
        zmq.setsockopt(self.socket, ZMQ_CURVE_SERVERKEY, self.keys.server, 32)
        zmq.setsockopt(self.socket, ZMQ_CURVE_PUBLICKEY, self.keys.public, 32)
        zmq.setsockopt(self.socket, ZMQ_CURVE_SECRETKEY, self.keys.secret, 32)
    # An address of its own: two monitors of one name are one too many.
    snprintf(where, sizeof(where), "inproc://dial-%p-%u", <void*> self, <unsigned> self.tries)
    if zmq.socket_monitor(self.socket, where, events) < 0 or zmq.connect(self.monitor, where) < 0:
        dial_end(self, b"it cannot be watched: too many open files?", LAST_PAUSE, now)
        return
    if zmq.connect(self.socket, self.address) < 0:
        dial_end(self, zmq.strerror(zmq.last_error()), LAST_PAUSE, now)
        return
    self.state = DIALLING
    self.when = now + TRY


cdef int monitor_next(void* monitor, int* value) noexcept nogil:
    cdef ZmqMessage message
    cdef uint16_t event = 0
    cdef bint more
    zmq.msg_init(&message)
    if zmq.msg_recv(&message, monitor, ZMQ_DONTWAIT) < 0:
        zmq.msg_close(&message)
        return 0
    value[0] = 0
    if zmq.msg_size(&message) >= sizeof(event) + sizeof(int):
        memcpy(&event, zmq.msg_data(&message), sizeof(event))
        memcpy(value, <char*> zmq.msg_data(&message) + sizeof(event), sizeof(int))
    more = zmq.msg_more(&message)
    zmq.msg_close(&message)
    while more:
        zmq.msg_init(&message)
        if zmq.msg_recv(&message, monitor, ZMQ_DONTWAIT) < 0:
            more = False
        else:
            more = zmq.msg_more(&message)
        zmq.msg_close(&message)
    return event


cdef int _ended(Dial* self, const char* why, double now) noexcept nogil:
    cdef int news = ENDED if self.state == OPEN else NOTHING_NEW
    dial_end(self, why, 0, now)
    return news


cdef int dial_step(Dial* self, void* context, double now) noexcept nogil:
    cdef int event
    cdef int value
    if self.state == RESTING:
        if now >= self.when:
            _begin(self, context, now)
        return NOTHING_NEW
    while True:
        event = monitor_next(self.monitor, &value)
        if event == 0:
            break
        if event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
            self.state = OPEN
            self.why[0] = 0
            return OPENED
        if event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
            return _ended(self, b"it refused our key", now)
        if event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
            return _ended(self, b"it does not speak as a covey gate does", now)
        if event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            return _ended(self, b"it hung up during the handshake: its key differs from ours, or it is no covey at all", now)
        if event == ZMQ_EVENT_DISCONNECTED:
            if self.state == OPEN:
                return _ended(self, b"the connection was cut", now)
            return _ended(self, b"it hung up during the handshake: its key differs from ours, or it is no covey at all", now)
        if event == ZMQ_EVENT_CLOSED:
            return _ended(self, b"nobody listens there", now)
    if self.state == DIALLING and now >= self.when:
        return _ended(self, b"it does not answer", now)
    return NOTHING_NEW


cdef void dial_end(Dial* self, const char* why, double patience, double now) noexcept nogil:
    _close(self)
    if why != NULL:
        strncpy(self.why, why, sizeof(self.why) - 1)
    if self.state == OPEN:
        self.tries = 0
        self.pause = FIRST_PAUSE
    self.state = RESTING
    # xorshift32: from half of the pause to one and a half.
    self.dice ^= self.dice << 13
    self.dice ^= self.dice >> 17
    self.dice ^= self.dice << 5
    self.when = now + max(patience, self.pause * (0.5 + self.dice / 4294967296.0))
    self.pause = min(self.pause * 2, LAST_PAUSE)


cdef double dial_next_time(const Dial* self) noexcept nogil:
    return self.when if self.state == RESTING or self.state == DIALLING else INFINITY
