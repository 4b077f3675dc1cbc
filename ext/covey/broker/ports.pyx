# SPDX-License-Identifier: BSD-3-Clause
"""See ports.pxd, the contents page."""
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset, strlen

from covey.broker.desk cimport FIRST_DIAL
from covey.link.callers cimport callers_hear
from covey.link.dial cimport DIALLING, NOTHING_NEW, OPEN, OPENED, dial_free, dial_init, dial_next_time, dial_step, monitor_next
from covey.link.libzmq cimport (
    ZMQ_BACKLOG, ZMQ_CURVE_SECRETKEY, ZMQ_CURVE_SERVER,
    ZMQ_EVENT_ACCEPTED, ZMQ_EVENT_DISCONNECTED, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH,
    ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL, ZMQ_EVENT_HANDSHAKE_SUCCEEDED,
    ZMQ_FD, ZMQ_HANDSHAKE_IVL, ZMQ_HEARTBEAT_IVL, ZMQ_HEARTBEAT_TIMEOUT,
    ZMQ_HEARTBEAT_TTL, ZMQ_IPV6, ZMQ_LINGER, ZMQ_MAX_SOCKETS, ZMQ_MAXMSGSIZE, ZMQ_PAIR, ZMQ_RCVHWM, ZMQ_ROUTER, ZMQ_ROUTER_MANDATORY,
    ZMQ_SNDHWM, ZMQ_ZAP_DOMAIN, zmq)
from covey.link.post cimport socket_ready
from covey.link.wake cimport wake_wait_many
from covey.link.zap cimport zap_answer, zap_close, zap_open
from covey.wire.protocol cimport FRAME_BYTES

# Places in `look` and `fds`.
cdef enum:
    ZAP_PLACE = 2
    MONITOR_PLACE = 3
    FIXED_PLACES = 4
    MOST_SOCKETS = 60000
    FAREWELL_MS = 200           # so long the last letters may take to leave


cdef int _make_room(Ports* self, uint32_t dials) noexcept nogil:
    cdef uint32_t places = FIXED_PLACES + 2 * dials
    cdef Dial** grown = <Dial**> realloc(self.dials, dials * sizeof(Dial*) + 1)
    cdef uint8_t* look
    cdef int* fds
    cdef uint32_t i
    if grown == NULL:
        return -1
    self.dials = grown
    look = <uint8_t*> realloc(self.look, places)
    if look == NULL:
        return -1
    self.look = look
    fds = <int*> realloc(self.fds, places * sizeof(int))
    if fds == NULL:
        return -1
    self.fds = fds
    for i in range(FIXED_PLACES + 2 * self.dial_room if self.dial_room else <uint32_t> 0, places):
        self.look[i] = 1
        self.fds[i] = -1
    self.dial_room = dials
    return 0


cdef int ports_init(Ports* self) noexcept nogil:
    memset(self, 0, sizeof(Ports))
    return _make_room(self, 4)


cdef void ports_close(Ports* self) noexcept nogil:
    cdef uint32_t i
    for i in range(self.dial_count):
        if self.dials[i].socket != NULL:
            _set(self.dials[i].socket, ZMQ_LINGER, FAREWELL_MS)
        dial_free(self.dials[i])
        free(self.dials[i])
    self.dial_count = 0
    if self.home != NULL:
        zmq.close(self.home)
        self.home = NULL
    if self.gate != NULL:
        zmq.socket_monitor(self.gate, NULL, 0)
        _set(self.gate, ZMQ_LINGER, FAREWELL_MS)
        zmq.close(self.gate)
        self.gate = NULL
    if self.gate_monitor != NULL:
        zmq.close(self.gate_monitor)
        self.gate_monitor = NULL
    zap_close(&self.zap)
    if self.far != NULL:
        zmq.ctx_term(self.far)
        self.far = NULL
    free(self.dials)
    free(self.look)
    free(self.fds)
    self.dials = NULL
    self.look = NULL
    self.fds = NULL
    self.dial_room = 0


