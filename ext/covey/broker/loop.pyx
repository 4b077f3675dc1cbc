# SPDX-License-Identifier: BSD-3-Clause
"""The broker's loop: receive, decide, send, wait; in one thread, without the GIL.

Why: heartbeats, credit and forwarding must go on while the user's code keeps the interpreter busy in
the same process. `Broker` is the desk behind a lock, with the doors that Python may use from any
thread; `Loop` is a Broker that moves its own messages through libzmq. The loop on pyzmq
(`covey.broker.pyloop`) drives a plain Broker instead.

May not know: what a message says. Guarantees: sends never block and never drop: a letter that a full
socket refuses waits in its peer's own queue, which credit bounds. The lock is held while facts are
taken in and decided on, never while waiting; the GIL is never taken under it.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock, PyThread_type_lock)
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from posix.unistd cimport getpid

from covey.broker.arrivals cimport (
    arrivals_judge_the_dead, arrivals_receive, arrivals_slot_died, arrivals_unreachable)
from covey.broker.desk cimport (
    KILL_SLOT, UNKNOWN_TASK, Desk, Errand, desk_errand_done, desk_free, desk_init, desk_next_errand, desk_stop_doers)
from covey.broker.departures cimport departures_carry_out
from covey.broker.peers cimport DOING, DYING, Peer, peers_next_touched
from covey.broker.scheduler cimport (
    Limits, Totals, scheduler_decide, scheduler_has_waiting, scheduler_next_time, scheduler_totals, scheduler_validate)
from covey.link.libzmq cimport (
    ZMQ_FD, ZMQ_LINGER, ZMQ_RCVHWM, ZMQ_ROUTER, ZMQ_ROUTER_MANDATORY, ZMQ_SNDHWM, libzmq_raise, the_context, zmq)
from covey.link.post cimport (
    LATER, SENT, Letter, bale_receive, clock_now, letter_frames, letter_free, letter_send, queue_take, socket_ready)
from covey.link.wake cimport ASLEEP, EAGER, Wake, wake_drain, wake_free, wake_init, wake_ring, wake_wait
from covey.wire.bale cimport Bale, Frame, bale_of_copies

# Messages taken in before the scheduler decides again.
cdef enum:
    GULP = 256


cdef class Broker:
    """A desk behind a lock, and the doors of it that Python uses."""

    cdef PyThread_type_lock lock
    cdef Desk desk
    cdef Wake loop_wake                 # rung when the loop must look again
    cdef Wake errand_wake               # rung when the keeper has something to do
    cdef bint stopping

    def __cinit__(self, settings, *more):
        cdef Limits limits
        limits.quantum = settings.quantum
        limits.lone_above = settings.lone_above
        limits.retract_after = settings.retract_after
        limits.lease = settings.lease
        limits.pause = settings.pause
        limits.first_guess = settings.first_guess
        limits.crash_limit = settings.crash_limit
        limits.loss_limit = settings.loss_limit
        limits.credit_tasks = settings.credit_tasks
        limits.credit_bytes = settings.credit_bytes
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL or wake_init(&self.loop_wake) < 0 or wake_init(&self.errand_wake) < 0:
            raise OSError("a broker needs a lock and two pipes, and the system gives none: too many open files?")
        if desk_init(&self.desk, &limits) < 0:
            raise MemoryError("no memory for a broker's tables")

    def __dealloc__(self):
        desk_free(&self.desk)
        wake_free(&self.loop_wake)
        wake_free(&self.errand_wake)
        if self.lock != NULL:
            PyThread_free_lock(self.lock)

    @property
    def orders_fd(self):
        """A file descriptor that is readable when `take_orders` has something."""
        return self.errand_wake.ends[0]

    @property
    def wake_fd(self):
        """A file descriptor that is readable when the loop should look again (pyzmq loop)."""
        return self.loop_wake.ends[0]

    cdef void _take(self) noexcept nogil:
        PyThread_acquire_lock(self.lock, 1)

    cdef void _pump(self, double now) noexcept nogil:
        if self.desk.dying:
            arrivals_judge_the_dead(&self.desk, now)
        scheduler_decide(self.desk.scheduler, now)
        departures_carry_out(&self.desk, now)
        if self.desk.errands != NULL:
            wake_ring(&self.errand_wake)

    cdef double _next_time(self, double now) noexcept nogil:
        cdef double when = scheduler_next_time(self.desk.scheduler, now)
        cdef uint32_t i
        if self.desk.dying:
            for i in range(self.desk.peers.room):
                if self.desk.peers.rows[i].state == DYING and self.desk.peers.rows[i].judged_at < when:
                    when = self.desk.peers.rows[i].judged_at
        return when

    def expect_slot(self, uint32_t number, uint32_t pid):
        """The node has started this process; its HELLO will say so too, which is all that is needed."""

    def slot_died(self, uint32_t pid, bint planned, str report, uint64_t token=UNKNOWN_TASK):
        """The process of a slot has ended; `token` is the task that ran there (0: none, 1: unknown)."""
        cdef bytes line = report.encode()
        cdef const char* text = line
        with nogil:
            self._take()
            arrivals_slot_died(&self.desk, pid, token, text, clock_now())
            PyThread_release_lock(self.lock)
            wake_ring(&self.loop_wake)

    def stop_slots(self):
        """Tells every slot to finish what it runs and leave."""
        with nogil:
            self._take()
            desk_stop_doers(&self.desk)
            PyThread_release_lock(self.lock)
            wake_ring(&self.loop_wake)

    @property
    def stopped(self):
        """Whether `stop` was called."""
        return self.stopping

    def stop(self):
        """Ends `run`, in whatever thread it is."""
        self.stopping = True
        wake_ring(&self.loop_wake)

    def take_orders(self):
        """What the keeper is to do: ("kill", pid, b"") or ("setup", pid, the sealed error), oldest first."""
        cdef Errand* errand
        cdef list orders = []
        wake_drain(&self.errand_wake)
        while True:
            with nogil:
                self._take()
                errand = desk_next_errand(&self.desk)
                PyThread_release_lock(self.lock)
            if errand == NULL:
                return orders
            if errand.kind == KILL_SLOT:
                orders.append(("kill", errand.pid, b""))
            else:
                orders.append(("setup", errand.pid, PyBytes_FromStringAndSize(
                    <char*> errand.bale.frames[1].data, errand.bale.frames[1].size)))
            desk_errand_done(errand)

    def release(self):
        """Gives the bells' descriptors back, once nobody waits at them; they cannot be rung any more."""
        PyThread_acquire_lock(self.lock, 1)
        wake_free(&self.loop_wake)
        wake_free(&self.errand_wake)
        PyThread_release_lock(self.lock)

    def totals(self):
        """Everything that is counted, by name."""
        cdef Totals totals
        cdef uint64_t functions
        cdef Desk* desk = &self.desk
        with nogil:
            self._take()
            scheduler_totals(desk.scheduler, &totals)
            functions = desk.bodies.used
            PyThread_release_lock(self.lock)
        return {
            "waiting": totals.waiting, "assigned": totals.assigned, "running": totals.running,
            "accepted": totals.accepted, "ended": totals.ended, "stale": totals.stale, "retried": totals.retried,
            "crashes": totals.crashes, "losses": totals.losses, "retracted": totals.retracted, "doers": totals.doers - desk.dying,
            "askers": totals.askers, "decisions": totals.decisions, "functions": functions,
            "bodies_sent": desk.bodies_sent, "malformed": desk.malformed, "messages_in": desk.messages_in,
            "messages_out": desk.messages_out,
        }

    def slots(self):
        """The slots that are connected, each as a dict of number, pid and host."""
        cdef Peer* row
        cdef uint32_t i
        found = []
        # Rows only move when a peer joins, which takes the lock.
        PyThread_acquire_lock(self.lock, 1)
        try:
            for i in range(self.desk.peers.room):
                row = &self.desk.peers.rows[i]
                if row.state == DOING:
                    found.append({"number": row.number, "pid": row.pid, "host": row.host.decode(errors="replace")})
        finally:
            PyThread_release_lock(self.lock)
        return found

    def validate(self):
        """0, or the number of the first invariant of the scheduler that does not hold."""
        cdef int broken
        with nogil:
            self._take()
            broken = scheduler_validate(self.desk.scheduler)
            PyThread_release_lock(self.lock)
        return broken

    # The doors of the loop on pyzmq: frames in and out as bytes.

    def receive(self, bytes route not None, list frames not None):
        """Takes in one message."""
        cdef uint32_t count = len(frames)
        cdef Frame* copies
        cdef Bale* bale
        cdef uint32_t i
        if count == 0 or len(route) > 16:
            return
        copies = <Frame*> malloc(count * sizeof(Frame))
        if copies == NULL:
            raise MemoryError("no memory for a message's frames")
        for i in range(count):
            copies[i].data = <unsigned char*> PyBytes_AS_STRING(frames[i])
            copies[i].size = PyBytes_GET_SIZE(frames[i])
        bale = bale_of_copies(copies, count)
        free(copies)
        if bale == NULL:
            raise MemoryError("no memory for a message")
        PyThread_acquire_lock(self.lock, 1)
        arrivals_receive(
            &self.desk, <const uint8_t*> PyBytes_AS_STRING(route), PyBytes_GET_SIZE(route), bale, clock_now())
        PyThread_release_lock(self.lock)

    def pump(self):
        """Decides, and returns (seconds until it wants to decide again or None, [(peer, route, frames) to send])."""
        cdef double now = clock_now()
        cdef double when
        cdef int32_t peer
        cdef Letter* letter
        cdef list letters = []
        wake_drain(&self.loop_wake)
        PyThread_acquire_lock(self.lock, 1)
        try:
            self._pump(now)
            peer = peers_next_touched(&self.desk.peers)
            while peer >= 0:
                route = (<const char*> self.desk.peers.rows[peer].route)[:self.desk.peers.rows[peer].route_size]
                letter = queue_take(&self.desk.peers.rows[peer].outbox)
                while letter != NULL:
                    letters.append((peer, route, letter_frames(letter)))
                    self.desk.messages_out += 1
                    letter = queue_take(&self.desk.peers.rows[peer].outbox)
                peer = peers_next_touched(&self.desk.peers)
            when = self._next_time(now)
        finally:
            PyThread_release_lock(self.lock)
        return None if when == INFINITY else max(0.0, when - now), letters

    def unreachable(self, int32_t peer):
        """The socket knows no such peer any more."""
        PyThread_acquire_lock(self.lock, 1)
        arrivals_unreachable(&self.desk, peer, clock_now())
        PyThread_release_lock(self.lock)


