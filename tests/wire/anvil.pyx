# SPDX-License-Identifier: BSD-3-Clause
"""What a peer's bytes reach, in one place, with every frame in a block of memory of exactly its size.

Why compiled, and apart from the package: the broker's desk and the two ends are C and have no Python face that leaves a
frame's end where it is; behind such an end the address sanitizer sees the first byte that is read too many. Only
`test_t06_fuzzed_parser.py` builds this, with the sanitizers, in a directory of its own.

May not know: sockets, which messages are sound, real time. Guarantees: the same calls in the same order do the same thing,
on the desk by a clock of its own; what `alive` counts comes down to what it was when an anvil is gone, or somebody
has dropped a bale too seldom.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.pythread cimport PyThread_acquire_lock, PyThread_release_lock
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from covey.broker.arrivals cimport (
    arrivals_cut_off, arrivals_judge_the_dead, arrivals_receive, arrivals_settle, arrivals_slot_died, arrivals_unreachable)
from covey.broker.departures cimport departures_carry_out
from covey.broker.desk cimport (
    ANSWERED, ASKED_US, FIRST_DIAL, SETUP_BROKE, Desk, Errand, Farewell, desk_errand_done, desk_free, desk_init, desk_next_errand,
    desk_next_farewell, desk_port_of, desk_weigh)
from covey.broker.inquiries cimport inquiries_answer, inquiries_ask
from covey.broker.limits cimport limits_of
from covey.broker.peers cimport DOING, Peer, peers_find, peers_next_touched
from covey.broker.relays cimport relays_drain, relays_greet, relays_tell
from covey.broker.returns cimport returns_purge
from covey.broker.scheduler cimport Limits, scheduler_decide, scheduler_next_time, scheduler_validate
from covey.client.futures cimport CANCELLED_AND_NOTIFIED, FutureCore, future_new
from covey.client.line cimport Line
from covey.codec.values cimport values_decode
from covey.link.asker cimport asker_next_letter_locked, asker_put, asker_receive_locked
from covey.link.doer cimport (
    Doer, QueuedTask, doer_announce_locked, doer_free, doer_init, doer_listen, doer_next_forgotten, doer_next_letter_locked,
    doer_put_note, doer_put_outcome, doer_receive_locked, doer_take, doer_take_body, doer_take_note)
from covey.link.post cimport Letter, letter_frames, letter_free, queue_take
from covey.link.wake cimport wake_drain
from covey.wire.bale cimport Bale, bale_blank, bale_drop
from covey.wire.protocol cimport NEEDS_CPU, VALUE, Header, NoteRecord, QueryRecord, wire_check

from covey.settings import Settings

cdef int64_t _alive = 0


cdef void _discard(Bale* self) noexcept nogil:
    global _alive
    cdef uint32_t skew = (<uint32_t*> (self.frames + self.count))[0]
    cdef uint32_t i
    for i in range(self.count):
        free(self.frames[i].data - skew)
    free(self)
    _alive -= 1


cdef Bale* _bale(list frames, uint32_t skew) except NULL:
    """Each frame ends where its block ends. It begins `skew` bytes behind a block's beginning: sockets give any address."""
    global _alive
    cdef uint32_t count = <uint32_t> len(frames)
    cdef Bale* self = bale_blank(count, sizeof(uint32_t))
    cdef unsigned char* block
    cdef uint32_t i
    (<uint32_t*> (self.frames + count))[0] = skew
    self.discard = _discard
    for i in range(count):
        block = <unsigned char*> malloc(PyBytes_GET_SIZE(frames[i]) + skew)
        self.frames[i].data = block + skew
        self.frames[i].size = PyBytes_GET_SIZE(frames[i])
        memcpy(self.frames[i].data, PyBytes_AS_STRING(frames[i]), self.frames[i].size)
    _alive += 1
    return self


def alive():
    """How many messages somebody holds."""
    return _alive


def judge(list frames not None, uint32_t skew):
    """What the parser says of a message."""
    cdef Bale* bale = _bale(frames, skew)
    cdef int kind = wire_check(bale.frames[0].data, bale.frames[0].size, bale.count - 1)
    bale_drop(bale)
    return kind


def read_beyond(bytes data not None):
    """Reads the byte behind a frame: by this the sanitizer is tested."""
    cdef Bale* bale = _bale([data], 0)
    cdef int byte = bale.frames[0].data[bale.frames[0].size]
    bale_drop(bale)
    return byte


