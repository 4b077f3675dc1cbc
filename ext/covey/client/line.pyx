# SPDX-License-Identifier: BSD-3-Clause
"""The thread that sets futures: outcomes come in without the GIL, and are opened under it in batches.

Why apart from Exchange: this thread must not keep the client alive, or a client that nobody refers to
would never end. Futures refer to the line, the line to no client.

May not know: functions, how a client closes. Guarantees: one outcome sets one future, once; an
outcome that cannot be opened is an error of that future alone; callbacks run in this thread; output
of a task is shown before its future is set.
"""
import sys
from threading import Event, get_ident
from time import monotonic

from cpython.ref cimport Py_DECREF
from cpython.pythread cimport PyThread_acquire_lock, PyThread_release_lock
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from covey.client.futures cimport CANCELLED, FutureCore, future_finish, future_run
from covey.codec.values cimport PARTIAL, values_unseal
from covey.link.asker cimport (
    asker_abandon, asker_cancel, asker_flush, asker_flush_locked, asker_free, asker_init, asker_next_letter_locked,
    asker_peek_locked, asker_receive_locked, asker_settle_locked, asker_take_inbox, asker_turn)
from covey.link.post cimport Letter, letter_frames
from covey.link.wake cimport wake_drain
from covey.wire.bale cimport Bale, bale_drop, bale_of_buffers, bale_views
from covey.wire.protocol cimport (
    BROKEN, BYE, CANCELLED as WAS_CANCELLED, ERROR, LOG, LOST, MAYBE_RAN, NOTE, OUTCOMES, OUTPUT, OUT_OF_MEMORY, POISONED,
    REFUSE, STARTED,
    TIMED_OUT, VALUE, Header, NoteRecord, OutcomeRecord, OutputRecord, RefuseRecord, TicketRecord)


cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef double ATTENTIVE = 0.3

cdef struct Settled:
    void* holder
    const OutcomeRecord* record


