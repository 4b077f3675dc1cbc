# SPDX-License-Identifier: BSD-3-Clause
"""The broker as Python sees it; see broker.pxd.

May not know: sockets. Guarantees: every door may be used from any thread at any time, but for `receive`, `pump` and
`unreachable`, which belong to the thread that moves the messages; the GIL is never waited for under the lock. Bells are
rung and drained under it, because `release` gives their descriptors back, and the next to open a file may get them.
"""
import os
import sys

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock)
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strcmp

from covey.broker.arrivals cimport (
    arrivals_judge_the_dead, arrivals_receive, arrivals_settle, arrivals_slot_died, arrivals_unreachable)
from covey.broker.departures cimport departures_carry_out
from covey.broker.desk cimport (
    ANSWERED, ASKED_US, KILL_SLOT, LEAVE, SHARE_SOUGHT, UNKNOWN_TASK, WORK_BEGAN, Errand, desk_errand_done, desk_free, desk_init,
    desk_next_errand, desk_port_of, desk_say_bye, desk_stop_nodes, desk_stop_slots)
from covey.broker.inquiries cimport inquiries_answer, inquiries_ask
from covey.broker.limits cimport limits_of
from covey.broker.peers cimport DOING, DYING, ROUTE_MAX, Peer, peers_find, peers_next_touched
from covey.broker.pressure cimport pressure_allow, pressure_look
from covey.broker.relays cimport relays_drain, relays_leave, relays_next_time, relays_tell
from covey.broker.returns cimport returns_purge
from covey.broker.scheduler cimport (
    Limits, Totals, scheduler_decide, scheduler_load, scheduler_may_starve, scheduler_next_time, scheduler_totals, scheduler_validate)
from covey.link.post cimport Letter, clock_now, letter_frames, queue_take
from covey.link.wake cimport wake_drain, wake_free, wake_init, wake_ring
from covey.wire.bale cimport Bale, Frame, bale_of_copies
from covey.wire.protocol cimport JOURNAL, MAX_TEXT, RESOURCES, Header, QueryRecord