def decode(bytes data not None):
    """Whether these are the tags of a value."""
    cdef Bale* bale = _bale([data], 0)
    try:
        values_decode(bale.frames[0].data, bale.frames[0].size)
        return True
    except ValueError:
        return False
    finally:
        bale_drop(bale)


def _show(*_said):
    """What tasks print is shown to nobody. No method, or an anvil would hold itself."""


cdef class Anvil:
    """A broker's desk, a client's end and a slot's end, none of them connected to anything."""

    cdef Desk desk
    cdef Doer doer
    cdef Line line
    cdef double now

    def __cinit__(self):
        settings = Settings()
        cdef Limits limits = limits_of(settings, 1)
        # Little, so that limits are met.
        limits.credit_tasks = 64
        limits.credit_bytes = 1 << 16
        if desk_init(&self.desk, &limits) < 0 or doer_init(&self.doer) < 0 or doer_listen(&self.doer) < 0:
            raise MemoryError("no memory for an anvil")
        memcpy(self.desk.name, b"anvil", 6)
        self.desk.python = 0x030B
        self.desk.pid = 1
        self.desk.beat_every = settings.beat_every
        self.desk.keep_for = settings.keep_for
        self.desk.outbox_bytes = self.desk.outbox_most = 1 << 12
        self.desk.name_base = 0x0123456789ABCDEF
        self.desk.session = 99
        self.now = 1000.0
        self.desk.settled_at = self.now + 3.0
        self.line = Line(_show, 1 << 20)

    def __dealloc__(self):
        desk_free(&self.desk)
        doer_free(&self.doer)

    def close(self):
        """Drops what the client's end holds."""
        self.line.fail(RuntimeError("closed"))

    # The desk.

    def meet(self, bytes route not None, list frames not None, int allowed, uint32_t skew):
        """A message from a route."""
        arrivals_receive(
            &self.desk, <const uint8_t*> PyBytes_AS_STRING(route), PyBytes_GET_SIZE(route), allowed, _bale(frames, skew), self.now)

    def greet(self, bytes route not None, int role):
        """A connection that the desk's loop has dialled is there."""
        if peers_find(&self.desk.peers, <const uint8_t*> PyBytes_AS_STRING(route), PyBytes_GET_SIZE(route)) < 0:
            relays_greet(&self.desk, <const uint8_t*> PyBytes_AS_STRING(route), PyBytes_GET_SIZE(route), role, self.now)

    def lose(self, bytes route not None):
        """A connection is gone."""
        cdef int32_t peer = peers_find(&self.desk.peers, <const uint8_t*> PyBytes_AS_STRING(route), PyBytes_GET_SIZE(route))
        if peer >= 0 and desk_port_of(&self.desk.peers.rows[peer]) >= FIRST_DIAL:
            arrivals_cut_off(&self.desk, peer, self.now)
        elif peer >= 0:
            arrivals_unreachable(&self.desk, peer, self.now)

    def die(self, uint32_t pid, uint64_t token):
        """A slot's process has ended."""
        arrivals_slot_died(&self.desk, pid, token, False, b"it died\t4096", self.now)

    def ask(self):
        """Every loop below is asked something."""
        cdef uint32_t i
        for i in range(self.desk.peers.room):
            if self.desk.peers.rows[i].state == DOING:
                inquiries_ask(&self.desk, <int32_t> i, self.desk.peers.rows[i].birth, b"status", 6)

    def drain(self):
        """Every loop below is to finish and leave."""
        cdef uint32_t i
        for i in range(self.desk.peers.room):
            if self.desk.peers.rows[i].state == DOING and self.desk.peers.rows[i].relays:
                relays_drain(&self.desk, <int32_t> i, self.now)

    def pump(self, double seconds):
        """So much later: decides, and gives what is sent, as (route, frames)."""
        cdef Peer* row
        cdef Letter* letter
        cdef int32_t peer
        cdef list letters = []
        self.now += seconds
        if self.desk.dying or self.desk.silent:
            arrivals_judge_the_dead(&self.desk, self.now)
        if self.desk.deferred != NULL:
            arrivals_settle(&self.desk, self.now)
        scheduler_decide(self.desk.scheduler, self.now)
        departures_carry_out(&self.desk, self.now)
        relays_tell(&self.desk, self.now)
        scheduler_next_time(self.desk.scheduler, self.now)
        returns_purge(&self.desk, self.now)
        self._run_errands()
        peer = peers_next_touched(&self.desk.peers)
        while peer >= 0:
            row = &self.desk.peers.rows[peer]
            desk_weigh(&self.desk, peer)
            letter = queue_take(&row.outbox)
            while letter != NULL:
                letters.append(((<const char*> row.route)[:row.route_size], letter_frames(letter)))
                letter = queue_take(&row.outbox)
            desk_weigh(&self.desk, peer)
            peer = peers_next_touched(&self.desk.peers)
        return letters

    cdef int _run_errands(self) except -1:
        cdef Errand* errand = desk_next_errand(&self.desk)
        cdef Farewell* farewell
        cdef const unsigned char* at
        while errand != NULL:
            if errand.kind == ASKED_US or errand.kind == ANSWERED:
                # As the broker does it for the keeper.
                at = errand.bale.frames[0].data + sizeof(Header)
                (<const char*> at)[sizeof(QueryRecord):sizeof(QueryRecord) + (<const QueryRecord*> at).length]
                if errand.kind == ASKED_US:
                    inquiries_answer(&self.desk, errand.peer, errand.birth, errand.serial, b"{}", 2)
            elif errand.kind == SETUP_BROKE:
                (<const char*> errand.bale.frames[1].data)[:errand.bale.frames[1].size]
            desk_errand_done(errand)
            errand = desk_next_errand(&self.desk)
        farewell = desk_next_farewell(&self.desk)
        while farewell != NULL:
            free(farewell)
            farewell = desk_next_farewell(&self.desk)
        return 0

    def validate(self):
        """0, or the number of the first invariant of the scheduler that does not hold."""
        return scheduler_validate(self.desk.scheduler)

    # The client's end.

    def submit(self):
        """A task is asked for; its ticket. Nobody waits for the result: what a payload says is not opened here."""
        cdef FutureCore future = future_new(None, None)
        cdef uint64_t ticket
        future.state = CANCELLED_AND_NOTIFIED
        Py_INCREF(future)
        self.line.live += 1
        ticket = asker_put(
            &self.line.end, <void*> future, 1, <const unsigned char*> b"\x01\x00", 2, NULL, 0, NEEDS_CPU, 0, 0, 0, 0, 0, 0)
        self._post()
        return ticket

    cdef void _post(self) noexcept:
        cdef Letter* letter
        PyThread_acquire_lock(self.line.end.lock, 1)
        letter = asker_next_letter_locked(&self.line.end)
        while letter != NULL:
            letter_free(letter)
            letter = asker_next_letter_locked(&self.line.end)
        PyThread_release_lock(self.line.end.lock)
        wake_drain(&self.line.end.kick)

    def tell_client(self, list frames not None, uint32_t skew):
        """A message from the client's broker."""
        cdef Bale* bale = _bale(frames, skew)
        PyThread_acquire_lock(self.line.end.lock, 1)
        asker_receive_locked(&self.line.end, bale)
        PyThread_release_lock(self.line.end.lock)
        self.line.settle()
        self.line.flush()
        self._post()

    # The slot's end.

    def tell_slot(self, list frames not None, uint32_t skew):
        """A message from the slot's node."""
        cdef Bale* bale = _bale(frames, skew)
        PyThread_acquire_lock(self.doer.lock, 1)
        doer_receive_locked(&self.doer, bale)
        PyThread_release_lock(self.doer.lock)

    def work(self):
        """The slot takes its next task, reads what came for it, and answers with its own parcel; the task's ticket or 0."""
        cdef QueuedTask task
        cdef uint32_t forgotten = 0
        cdef bint over = False
        cdef Bale* note
        cdef Letter* letter
        cdef bytes parcel
        cdef uint64_t ticket = 0
        if doer_take(&self.doer, &task, False) == 1:
            ticket = task.ticket
            parcel = (<const char*> task.bale.frames[0].data + task.offset)[:task.length]
            bale_drop(task.bale)
            bale_drop(doer_take_body(&self.doer, task.function))
            note = doer_take_note(&self.doer, 0, &over)
            if note != NULL:
                (<const char*> note.frames[0].data)[sizeof(Header) + sizeof(NoteRecord):note.frames[0].size]
                bale_drop(note)
            doer_put_note(&self.doer, <const unsigned char*> b"on it", 5)
            doer_announce_locked(&self.doer, self.doer.busy_since + 1.0)
            doer_put_outcome(
                &self.doer, ticket, VALUE, 0, 1000, <const unsigned char*> PyBytes_AS_STRING(parcel), len(parcel), NULL)
        while doer_next_forgotten(&self.doer, &forgotten):
            pass
        letter = doer_next_letter_locked(&self.doer)
        while letter != NULL:
            letter_free(letter)
            letter = doer_next_letter_locked(&self.doer)
        wake_drain(&self.doer.attendant_wake)
        return ticket
