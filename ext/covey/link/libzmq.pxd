# SPDX-License-Identifier: BSD-3-Clause
"""libzmq's C functions, found at run time inside the very library that pyzmq brought.

Why: covey's loops run without the GIL, so they call libzmq from C. Its headers are in no wheel, and
a second copy of the library in one process crashes; so the functions are looked up, by name, in
pyzmq's own compiled module. This pair of files is the only place that knows a libzmq symbol.

Guarantees: after `libzmq_load` every pointer of `zmq` is set, or none is and ImportError was raised.
What is relied on: the signatures of libzmq 4.x (SONAME 5) and that a zmq_msg_t is 64 opaque bytes.
"""
from libc.stdint cimport uint64_t

cdef struct ZmqMessage:             # zmq_msg_t
    uint64_t opaque[8]

cdef struct ZmqPollItem:            # zmq_pollitem_t
    void* socket
    int fd
    short events
    short revents

ctypedef void (*ZmqFree)(void* data, void* hint) noexcept nogil

cdef struct Zmq:
    void* (*ctx_new)() noexcept nogil
    int (*ctx_set)(void* context, int option, int value) noexcept nogil
    int (*ctx_term)(void* context) noexcept nogil
    void* (*socket)(void* context, int kind) noexcept nogil
    int (*close)(void* socket) noexcept nogil
    int (*bind)(void* socket, const char* address) noexcept nogil
    int (*connect)(void* socket, const char* address) noexcept nogil
    int (*setsockopt)(void* socket, int option, const void* value, size_t size) noexcept nogil
    int (*getsockopt)(void* socket, int option, void* value, size_t* size) noexcept nogil
    int (*msg_init)(ZmqMessage* message) noexcept nogil
    int (*msg_init_size)(ZmqMessage* message, size_t size) noexcept nogil
    int (*msg_init_data)(ZmqMessage* message, void* data, size_t size, ZmqFree release, void* hint) noexcept nogil
    int (*msg_send)(ZmqMessage* message, void* socket, int flags) noexcept nogil
    int (*msg_recv)(ZmqMessage* message, void* socket, int flags) noexcept nogil
    int (*msg_close)(ZmqMessage* message) noexcept nogil
    int (*msg_move)(ZmqMessage* target, ZmqMessage* source) noexcept nogil
    void* (*msg_data)(ZmqMessage* message) noexcept nogil
    size_t (*msg_size)(const ZmqMessage* message) noexcept nogil
    int (*msg_more)(const ZmqMessage* message) noexcept nogil
    const char* (*msg_gets)(const ZmqMessage* message, const char* name) noexcept nogil
    int (*socket_monitor)(void* socket, const char* address, int events) noexcept nogil
    int (*poll)(ZmqPollItem* items, int count, long timeout_ms) noexcept nogil
    int (*last_error)() noexcept nogil
    const char* (*strerror)(int number) noexcept nogil
    void (*version)(int* major, int* minor, int* patch) noexcept nogil

cdef enum:
    ZMQ_MAX_SOCKETS = 2             # of a context
    ZMQ_PAIR = 0
    ZMQ_REP = 4
    ZMQ_DEALER = 5
    ZMQ_ROUTER = 6
    ZMQ_FD = 14
    ZMQ_EVENTS = 15
    ZMQ_LINGER = 17
    ZMQ_RECONNECT_IVL = 18
    ZMQ_BACKLOG = 19
    ZMQ_RECONNECT_IVL_MAX = 21
    ZMQ_MAXMSGSIZE = 22
    ZMQ_SNDHWM = 23
    ZMQ_RCVHWM = 24
    ZMQ_LAST_ENDPOINT = 32
    ZMQ_ROUTER_MANDATORY = 33
    ZMQ_IMMEDIATE = 39
    ZMQ_IPV6 = 42
    ZMQ_CURVE_SERVER = 47
    ZMQ_CURVE_PUBLICKEY = 48
    ZMQ_CURVE_SECRETKEY = 49
    ZMQ_CURVE_SERVERKEY = 50
    ZMQ_ZAP_DOMAIN = 55
    ZMQ_HANDSHAKE_IVL = 66
    ZMQ_HEARTBEAT_IVL = 75
    ZMQ_HEARTBEAT_TTL = 76
    ZMQ_HEARTBEAT_TIMEOUT = 77
    ZMQ_DONTWAIT = 1
    ZMQ_SNDMORE = 2
    ZMQ_POLLIN = 1
    ZMQ_POLLOUT = 2

# What a monitor tells: 16 bits of its first frame; the other 32 are a value, of ACCEPTED and DISCONNECTED the descriptor.
cdef enum:
    ZMQ_EVENT_ACCEPTED = 0x20
    ZMQ_EVENT_CLOSED = 0x80
    ZMQ_EVENT_DISCONNECTED = 0x200
    ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL = 0x800
    ZMQ_EVENT_HANDSHAKE_SUCCEEDED = 0x1000
    ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL = 0x2000
    ZMQ_EVENT_HANDSHAKE_FAILED_AUTH = 0x4000

cdef Zmq zmq

# Finds the functions; ImportError where they cannot be had. May be called again.
cdef int libzmq_load(object path) except -1
# The one bridge from libzmq's error numbers to Python: OSError with the number, saying what failed.
cdef object libzmq_raise(str doing)

cdef class Context:
    """The process's libzmq context; see libzmq.pyx."""
    cdef void* handle
    cdef int users
    cdef int pid
    cdef void* take(self) except NULL
    cdef void give_back(self)

cdef Context the_context
