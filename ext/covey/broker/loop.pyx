# SPDX-License-Identifier: BSD-3-Clause
"""The broker's loop: receive, decide, send, wait; in one thread, without the GIL.

Why: heartbeats, credit and forwarding must go on while the user's code keeps the interpreter busy in
the same process. A `Loop` is a Broker that moves its own messages through libzmq; the loop on pyzmq
(`covey.broker.pyloop`) drives a plain Broker instead.

May not know: what a message says. Guarantees: sends never block and never drop: a letter that a full
socket refuses waits in its peer's own queue, which credit bounds. The lock is held while facts are
taken in and decided on, never while waiting; the GIL is never taken under it.
"""
from cpython.pythread cimport PyThread_acquire_lock, PyThread_release_lock
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset, strcmp
from posix.unistd cimport getpid

from covey.broker.arrivals cimport arrivals_cut_off, arrivals_receive, arrivals_unreachable
from covey.broker.broker cimport EVERY_ROLE, Broker
from covey.broker.desk cimport FIRST_DIAL, Farewell, desk_next_farewell, desk_weigh, desk_port_of
from covey.broker.peers cimport ASKING, DOING, ROUTE_MAX, Peer, peers_find, peers_next_touched, peers_tell
from covey.broker.ports cimport (
    GATE, HIGH, HOME, Ports, ports_answer, ports_close, ports_cuts, ports_dial, ports_init, ports_look, ports_looks,
    ports_next_time, ports_open_gate, ports_socket, ports_step, ports_unsettled, ports_wait)
from covey.broker.relays cimport relays_greet
from covey.broker.scheduler cimport scheduler_has_waiting
from covey.link.dial cimport DIALLING, NOTHING_NEW, OPENED, RESTING, CurveKeys, Dial, dial_end, dial_redirect
from covey.link.libzmq cimport (
    ZMQ_LAST_ENDPOINT, ZMQ_LINGER, ZMQ_RCVHWM, ZMQ_ROUTER, ZMQ_ROUTER_MANDATORY, ZMQ_SNDHWM, libzmq_raise, the_context, zmq)
from covey.link.post cimport (
    LATER, NOBODY, SENT, Letter, bale_receive, bale_user, clock_now, letter_free, letter_send, queue_put_back, queue_take)
from covey.link.transit cimport letter_is_large, transit_begin, transit_holds_back, transit_next, transit_put_back
from covey.link.wake cimport ASLEEP, EAGER, wake_ring
from covey.link.zap cimport ALLOWED_MAX, KEY_BYTES, USER_MAX
from covey.wire.bale cimport Bale, bale_drop
from covey.wire.protocol cimport ASKER, BEAT, DOER

LINK_STATES = ("resting", "dialling", "open", "hung up")

# libzmq tells of a cut a moment before it knows that nothing can be sent there. One look is enough unless the machine
# is very busy, and strangers who come and go by the thousand cause no more than these.
cdef double FIRST_LOOK = 0.05
cdef double NEXT_LOOK = 1.0
cdef enum:
    LOOKS = 2

# Seconds until a letter that a full socket refused is tried again.
cdef double FULL_PAUSE = 0.001

# Messages taken in before the scheduler decides again.
cdef enum:
    GULP = 256