cdef class Line:
    """One link to a broker; made by an Exchange."""

    def __cinit__(self):
        if asker_init(&self.end) < 0:
            raise OSError("a client needs a lock and a pipe, and the system gives none: too many open files?")
        self.idle = Event()
        self.idle.set()
        self.welcomed = Event()
        self.room = Event()

    def __init__(self, show, backlog):
        self.show = show
        self.backlog = backlog
        self.notes = {}

    def __dealloc__(self):
        asker_free(&self.end)

    def attend(self):
        """Sets futures until the line is closed; the target of a thread."""
        cdef int turn
        self.attendant = get_ident()
        while True:
            with nogil:
                turn = 0
                while turn == 0:
                    turn = asker_turn(&self.end, 3600.0)
            if turn < 0:
                return
            self.settle()

    cdef int settle(self) except -1:
        cdef Bale* bale = asker_take_inbox(&self.end)
        cdef Bale* following
        cdef int kind
        if self.end.welcome and not self.welcomed.is_set():
            self.welcomed.set()
        self.settling = True
        while bale != NULL:
            following = bale.next
            kind = (<Header*> bale.frames[0].data).kind
            try:
                if kind == OUTCOMES:
                    self.on_outcomes(bale)
                elif kind == STARTED:
                    self.on_started(bale)
                elif kind == OUTPUT:
                    self.on_output(bale)
                elif kind == NOTE:
                    self.on_note(bale)
                elif kind == BYE or kind == REFUSE:
                    self.on_refusal(kind, bale)
            except BaseException:
                # A defect here must not end the thread that every future depends on.
                sys.excepthook(*sys.exc_info())
            bale_drop(bale)
            bale = following
        self.settling = False
        if self.live == 0:
            self.idle.set()
        if self.end.unsent_bytes < self.backlog:
            self.room.set()
        return 0

    cdef int wait_room(self) except -1:
        """Back-pressure: waits until less than the backlog is unsent, or nothing will ever be sent."""
        if get_ident() == self.attendant:
            return 0
        self.flush()
        while self.end.unsent_bytes >= self.backlog and not self.failed:
            self.room.clear()
            if self.end.unsent_bytes >= self.backlog:
                self.room.wait(1.0)
        return 0

    cdef int on_outcomes(self, Bale* bale) except -1:
        cdef unsigned char* at = bale.frames[0].data + sizeof(Header)
        cdef uint32_t count = (<Header*> bale.frames[0].data).count
        cdef uint32_t i
        cdef Settled* settled = <Settled*> malloc(count * sizeof(Settled) + 1)
        cdef FutureCore future
        if settled == NULL:
            raise MemoryError("no memory for a batch of outcomes")
        with nogil:
            PyThread_acquire_lock(self.end.lock, 1)
            for i in range(count):
                settled[i].record = <OutcomeRecord*> at
                settled[i].holder = asker_settle_locked(&self.end, settled[i].record.ticket)
                at += sizeof(OutcomeRecord) + settled[i].record.length
            if self.end.letters.head != NULL:
                # Credit came free.
                asker_flush_locked(&self.end, False)
            PyThread_release_lock(self.end.lock)
        for i in range(count):
            if self.notes:
                self.notes.pop(settled[i].record.ticket, None)
            if settled[i].holder == NULL:
                continue
            future = <FutureCore> settled[i].holder
            Py_DECREF(future)
            self.live -= 1
            try:
                self.finish(future, settled[i].record, bale)
            except BaseException as error:
                future_finish(future, None, error)
        free(settled)
        return 0

    cdef int finish(self, FutureCore future, const OutcomeRecord* record, Bale* bale) except -1:
        future.run_us = record.run_us
        future.tries = record.attempt
        if future.state >= CANCELLED:
            return 0
        return _finish(future, record.status, <const unsigned char*> (record + 1), record.length, bale_views(bale, 1))

    cdef int on_started(self, Bale* bale) except -1:
        cdef TicketRecord* records = <TicketRecord*> (bale.frames[0].data + sizeof(Header))
        cdef uint32_t i
        cdef void* holder
        cdef FutureCore future
        for i in range((<Header*> bale.frames[0].data).count):
            PyThread_acquire_lock(self.end.lock, 1)
            holder = asker_peek_locked(&self.end, records[i].ticket)
            PyThread_release_lock(self.end.lock)
            if holder != NULL:
                future = <FutureCore> holder
                future_run(future)
                if self.started is not None:
                    self.started(future)
        return 0

    cdef int on_output(self, Bale* bale) except -1:
        cdef unsigned char* at = bale.frames[0].data + sizeof(Header)
        cdef OutputRecord* record
        for _ in range((<Header*> bale.frames[0].data).count):
            record = <OutputRecord*> at
            at += sizeof(OutputRecord)
            if record.host or record.stream == LOG:
                self.show(
                    record.stream, (<const char*> at)[record.host:record.length], self.task_of(record.ticket),
                    (<const char*> at)[:record.host].decode(errors="replace"))
            else:
                self.show(record.stream, (<const char*> at)[:record.length])
            at += record.length
        return 0

    cdef int on_note(self, Bale* bale) except -1:
        cdef unsigned char* at = bale.frames[0].data + sizeof(Header)
        cdef NoteRecord* record
        for _ in range((<Header*> bale.frames[0].data).count):
            record = <NoteRecord*> at
            at += sizeof(NoteRecord)
            self.on_text(record.ticket, (<const char*> at)[:record.length])
            at += record.length
        return 0

    cdef int on_text(self, uint64_t ticket, bytes text) except -1:
        cdef void* holder
        hear = self.notes.get(ticket)
        if type(hear) is list:
            hear.append(text)
        elif hear is not None:
            hear(text)
        else:
            # A quick task writes before its caller has said that he listens.
            PyThread_acquire_lock(self.end.lock, 1)
            holder = asker_peek_locked(&self.end, ticket)
            PyThread_release_lock(self.end.lock)
            if holder != NULL:
                self.notes[ticket] = [text]
        return 0

    cdef int listen(self, uint64_t ticket, object hear) except -1:
        early = self.notes.pop(ticket, None)
        self.notes[ticket] = hear
        if type(early) is list:
            for text in early:
                hear(text)
        return 0

    cdef str task_of(self, uint64_t ticket):
        """What messages call the task; "" if there is none, or nobody waits for it any more."""
        cdef void* holder = NULL
        if ticket:
            PyThread_acquire_lock(self.end.lock, 1)
            holder = asker_peek_locked(&self.end, ticket)
            PyThread_release_lock(self.end.lock)
        return "" if holder == NULL else _label(<FutureCore> holder)

    cdef int on_refusal(self, int kind, Bale* bale) except -1:
        cdef RefuseRecord* record = <RefuseRecord*> (bale.frames[0].data + sizeof(Header))
        if bale.count > 1:
            from covey.codec.outcome import open_error
            from covey.errors import InitializerFailed

            cause = open_error((<const char*> bale.frames[1].data)[:bale.frames[1].size])
            error = InitializerFailed(
                f"the initializer raised {type(cause).__name__} in a slot, so no task can run: {cause}")
            error.__cause__ = cause
        else:
            from covey.errors import LinkRefused

            error = LinkRefused((<const char*> (record + 1))[:record.length].decode(errors="replace"))
        self.fail(error)
        return 0

    def fail(self, error):
        """Refuses everything from now on, and gives `error` to every future that is not done."""
        cdef void* holder
        cdef FutureCore future
        if self.refusal is None or not self.failed:
            self.refusal = error
        self.failed = True
        holder = asker_abandon(&self.end)
        while holder != NULL:
            future = <FutureCore> holder
            Py_DECREF(future)
            self.live -= 1
            future_finish(future, None, error)
            holder = asker_abandon(&self.end)
        if self.live == 0:
            self.idle.set()

    def refuse(self, error):
        """New tasks get `error` from now on; what was taken goes on."""
        self.refusal = error

    def flush(self):
        """Sends what is batched."""
        with nogil:
            asker_flush(&self.end)

    def wait_idle(self, timeout=None):
        """Waits until every future of this line is done; False if that took longer than `timeout` seconds."""
        self.flush()
        self.idle.clear()
        if self.live == 0:
            self.idle.set()
        deadline = None if timeout is None else monotonic() + timeout
        while deadline is None or monotonic() < deadline:
            # In pieces, so that Ctrl-C is noticed whenever it comes (see ATTENTIVE in futures.pyx).
            if self.idle.wait(ATTENTIVE if deadline is None else min(ATTENTIVE, max(0.0, deadline - monotonic()))):
                return True
        return self.idle.is_set()

    def wait_welcome(self, timeout):
        """Waits for the broker's answer; False if there was none within `timeout` seconds."""
        return self.welcomed.wait(timeout)

    @property
    def unfinished(self):
        """How many futures still wait for their outcome."""
        return self.live

    @property
    def slots(self):
        """How many slots the broker had when it answered."""
        return self.end.slots

    def cancel_all(self):
        """Cancels every future that does not run."""
        cdef uint32_t row
        cdef void* holder
        cdef list futures = []
        PyThread_acquire_lock(self.end.lock, 1)
        try:
            for row in range(self.end.room):
                holder = self.end.rows[row].holder
                if holder != NULL:
                    futures.append(<object> holder)
        finally:
            PyThread_release_lock(self.end.lock)
        for future in futures:
            future.cancel()
        self.flush()

    def _give_way(self):
        """Lets the I/O thread have the GIL if it has outcomes in hand."""
        if self.end.open_count:
            self.flush()
        if self.end.inbox != NULL or self.settling:
            with nogil:
                sched_yield()

    def _withdraw(self, FutureCore future, bint force):
        """The future was cancelled: its outcome is not wanted. `force`: nor that it goes on running."""
        cdef void* holder = asker_cancel(&self.end, future.ticket, force)
        if holder != NULL:
            Py_DECREF(<object> holder)
            self.live -= 1
            if self.live == 0:
                self.idle.set()

    # The doors of the link on pyzmq.

    @property
    def wake_fd(self):
        """A file descriptor that is readable when there may be letters to send."""
        return self.end.kick.ends[0]

    @property
    def closed(self):
        """Whether the line is at its end."""
        return self.end.closed

    def feed(self, list frames not None):
        """Takes in one message and sets its futures."""
        cdef Bale* bale = bale_of_buffers(frames)
        if bale == NULL:
            return
        PyThread_acquire_lock(self.end.lock, 1)
        asker_receive_locked(&self.end, bale)
        PyThread_release_lock(self.end.lock)
        self.settle()

    def letters(self):
        """What may be sent now, each message as a list of frames."""
        cdef Letter* letter
        cdef list found = []
        self.attendant = get_ident()
        wake_drain(&self.end.kick)
        PyThread_acquire_lock(self.end.lock, 1)
        asker_flush_locked(&self.end, True)
        PyThread_release_lock(self.end.lock)
        wake_drain(&self.end.kick)
        while True:
            PyThread_acquire_lock(self.end.lock, 1)
            letter = asker_next_letter_locked(&self.end)
            PyThread_release_lock(self.end.lock)
            if letter == NULL:
                return found
            found.append(letter_frames(letter))


