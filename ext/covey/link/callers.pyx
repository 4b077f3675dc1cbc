# SPDX-License-Identifier: BSD-3-Clause
"""See callers.pxd, the contents page."""
from covey.link.libzmq cimport (
    ZMQ_EVENT_ACCEPTED, ZMQ_EVENT_DISCONNECTED, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH, ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL, ZMQ_EVENT_HANDSHAKE_SUCCEEDED)


cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        pass
    int getpeername(int descriptor, sockaddr* address, socklen_t* size)


cdef extern from "<netdb.h>" nogil:
    int NI_NUMERICHOST
    int getnameinfo(
        const sockaddr* address, socklen_t size, char* host, socklen_t host_size, char* service, socklen_t service_size,
        int flags)


cdef void _note(Callers* self, int descriptor) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    cdef Caller* caller = &self.recent[self.next]
    self.next = (self.next + 1) % RECENT
    caller.descriptor = descriptor
    caller.judged = self.judged
    caller.address[0] = 0
    # One who has left already has no address any more.
    if getpeername(descriptor, <sockaddr*> &address, &size) == 0:
        if getnameinfo(<sockaddr*> &address, size, caller.address, FROM_MAX, NULL, 0, NI_NUMERICHOST) != 0:
            caller.address[0] = 0


cdef const Caller* _caller_of(const Callers* self, int descriptor) noexcept nogil:
    cdef const Caller* caller
    cdef uint32_t i
    # From the latest: the system gives descriptors out again.
    for i in range(1, RECENT + 1):
        caller = &self.recent[(self.next + RECENT - i) % RECENT]
        if caller.descriptor == descriptor:
            return caller
    return NULL


cdef const char* callers_hear(Callers* self, int event, int value) noexcept nogil:
    cdef const Caller* caller
    if event == ZMQ_EVENT_ACCEPTED:
        _note(self, value)
    elif event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED or event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        self.judged += 1
    elif event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL or event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        self.judged += 1
        self.broken_off += 1
        self.failed = True
    elif event == ZMQ_EVENT_DISCONNECTED:
        caller = _caller_of(self, value)
        if self.failed:
            self.failed = False
            if caller == NULL:
                return b""
            return caller.address
        if caller != NULL and caller.judged == self.judged:
            self.broken_off += 1
            return caller.address
    return NULL