cdef int _need_context(Ports* self) noexcept nogil:
    if self.far == NULL:
        self.far = zmq.ctx_new()
        if self.far != NULL:
            zmq.ctx_set(self.far, ZMQ_MAX_SOCKETS, MOST_SOCKETS)
    return -1 if self.far == NULL else 0


cdef void _set(void* socket, int option, int value) noexcept nogil:
    zmq.setsockopt(socket, option, &value, sizeof(int))


cdef int ports_open_gate(Ports* self, const uint8_t* secret, bint ipv6) noexcept nogil:
    cdef int64_t largest = FRAME_BYTES
    if _need_context(self) < 0 or zap_open(&self.zap, self.far) < 0:
        return -1
    self.gate = zmq.socket(self.far, ZMQ_ROUTER)
    if self.gate == NULL:
        return -1
    _set(self.gate, ZMQ_ROUTER_MANDATORY, 1)
    _set(self.gate, ZMQ_LINGER, 0)
    _set(self.gate, ZMQ_SNDHWM, HIGH)
    _set(self.gate, ZMQ_RCVHWM, HIGH)
    # All nodes of a broker that was restarted come at once.
    _set(self.gate, ZMQ_BACKLOG, 4096)
    _set(self.gate, ZMQ_HANDSHAKE_IVL, 2000)
    _set(self.gate, ZMQ_HEARTBEAT_IVL, 2000)
    _set(self.gate, ZMQ_HEARTBEAT_TIMEOUT, 6000)
    _set(self.gate, ZMQ_HEARTBEAT_TTL, 6000)
    _set(self.gate, ZMQ_IPV6, ipv6)
    _set(self.gate, ZMQ_CURVE_SERVER, 1)
    if (
        zmq.setsockopt(self.gate, ZMQ_MAXMSGSIZE, &largest, sizeof(largest)) < 0
        or zmq.setsockopt(self.gate, ZMQ_CURVE_SECRETKEY, secret, 32) < 0
        or zmq.setsockopt(self.gate, ZMQ_ZAP_DOMAIN, b"covey", 5) < 0
    ):
        return -1
    self.gate_monitor = zmq.socket(self.far, ZMQ_PAIR)
    if self.gate_monitor == NULL:
        return -1
    _set(self.gate_monitor, ZMQ_LINGER, 0)
    if zmq.socket_monitor(
            self.gate, b"inproc://gate-monitor",
            ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
            | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) < 0:
        return -1
    return zmq.connect(self.gate_monitor, b"inproc://gate-monitor")


cdef int ports_dial(Ports* self, const char* address, int role, const CurveKeys* keys) noexcept nogil:
    cdef Dial* dial
    if _need_context(self) < 0:
        return -1
    if self.dial_count == self.dial_room and _make_room(self, self.dial_room * 2) < 0:
        return -1
    dial = <Dial*> malloc(sizeof(Dial))
    if dial == NULL or dial_init(dial, address, role, keys) < 0:
        free(dial)
        return -1
    self.dials[self.dial_count] = dial
    self.dial_count += 1
    return <int> self.dial_count - 1


cdef int ports_step(Ports* self, uint32_t dial, double now) noexcept nogil:
    cdef uint32_t socket = FIXED_PLACES + 2 * dial
    cdef Dial* row = self.dials[dial]
    cdef int before = row.state
    cdef int news
    if not self.look[socket + 1] and dial_next_time(row) > now:
        return NOTHING_NEW
    news = dial_step(row, self.far, now)
    # What changed may have more to say.
    self.look[socket + 1] = news != NOTHING_NEW or row.state != before
    if news == OPENED:
        self.look[socket] = 1
    return news