def take_over(FutureCore future not None, FutureCore other not None):
    """Ends `future` by the outcome of `other`, which was another attempt at its call, and what runs for it by force.

    False, and nothing is changed, if it has an outcome of its own or was cancelled.
    """
    cdef Line line = future.exchange
    cdef void* holder
    if line is None:
        return False
    # Of two outcomes that come together this lets one through: the ticket is given back once.
    holder = asker_cancel(&line.end, future.ticket, True)
    if holder == NULL:
        return False
    Py_DECREF(<object> holder)
    line.live -= 1
    future.run_us = other.run_us
    future.tries = other.tries
    future_finish(future, other.value, other.error)
    if line.live == 0:
        line.idle.set()
    return True


def settle(FutureCore future not None, int status, int attempt, uint32_t run_us, const unsigned char[::1] payload not None, buffers):
    """Ends a future that belongs to no ticket, by an outcome that came another way; its callbacks run in this thread."""
    future.run_us = run_us
    future.tries = <uint8_t> attempt
    if future.state < CANCELLED:
        _finish(future, status, &payload[0] if payload.shape[0] else NULL, payload.shape[0], buffers)


cdef int _finish(FutureCore future, int status, const unsigned char* payload, size_t length, object buffers) except -1:
    cdef object value
    if status == VALUE:
        try:
            value = values_unseal(payload, length, buffers)
        except BaseException as error:
            from covey.codec.outcome import not_loadable_result

            return future_finish(future, None, not_loadable_result(error, _label(future)))
        return future_finish(future, value, None)
    if status == ERROR and length and payload[0] == PARTIAL:
        from covey.client.futures import Partial

        results, sealed = values_unseal(payload, length, buffers)
        return future_finish(future, Partial(results, _opened(future, sealed)), None)
    return future_finish(future, None, _failure(future, status, (<const char*> payload)[:length]))