cdef class Loop(Broker):
    """A Broker that moves its own messages: `Loop(settings, *addresses)`, then `run()` in a thread of its own."""

    cdef void* socket
    cdef int owner                      # the process that may close the socket; a forked copy may not

    def __init__(self, settings, *addresses):
        cdef int one = 1
        cdef int zero = 0
        cdef int high = 10_000
        cdef bytes encoded
        self.owner = getpid()
        self.socket = zmq.socket(the_context.take(), ZMQ_ROUTER)
        if self.socket == NULL:
            the_context.give_back()
            libzmq_raise("making the broker's socket")
        zmq.setsockopt(self.socket, ZMQ_ROUTER_MANDATORY, &one, sizeof(int))
        zmq.setsockopt(self.socket, ZMQ_LINGER, &zero, sizeof(int))
        zmq.setsockopt(self.socket, ZMQ_SNDHWM, &high, sizeof(int))
        zmq.setsockopt(self.socket, ZMQ_RCVHWM, &high, sizeof(int))
        for address in addresses:
            encoded = address.encode()
            if zmq.bind(self.socket, encoded) < 0:
                try:
                    libzmq_raise(f"binding the broker to {address}")
                finally:
                    self._close()

    def run(self):
        """Moves messages until `stop`, then closes the socket; holds no GIL for all of that time."""
        try:
            with nogil:
                while not self.stopping:
                    self._turn()
        finally:
            self._close()
            self.release()

    cdef void _turn(self) noexcept nogil:
        cdef uint8_t route[16]
        cdef size_t route_size
        cdef Bale* bale
        cdef double now
        cdef double when
        cdef int received = 0
        cdef bint stuck
        cdef bint saturated
        cdef int fd = -1
        cdef size_t size = sizeof(int)
        self._take()
        now = clock_now()
        while received < GULP:
            bale = bale_receive(self.socket, route, &route_size)
            if bale == NULL:
                break
            arrivals_receive(&self.desk, route, route_size, bale, now)
            received += 1
        if received:
            now = clock_now()
        self._pump(now)
        stuck = self._send(now)
        when = self._next_time(now)
        # While tasks wait for a slot, the slots want the cores and nobody wants a quick answer.
        saturated = scheduler_has_waiting(self.desk.scheduler)
        PyThread_release_lock(self.lock)
        if received == GULP or socket_ready(self.socket):
            return
        zmq.getsockopt(self.socket, ZMQ_FD, &fd, &size)
        wake_wait(&self.loop_wake, fd, -1, 0.001 if stuck else when - now, ASLEEP if saturated else EAGER)

    cdef bint _send(self, double now) noexcept nogil:
        """Sends what can be sent; True if some peer's socket is full."""
        cdef int32_t peer = peers_next_touched(&self.desk.peers)
        cdef int32_t held = -1
        cdef Peer* row
        cdef Letter* letter
        cdef int posted
        while peer >= 0:
            row = &self.desk.peers.rows[peer]
            posted = SENT
            while row.outbox.head != NULL:
                letter = queue_take(&row.outbox)
                posted = letter_send(letter, self.socket, row.route, row.route_size)
                if posted != SENT:
                    break
                self.desk.messages_out += 1
            if posted == LATER:
                letter.next = row.outbox.head
                row.outbox.head = letter
                if row.outbox.tail == NULL:
                    row.outbox.tail = letter
                row.outbox.length += 1
                # Touched again, but only after this round.
                row.touched = True
                row.next_touched = held
                held = peer
            elif posted != SENT:
                letter_free(letter)
                arrivals_unreachable(&self.desk, peer, now)
            peer = peers_next_touched(&self.desk.peers)
        self.desk.peers.touched = held
        return held >= 0

    cdef void _close(self):
        if self.socket != NULL and self.owner == getpid():
            zmq.close(self.socket)
            self.socket = NULL
            the_context.give_back()

    def __dealloc__(self):
        self._close()