cdef bint ports_answer(Ports* self) noexcept nogil:
    cdef uint64_t before = self.zap.refused + self.callers.broken_off
    cdef const char* address
    cdef int event
    cdef int value
    if self.zap.socket != NULL and self.look[ZAP_PLACE]:
        self.look[ZAP_PLACE] = 0
        zap_answer(&self.zap)
    if self.gate_monitor != NULL and self.look[MONITOR_PLACE]:
        self.look[MONITOR_PLACE] = 0
        while True:
            event = monitor_next(self.gate_monitor, &value)
            if event == 0:
                break
            if event == ZMQ_EVENT_DISCONNECTED:
                self.cut += 1
            address = callers_hear(&self.callers, event, value)
            # Who has left before we looked has none; then the one before him is still the best that is known.
            if address != NULL and address[0]:
                memcpy(self.zap.refused_from, address, strlen(address) + 1)
    return self.zap.refused + self.callers.broken_off != before


cdef double ports_next_time(const Ports* self) noexcept nogil:
    cdef double soonest = INFINITY
    cdef uint32_t i
    for i in range(self.dial_count):
        soonest = min(soonest, dial_next_time(self.dials[i]))
    return soonest


# The place of a port in `look` and `fds`.
cdef inline uint32_t _place(uint32_t port) noexcept nogil:
    return port if port < FIRST_DIAL else FIXED_PLACES + 2 * (port - FIRST_DIAL)


cdef void* ports_socket(Ports* self, uint32_t port) noexcept nogil:
    if port == HOME:
        return self.home
    if port == GATE:
        return self.gate
    port -= FIRST_DIAL
    return self.dials[port].socket if port < self.dial_count and self.dials[port].state == OPEN else NULL


cdef bint ports_cuts(const Ports* self, uint32_t port) noexcept nogil:
    return port == GATE or (port >= FIRST_DIAL and self.dials[port - FIRST_DIAL].keys.used)


cdef bint ports_looks(const Ports* self, uint32_t port) noexcept nogil:
    return self.look[_place(port)] != 0


cdef void ports_look(Ports* self, uint32_t port) noexcept nogil:
    self.look[_place(port)] = 1


cdef bint ports_unsettled(Ports* self) noexcept nogil:
    cdef bint some = False
    cdef uint32_t port
    cdef void* socket
    for port in range(FIRST_DIAL + self.dial_count):
        if self.look[_place(port)]:
            socket = ports_socket(self, port)
            self.look[_place(port)] = socket != NULL and socket_ready(socket)
            some = some or self.look[_place(port)]
        if port >= FIRST_DIAL and self.look[_place(port) + 1]:
            some = True
    return some


cdef int _fd_of(void* socket) noexcept nogil:
    cdef int fd = -1
    cdef size_t size = sizeof(int)
    if socket != NULL:
        zmq.getsockopt(socket, ZMQ_FD, &fd, &size)
    return fd


cdef void ports_wait(Ports* self, Wake* wake, double seconds, int looks) noexcept nogil:
    cdef uint32_t i
    cdef bint is_open
    cdef bint is_watched
    # Asked for each time: it is a field of the socket, and a dial's socket changes.
    self.fds[HOME] = _fd_of(self.home)
    self.fds[GATE] = _fd_of(self.gate)
    self.fds[ZAP_PLACE] = _fd_of(self.zap.socket)
    self.fds[MONITOR_PLACE] = _fd_of(self.gate_monitor)
    for i in range(self.dial_count):
        # Nothing is received before a link is open, so what stirs its socket earlier would be waited for in vain: a spin.
        is_open = self.dials[i].state == OPEN
        self.fds[FIXED_PLACES + 2 * i] = _fd_of(self.dials[i].socket) if is_open else -1
        is_watched = is_open or self.dials[i].state == DIALLING
        self.fds[FIXED_PLACES + 2 * i + 1] = _fd_of(self.dials[i].monitor) if is_watched else -1
    wake_wait_many(wake, self.fds, self.look, FIXED_PLACES + 2 * self.dial_count, seconds, looks)