cdef str _label(FutureCore future):
    name = getattr(future.entry, "name", None) or "a call"
    return f"{name}#{future.ticket >> 32}"


cdef object _opened(FutureCore future, bytes sealed):
    from covey.codec.outcome import open_error

    return open_error(sealed, _label(future), max(1, future.tries))


cdef tuple _attempts(bytes payload):
    """What a payload says of each attempt, and the most memory that any of them tells of; None: none does."""
    cdef list lines = []
    cdef object peak = None
    cdef str text = payload.decode(errors="replace").removesuffix("\n")
    for line in text.split("\n") if text else ():
        said, _, had = line.rpartition("\t")
        # Nineteen digits are more than anybody has; Python refuses to read a number of thousands.
        if said and had.isdecimal() and len(had) < 20:
            peak = max(peak or 0, int(had))
        else:
            said = line
        lines.append(said.replace("\v", "\n"))
    return tuple(lines), peak


cdef object _failure(FutureCore future, int status, bytes payload):
    """The exception for an outcome that is not a value."""
    from covey import errors

    if status == ERROR:
        return _opened(future, payload)
    lines, peak = _attempts(payload)
    if status == BROKEN:
        return errors.BundleBroken(lines)
    if status == POISONED:
        return errors.PoisonTask(_label(future), lines, False, peak)
    if status == OUT_OF_MEMORY:
        return errors.WorkerDied(_label(future), lines, True, peak)
    if status == LOST:
        return errors.TaskLost(_label(future), lines)
    if status == MAYBE_RAN:
        return errors.MaybeRan(_label(future), lines)
    if status == TIMED_OUT:
        return errors.TaskTimeout(f"{_label(future)} ran longer than its time limit, and its slot was stopped")
    if status == WAS_CANCELLED:
        from concurrent.futures import CancelledError

        return CancelledError(f"{_label(future)} was cancelled")
    return errors.LinkRefused(f"the broker refused {_label(future)}: its function is unknown there, or credit was exceeded")