cdef class Loop(Broker):
    """A Broker that moves its own messages: `Loop(settings, *addresses)`, then `run()` in a thread of its own."""

    cdef Ports ports
    cdef uint64_t cut                   # of the gate's connections, that were looked into
    cdef double look_at                 # when those at the gate are asked whether they are there; infinity: nobody is missed
    cdef int looks_left
    cdef int owner                      # the process that may close the sockets; a forked copy may not

    def __init__(self, settings, *addresses):
        cdef int one = 1
        cdef int zero = 0
        cdef int high = HIGH
        self.owner = getpid()
        self.look_at = INFINITY
        if ports_init(&self.ports) < 0:
            raise MemoryError("no memory for a broker's ports")
        self.ports.home = zmq.socket(the_context.take(), ZMQ_ROUTER)
        if self.ports.home == NULL:
            the_context.give_back()
            libzmq_raise("making the broker's socket")
        zmq.setsockopt(self.ports.home, ZMQ_ROUTER_MANDATORY, &one, sizeof(int))
        zmq.setsockopt(self.ports.home, ZMQ_LINGER, &zero, sizeof(int))
        zmq.setsockopt(self.ports.home, ZMQ_SNDHWM, &high, sizeof(int))
        zmq.setsockopt(self.ports.home, ZMQ_RCVHWM, &high, sizeof(int))
        for address in addresses:
            self._bind(self.ports.home, address)

    cdef int _bind(self, void* socket, str address) except -1:
        cdef bytes encoded = address.encode()
        if zmq.bind(socket, encoded) < 0:
            try:
                libzmq_raise(f"binding the broker to {address}")
            finally:
                self._close()
        return 0

    def open_gate(self, addresses, bytes secret not None, allowed):
        """Binds TCP addresses, before `run`; returns them with the ports that they got.

        `allowed` maps public keys to what they open: "client" or "node".
        """
        cdef char endpoint[256]
        cdef size_t size
        cdef bytes key
        cdef bytes user
        if len(secret) != KEY_BYTES or len(allowed) > ALLOWED_MAX or self.ports.gate != NULL:
            raise ValueError("a loop has one gate, a secret key of 32 bytes, and at most 16 keys that may come in")
        for key, word in allowed.items():
            user = word.encode()
            if len(key) != KEY_BYTES or len(user) >= USER_MAX:
                raise ValueError(f"a public key has 32 bytes and opens a role, not {word!r}")
            memcpy(self.ports.zap.allowed[self.ports.zap.count].key, <const char*> key, KEY_BYTES)
            memcpy(self.ports.zap.allowed[self.ports.zap.count].user, <const char*> user, len(user) + 1)
            self.ports.zap.count += 1
        if ports_open_gate(&self.ports, <const uint8_t*> <const char*> secret, any("[" in a for a in addresses)) < 0:
            libzmq_raise("making the gate")
        bound = []
        for address in addresses:
            self._bind(self.ports.gate, address)
            size = sizeof(endpoint)
            zmq.getsockopt(self.ports.gate, ZMQ_LAST_ENDPOINT, endpoint, &size)
            bound.append((<const char*> endpoint).decode())
        return bound

    def dial(self, str address not None, bint asks, keys=None):
        """Keeps a link to `address`, as one who asks there or else as one who does; returns the link's number.

        `keys`: the server's public key, our public and our secret one; None for ipc, which has no encryption. An
        empty address: it rests until it is given one (`redirect`).
        """
        cdef CurveKeys curve
        cdef bytes encoded = address.encode()
        cdef bytes server
        cdef bytes public
        cdef bytes secret
        cdef int number
        memset(&curve, 0, sizeof(curve))
        if keys is None:
            if not address.startswith(("ipc://", "inproc://")):
                raise ValueError(f"{address} is dialled with keys or not at all")
        else:
            if [len(key) for key in keys] != [32, 32, 32]:
                raise ValueError("a key has 32 bytes")
            server, public, secret = keys
            curve.used = True
            memcpy(curve.server, <const char*> server, 32)
            memcpy(curve.public, <const char*> public, 32)
            memcpy(curve.secret, <const char*> secret, 32)
        PyThread_acquire_lock(self.lock, 1)
        number = ports_dial(&self.ports, encoded, ASKER if asks else DOER, &curve)
        wake_ring(&self.loop_wake)
        PyThread_release_lock(self.lock)
        if number < 0:
            raise MemoryError("no memory for a link")
        return number

    def redirect(self, int link, str address not None):
        """From its next try on, the link dials this address; one that has none yet begins to."""
        cdef bytes encoded = address.encode()
        cdef int done = 0
        PyThread_acquire_lock(self.lock, 1)
        if 0 <= link < <int> self.ports.dial_count:
            done = dial_redirect(self.ports.dials[link], encoded)
        wake_ring(&self.loop_wake)
        PyThread_release_lock(self.lock)
        if done < 0:
            raise MemoryError("no memory for an address")

    def links(self):
        """What became of each `dial`, by number: a dict of address, state, why it is not open, and whether the other end
        has welcomed us: an open connection may yet be refused."""
        cdef Dial* dial
        cdef uint32_t i
        found = []
        PyThread_acquire_lock(self.lock, 1)
        try:
            for i in range(self.ports.dial_count):
                dial = self.ports.dials[i]
                found.append({
                    "address": dial.address.decode(), "state": LINK_STATES[dial.state], "tries": dial.tries,
                    "why": dial.why.decode(errors="replace"), "port": FIRST_DIAL + i, "joined": self._has_joined(FIRST_DIAL + i)})
        finally:
            PyThread_release_lock(self.lock)
        return found

    cdef bint _has_joined(self, uint32_t port) noexcept nogil:
        cdef uint8_t route[2]
        cdef int32_t peer
        route[0] = <uint8_t> port
        route[1] = <uint8_t> (port >> 8)
        peer = peers_find(&self.desk.peers, route, 2)
        return peer >= 0 and (self.desk.peers.rows[peer].state == ASKING or self.desk.peers.rows[peer].state == DOING)

    def strangers(self):
        """Who did not get in at the gate: how many keys were refused, from which address the last of all came (empty: not
        known), how many gave up or were given up before they had shown a key that could be read."""
        return (
            self.ports.zap.refused, self.ports.zap.refused_from.decode(errors="replace"), self.ports.callers.broken_off)

    def run(self):
        """Moves messages until `stop`, then closes the sockets; holds no GIL for all of that time."""
        try:
            with nogil:
                while not self.stopping:
                    self._turn()
                # Farewells, and whatever else was said on the way out.
                self._take()
                self._pump(clock_now())
                self._send(clock_now())
                PyThread_release_lock(self.lock)
        finally:
            self._close()
            self.release()

    cdef void _turn(self) noexcept nogil:
        cdef double now
        cdef double when
        cdef uint32_t received
        cdef double patience
        cdef bint busy
        cdef bint saturated
        self._take()
        if ports_answer(&self.ports):
            self.desk.news = True
        now = clock_now()
        self._miss_the_cut_off(now)
        received = self._receive_all(now)
        self._step_dials(now)
        if received:
            now = clock_now()
        self._pump(now)
        patience = self._send(now)
        self._end_connections(now)
        when = min(self._next_time(now), ports_next_time(&self.ports), self.look_at)
        # While tasks wait for a slot, the slots want the cores and nobody wants a quick answer.
        saturated = scheduler_has_waiting(self.desk.scheduler)
        busy = ports_unsettled(&self.ports) or received >= GULP
        PyThread_release_lock(self.lock)
        if not busy:
            ports_wait(&self.ports, &self.loop_wake, min(patience, when - now), ASLEEP if saturated else EAGER)

    cdef void _miss_the_cut_off(self, double now) noexcept nogil:
        """A connection at the gate has ended, and libzmq does not say whose: so everybody there is sent a sign of life. To
        the one who is gone it cannot be sent."""
        cdef Peer* row
        cdef uint32_t i
        if self.ports.cut != self.cut:
            self.cut = self.ports.cut
            self.looks_left = LOOKS
            self.look_at = min(self.look_at, now + FIRST_LOOK)
        if now < self.look_at:
            return
        self.looks_left -= 1
        self.look_at = now + NEXT_LOOK if self.looks_left else INFINITY
        for i in range(self.desk.peers.room):
            row = &self.desk.peers.rows[i]
            if (row.state == ASKING or row.state == DOING) and desk_port_of(row) == GATE and row.outbox.head == NULL:
                peers_tell(&self.desk.peers, <int32_t> i, BEAT, NULL, 0, NULL, 0)

    cdef uint32_t _receive_all(self, double now) noexcept nogil:
        cdef uint32_t received = 0
        cdef uint32_t port
        for port in range(FIRST_DIAL + self.ports.dial_count):
            if ports_looks(&self.ports, port) and ports_socket(&self.ports, port) != NULL:
                received += self._receive(port, ports_socket(&self.ports, port), now)
        return received

    cdef uint32_t _receive(self, uint32_t port, void* socket, double now) noexcept nogil:
        cdef uint8_t route[2 + ROUTE_MAX]
        cdef size_t size = 0
        cdef uint32_t received = 0
        cdef int allowed
        cdef Bale* bale
        route[0] = <uint8_t> port
        route[1] = <uint8_t> (port >> 8)
        while received < GULP:
            bale = bale_receive(socket, &route[2] if port < FIRST_DIAL else NULL, &size)
            if bale == NULL:
                break
            received += 1
            if size + 2 > ROUTE_MAX:
                # A route that libzmq did not make up: somebody chose it.
                bale_drop(bale)
                continue
            allowed = EVERY_ROLE if port == HOME else 0
            if port == GATE and peers_find(&self.desk.peers, route, size + 2) < 0:
                allowed = _allowed(bale_user(bale))
            arrivals_receive(&self.desk, route, size + 2, allowed, bale, now)
        return received

    cdef void _step_dials(self, double now) noexcept nogil:
        cdef uint8_t route[2]
        cdef uint32_t port
        cdef int32_t peer
        cdef uint32_t i
        cdef int news
        cdef int before
        for i in range(self.ports.dial_count):
            before = self.ports.dials[i].state
            news = ports_step(&self.ports, i, now)
            if before == DIALLING and self.ports.dials[i].state == RESTING and self.ports.dials[i].tries == 1:
                # The first failure of several is news; whoever waits for this link wants to know.
                self.desk.news = True
            if news == NOTHING_NEW:
                continue
            port = FIRST_DIAL + i
            route[0] = <uint8_t> port
            route[1] = <uint8_t> (port >> 8)
            self.desk.news = True
            if news == OPENED:
                relays_greet(&self.desk, route, 2, self.ports.dials[i].role, now)
            else:
                peer = peers_find(&self.desk.peers, route, 2)
                if peer >= 0:
                    arrivals_cut_off(&self.desk, peer, now)

    cdef void _end_connections(self, double now) noexcept nogil:
        cdef Farewell* farewell = desk_next_farewell(&self.desk)
        while farewell != NULL:
            dial_end(self.ports.dials[farewell.port - FIRST_DIAL], farewell.text, farewell.patience, now)
            free(farewell)
            farewell = desk_next_farewell(&self.desk)

    cdef double _send(self, double now) noexcept nogil:
        """Sends what can be sent; how soon it wants to be called again: some peer's socket is full, or somebody is gone and
        what follows from that is to be decided."""
        cdef double patience = INFINITY
        cdef int32_t peer = peers_next_touched(&self.desk.peers)
        cdef int32_t held = -1
        cdef Peer* row
        cdef int posted
        while peer >= 0:
            row = &self.desk.peers.rows[peer]
            posted = self._send_to(row, now)
            if posted == LATER:
                # Touched again, but only after this round.
                row.touched = True
                row.next_touched = held
                held = peer
                patience = min(patience, FULL_PAUSE)
            elif posted != SENT:
                arrivals_unreachable(&self.desk, peer, now)
                patience = 0
            if desk_weigh(&self.desk, peer):
                patience = 0
            peer = peers_next_touched(&self.desk.peers)
        self.desk.peers.touched = held
        return patience

    cdef int _send_to(self, Peer* row, double now) noexcept nogil:
        cdef uint32_t port = desk_port_of(row)
        cdef void* socket = ports_socket(&self.ports, port)
        cdef const uint8_t* route = &row.route[2] if row.route_size > 2 else NULL
        cdef Letter* letter
        cdef bint held
        cdef int posted
        while True:
            letter = queue_take(&row.outbox)
            held = letter == NULL
            if held:
                # Small letters first: pieces are many.
                letter = transit_next(&row.transit, now)
                if letter == NULL:
                    return SENT
            elif ports_cuts(&self.ports, port) and (
                    transit_holds_back(&row.transit, letter)
                    or (letter_is_large(letter) and transit_begin(&row.transit, letter) == 0)):
                continue
            posted = letter_send(letter, socket, route, row.route_size - 2) if socket != NULL else NOBODY
            ports_look(&self.ports, port)
            if posted == LATER and held:
                transit_put_back(&row.transit, letter)
            elif posted == LATER:
                queue_put_back(&row.outbox, letter)
            elif posted != SENT:
                letter_free(letter)
            if posted != SENT:
                return posted
            self.desk.messages_out += 1

    cdef void _close(self):
        cdef void* home
        if self.ports.home != NULL and self.owner == getpid():
            home = self.ports.home
            self.ports.home = NULL
            zmq.close(home)
            the_context.give_back()
            with nogil:
                ports_close(&self.ports)

    def __dealloc__(self):
        self._close()


cdef int _allowed(const char* user) noexcept nogil:
    if user == NULL:
        return 0
    if strcmp(user, b"client") == 0:
        return 1 << ASKER
    if strcmp(user, b"node") == 0:
        return 1 << DOER
    return 0