cdef class Broker:
    """A desk behind a lock, and the doors of it that Python uses."""

    def __cinit__(self, settings, *more):
        cdef Limits limits
        # Whatever fails below, `__dealloc__` follows; a bell that was never made must not close descriptor 0.
        self.loop_wake.ends[0] = self.errand_wake.ends[0] = self.news_wake.ends[0] = -1
        limits = limits_of(settings, int.from_bytes(os.urandom(8), "little"))
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL or wake_init(&self.loop_wake) < 0 or wake_init(&self.errand_wake) < 0 or (
                wake_init(&self.news_wake) < 0):
            raise OSError("a broker needs a lock and three pipes, and the system gives none: too many open files?")
        if desk_init(&self.desk, &limits) < 0:
            raise MemoryError("no memory for a broker's tables")
        name = os.uname().nodename.encode()[:200] + b":%d" % os.getpid()
        memcpy(self.desk.name, <const char*> name, len(name))
        self.desk.python = <uint16_t> (sys.version_info[0] << 8 | sys.version_info[1])
        self.desk.pid = <uint32_t> os.getpid()
        self.desk.beat_every = settings.beat_every
        self.desk.keep_for = settings.keep_for
        self.desk.outbox_bytes = self.desk.outbox_most = settings.outbox_bytes
        self.desk.name_base = int.from_bytes(os.urandom(8), "little")
        self.press_again = INFINITY
        self.desk.session = int.from_bytes(os.urandom(8), "little") or 1

    def __dealloc__(self):
        desk_free(&self.desk)
        wake_free(&self.loop_wake)
        wake_free(&self.errand_wake)
        wake_free(&self.news_wake)
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
        if self.desk.dying or self.desk.silent:
            arrivals_judge_the_dead(&self.desk, now)
        if self.desk.deferred != NULL:
            arrivals_settle(&self.desk, now)
        self.press_again = pressure_look(&self.desk, now)
        scheduler_decide(self.desk.scheduler, now)
        departures_carry_out(&self.desk, now)
        relays_tell(&self.desk, now)
        if self.desk.errands != NULL:
            wake_ring(&self.errand_wake)
        if self.desk.news:
            self.desk.news = False
            wake_ring(&self.news_wake)

    cdef double _next_time(self, double now) noexcept nogil:
        cdef double when = min(scheduler_next_time(self.desk.scheduler, now), relays_next_time(&self.desk))
        cdef uint32_t i
        if self.desk.dying:
            for i in range(self.desk.peers.room):
                if self.desk.peers.rows[i].state == DYING and self.desk.peers.rows[i].judged_at < when:
                    when = self.desk.peers.rows[i].judged_at
        return min(min(when, self.press_again), returns_purge(&self.desk, now))

    def allow_memory(self, uint64_t messages):
        """So many bytes of messages may be in memory; where more come, some are written out, and credit is held back."""
        PyThread_acquire_lock(self.lock, 1)
        pressure_allow(&self.desk, messages)
        wake_ring(&self.loop_wake)
        PyThread_release_lock(self.lock)

    @property
    def holds_back(self):
        """Whether credit is held back, because too much is in memory."""
        return bool(self.desk.tight and self.desk.pressed)

    def settle(self, double seconds):
        """For so long, tasks that may have begun elsewhere wait until the doers that come back have said what they hold: for
        a broker that follows another one."""
        PyThread_acquire_lock(self.lock, 1)
        self.desk.settled_at = clock_now() + seconds
        PyThread_release_lock(self.lock)

    def expect_slot(self, uint32_t number, uint32_t pid):
        """The node has started this process; its HELLO will say so too, which is all that is needed."""

    def slot_died(
            self, uint32_t pid, bint planned, str report, uint64_t token=UNKNOWN_TASK, bint starved=False, uint64_t peak=0):
        """The process of a slot has ended; `token` is the task that ran there (0: none, 1: unknown). `starved`: because
        memory ran out. `peak`: the most bytes it had; 0: not known. `report` has no tab."""
        cdef bytes line = (f"{report}\t{peak}" if peak else report).replace("\n", "\v").encode()
        cdef const char* text = line
        with nogil:
            self._take()
            arrivals_slot_died(&self.desk, pid, token, starved, text, clock_now())
            wake_ring(&self.loop_wake)
            PyThread_release_lock(self.lock)

    def await_work(self):
        """Asks for a "work" order when a slot of ours gets its next task; False, and none comes, if one has some now."""
        cdef uint32_t running = 0
        cdef uint32_t queued = 0
        cdef bint idle = True
        cdef uint32_t i
        with nogil:
            self._take()
            for i in range(self.desk.peers.room):
                if self.desk.peers.rows[i].state == DOING and not self.desk.peers.rows[i].relays:
                    scheduler_load(self.desk.scheduler, self.desk.peers.rows[i].index, &running, &queued)
                    idle = idle and running == 0
            self.desk.awaited = idle
            PyThread_release_lock(self.lock)
        return idle

    def stop_slots(self):
        """Tells every slot to finish what it runs and leave."""
        with nogil:
            self._take()
            desk_stop_slots(&self.desk)
            wake_ring(&self.loop_wake)
            PyThread_release_lock(self.lock)

    def stop_nodes(self):
        """Tells every node below to finish what it runs and end; slots of our own stay."""
        with nogil:
            self._take()
            desk_stop_nodes(&self.desk)
            wake_ring(&self.loop_wake)
            PyThread_release_lock(self.lock)

    def say_bye(self):
        """Tells the loops above and below that this one leaves; what they gave us is theirs again."""
        with nogil:
            self._take()
            desk_say_bye(&self.desk)
            wake_ring(&self.loop_wake)
            PyThread_release_lock(self.lock)

    def leave(self):
        """Tells the loops above that this one wants to leave; returns how many there are. Each takes back what waits
        here and gives no more; when it has all outcomes, it says "leave" in return."""
        cdef uint32_t told
        with nogil:
            self._take()
            told = relays_leave(&self.desk)
            wake_ring(&self.loop_wake)
            PyThread_release_lock(self.lock)
        return told

    def drain(self, str name not None):
        """Lets the node of this name finish what runs there, gives it no more, and then lets it go; False: no such node."""
        cdef bytes encoded = name.encode()
        cdef const char* wanted = encoded
        cdef bint found = False
        cdef uint32_t i
        with nogil:
            self._take()
            for i in range(self.desk.peers.room):
                if self.desk.peers.rows[i].state == DOING and self.desk.peers.rows[i].relays and (
                        strcmp(self.desk.peers.rows[i].host, wanted) == 0):
                    found = True
                    relays_drain(&self.desk, <int32_t> i, clock_now())
            wake_ring(&self.loop_wake)
            PyThread_release_lock(self.lock)
        return found

    def ask(self, handle, str text not None):
        """Asks a loop below (`nodes` tells its handle); the number that the answer's order will have, or 0: it has left."""
        cdef bytes encoded = _encoded(text)
        cdef const char* data = encoded
        cdef uint32_t length = <uint32_t> len(encoded)
        cdef int32_t peer = handle & 0x7fffffff
        cdef uint32_t birth = handle >> 32
        cdef uint32_t serial
        with nogil:
            self._take()
            serial = inquiries_ask(&self.desk, peer, birth, data, length)
            wake_ring(&self.loop_wake)
            PyThread_release_lock(self.lock)
        return serial

    def answer(self, handle, str text not None):
        """Answers a "query" order. Who has left meanwhile gets nothing."""
        cdef bytes encoded = _encoded(text)
        cdef const char* data = encoded
        cdef uint32_t length = <uint32_t> len(encoded)
        cdef uint32_t serial = handle & 0xffffffff
        cdef int32_t peer = handle >> 32 & 0x7fffffff
        cdef uint32_t birth = handle >> 64
        with nogil:
            self._take()
            inquiries_answer(&self.desk, peer, birth, serial, data, length)
            wake_ring(&self.loop_wake)
            PyThread_release_lock(self.lock)

    @property
    def name(self):
        """What other loops, and people, call this one."""
        return self.desk.name.decode(errors="replace")

    @name.setter
    def name(self, str name not None):
        encoded = name.encode()
        if not 0 < len(encoded) < 255:
            raise ValueError(f"a node's name has 1 to 254 bytes, not {len(encoded)}: {name!r}")
        PyThread_acquire_lock(self.lock, 1)
        memcpy(self.desk.name, <const char*> encoded, len(encoded) + 1)
        PyThread_release_lock(self.lock)

    @property
    def shared(self):
        """Whether many use this loop, so that only a loop which it dialled may end it."""
        return self.desk.shared

    @shared.setter
    def shared(self, bint shared):
        PyThread_acquire_lock(self.lock, 1)
        self.desk.shared = shared
        PyThread_release_lock(self.lock)

    @property
    def news_fd(self):
        """A file descriptor that is readable when somebody came, left or was refused; `read_news` empties it."""
        return self.news_wake.ends[0]

    def turned_away(self):
        """How many were refused though their key was right, and who was the last of them, and why."""
        PyThread_acquire_lock(self.lock, 1)
        try:
            return self.desk.turned_away, self.desk.turned_why.decode(errors="replace")
        finally:
            PyThread_release_lock(self.lock)

    def read_news(self):
        """Empties `news_fd`."""
        with nogil:
            self._take()
            wake_drain(&self.news_wake)
            PyThread_release_lock(self.lock)

    @property
    def stopped(self):
        """Whether `stop` was called."""
        return self.stopping

    def stop(self):
        """Ends `run`, in whatever thread it is."""
        self.stopping = True
        with nogil:
            self._take()
            wake_ring(&self.loop_wake)
            PyThread_release_lock(self.lock)

    def take_orders(self):
        """What the keeper is to do: ("kill", pid, b""), ("setup", pid, the sealed error), ("leave", 0, b""), ("query", a
        handle for `answer`, the text), ("answer", the number that `ask` gave, the text), ("share", how much of a GPU some
        task takes, in 1/10,000, b"") or ("work", 0, b""), once after `await_work`."""
        cdef Errand* errand
        cdef list orders = []
        with nogil:
            self._take()
            wake_drain(&self.errand_wake)
            PyThread_release_lock(self.lock)
        while True:
            with nogil:
                self._take()
                errand = desk_next_errand(&self.desk)
                PyThread_release_lock(self.lock)
            if errand == NULL:
                return orders
            if errand.kind == KILL_SLOT:
                orders.append(("kill", errand.pid, b""))
            elif errand.kind == LEAVE:
                orders.append(("leave", 0, b""))
            elif errand.kind == SHARE_SOUGHT:
                orders.append(("share", errand.pid, b""))
            elif errand.kind == WORK_BEGAN:
                orders.append(("work", 0, b""))
            elif errand.kind == ASKED_US:
                orders.append(("query", _handle_of(errand.peer, errand.birth) << 32 | errand.serial, _text_of(errand)))
            elif errand.kind == ANSWERED:
                orders.append(("answer", errand.serial, _text_of(errand)))
            else:
                orders.append(("setup", errand.pid, PyBytes_FromStringAndSize(
                    <char*> errand.bale.frames[1].data, errand.bale.frames[1].size)))
            desk_errand_done(errand)

    def release(self):
        """Gives the bells' descriptors back, once nobody waits at them; they cannot be rung any more."""
        PyThread_acquire_lock(self.lock, 1)
        wake_free(&self.loop_wake)
        wake_free(&self.errand_wake)
        wake_free(&self.news_wake)
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
            "crashes": totals.crashes, "losses": totals.losses, "ooms": totals.ooms,
            "retracted": totals.retracted, "doers": totals.doers - desk.dying,
            "askers": totals.askers, "decisions": totals.decisions, "functions": functions,
            "bodies_sent": desk.bodies_sent, "malformed": desk.malformed, "messages_in": desk.messages_in,
            "messages_out": desk.messages_out, "adopted": desk.adopted,
        }

    def slots(self):
        """The slots that are connected, each as a dict of number, pid, host, and how many tasks run there (0 or 1)."""
        cdef Peer* row
        cdef uint32_t running = 0
        cdef uint32_t queued = 0
        cdef uint32_t i
        found = []
        # Rows only move when a peer joins, which takes the lock.
        PyThread_acquire_lock(self.lock, 1)
        try:
            for i in range(self.desk.peers.room):
                row = &self.desk.peers.rows[i]
                if row.state == DOING and not row.relays and not row.capacity[JOURNAL]:
                    scheduler_load(self.desk.scheduler, row.index, &running, &queued)
                    found.append({
                        "number": row.number, "pid": row.pid, "host": row.host.decode(errors="replace"),
                        "running": running})
        finally:
            PyThread_release_lock(self.lock)
        return found

    def nodes(self):
        """The nodes and brokers below, each as a dict of name, pid, capacity by kind of place that runs calls, whether it
        has a journal, where it is dialled, what runs and what waits there, whether it is being drained, and its handle for `ask`."""
        cdef Peer* row
        cdef uint32_t running = 0
        cdef uint32_t queued = 0
        cdef uint32_t all_running
        cdef uint32_t all_queued
        cdef uint32_t i
        found = []
        PyThread_acquire_lock(self.lock, 1)
        try:
            for i in range(self.desk.peers.room):
                row = &self.desk.peers.rows[i]
                if row.state == DOING and row.relays:
                    all_running = all_queued = 0
                    for k in range(RESOURCES):
                        scheduler_load(self.desk.scheduler, row.places[k], &running, &queued)
                        all_running += running
                        all_queued += queued
                    found.append({
                        "handle": _handle_of(<int32_t> i, row.birth), "running": all_running, "queued": all_queued,
                        "draining": bool(row.draining),
                        "name": row.host.decode(errors="replace"), "pid": row.pid, "port": desk_port_of(row),
                        "capacity": [row.capacity[k] for k in range(JOURNAL)], "journal": row.capacity[JOURNAL] > 0})
        finally:
            PyThread_release_lock(self.lock)
        return found

    def may_starve(self, uint64_t token):
        """Whether what runs under the token would be tried again, should memory run out under it."""
        cdef bint known
        with nogil:
            self._take()
            known = scheduler_may_starve(self.desk.scheduler, token)
            PyThread_release_lock(self.lock)
        return known

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
        cdef bytes key = b"\0\0" + route
        if count == 0 or len(key) > ROUTE_MAX:
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
            &self.desk, <const uint8_t*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), EVERY_ROLE, bale, clock_now())
        PyThread_release_lock(self.lock)

    def pump(self):
        """Decides, and returns (seconds until it wants to be called again or None, [(route, frames) to send])."""
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
                route = (<const char*> self.desk.peers.rows[peer].route)[2:self.desk.peers.rows[peer].route_size]
                letter = queue_take(&self.desk.peers.rows[peer].outbox)
                while letter != NULL:
                    letters.append((route, letter_frames(letter)))
                    self.desk.messages_out += 1
                    letter = queue_take(&self.desk.peers.rows[peer].outbox)
                peer = peers_next_touched(&self.desk.peers)
            # Whoever waits at the bell next would not hear of a stop whose ring was drained above.
            when = now if self.stopping else self._next_time(now)
        finally:
            PyThread_release_lock(self.lock)
        return None if when == INFINITY else max(0.0, when - now), letters

    def unreachable(self, bytes route not None):
        """The socket knows no such peer any more; who has left since the letter was written is known to be gone."""
        cdef bytes key = b"\0\0" + route
        cdef int32_t peer
        PyThread_acquire_lock(self.lock, 1)
        peer = peers_find(&self.desk.peers, <const uint8_t*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        if peer >= 0:
            arrivals_unreachable(&self.desk, peer, clock_now())
        PyThread_release_lock(self.lock)


cdef object _handle_of(int32_t peer, uint32_t birth):
    """What names a peer and no later one in its row."""
    return (<object> birth) << 32 | peer


cdef bytes _encoded(str text):
    cdef bytes encoded = text.encode()
    if len(encoded) > MAX_TEXT:
        raise ValueError(f"a question or an answer has at most {MAX_TEXT} bytes, not {len(encoded)}")
    return encoded


cdef bytes _text_of(const Errand* errand):
    cdef const unsigned char* record = errand.bale.frames[0].data + sizeof(Header)
    return (<const char*> record)[sizeof(QueryRecord):sizeof(QueryRecord) + (<const QueryRecord*> record).length]
