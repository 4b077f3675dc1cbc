# SPDX-License-Identifier: BSD-3-Clause
"""See doer.pxd, the contents page."""
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock)
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from covey.link.kin cimport kin_die
from covey.link.libzmq cimport ZMQ_FD, zmq
from covey.link.notes cimport notes_drop, notes_free, notes_keep, notes_ring, notes_take, notes_ticket
from covey.link.post cimport (
    SENT, bale_receive, clock_now, head_close, head_open, letter_free, letter_of, letter_send, queue_clear, queue_put,
    queue_take, socket_ready)
from covey.link.wake cimport ASLEEP, EAGER, wake_free, wake_init, wake_ring, wake_wait
from covey.wire.bale cimport bale_drop, bale_hold
from covey.wire.buffer cimport buffer_free, buffer_init, buffer_put, buffer_reserve
from covey.wire.protocol cimport (
    BATCH_BYTES, BEAT, BYE, CANCEL, DOER, EXTRA, FORGET, FUNCTION, HELLO, OUTCOMES, OUTPUT, REFUSE,
    NOTE, RETRACT, RETRACTED, STARTED, STOP, TASKS, CancelRecord, ForgetRecord, FunctionRecord, Header,
    HelloRecord, NoteRecord, OutcomeRecord, OutputRecord, RefuseRecord, RetractedRecord, TaskRecord, TicketRecord,
    wire_check)

# Finished outcomes wait for more of them at most so long, or so many, while tasks are queued.
cdef double LINGER = 0.0002
cdef enum:
    BATCH_RECORDS = 256

# A loop's numbers for functions are dense, and no loop has so many. Whoever sends a higher one would make the table of bodies,
# which is as long as the highest, take the machine's memory.
cdef enum:
    FUNCTIONS_MAX = 1048576

# The attendant of a busy worker looks this often while something is to be sent.
cdef double TICK = 0.001
# A task that runs this long is announced as started.
cdef double ANNOUNCE_AFTER = 0.005
# An attendant whose worker was idle for so long sleeps until it is called.
cdef double DOZE_AFTER = 0.02


cdef int doer_init(Doer* self) noexcept:
    memset(self, 0, sizeof(Doer))
    self.lifeline = -1
    self.beat_every = 2.0
    self.mark = &self.own_mark
    buffer_init(&self.out)
    self.lock = PyThread_allocate_lock()
    self.room = 64
    self.queue = <QueuedTask*> realloc(NULL, self.room * sizeof(QueuedTask))
    if wake_init(&self.worker_wake) < 0 or wake_init(&self.attendant_wake) < 0:
        return -1
    return -1 if self.lock == NULL or self.queue == NULL else 0


cdef void doer_free(Doer* self) noexcept:
    cdef uint32_t i
    if self.lock == NULL:
        return
    _empty_queue(self)
    for i in range(self.bodies_room):
        bale_drop(self.bodies[i])
    free(self.bodies)
    free(self.forgotten)
    free(self.queue)
    queue_clear(&self.letters)
    buffer_free(&self.out)
    wake_free(&self.worker_wake)
    wake_free(&self.attendant_wake)
    free(self.kin)
    notes_free(&self.notes)
    PyThread_free_lock(self.lock)
    memset(self, 0, sizeof(Doer))


cdef void _empty_queue(Doer* self) noexcept nogil:
    while self.length:
        if self.queue[self.head].ticket:
            bale_drop(self.queue[self.head].bale)
        self.head = (self.head + 1) & (self.room - 1)
        self.length -= 1


cdef bint _is_here(const Doer* self, uint64_t ticket) noexcept nogil:
    cdef uint32_t i
    if ticket == 0:
        return False
    if ticket == self.current:
        return True
    for i in range(self.length):
        if self.queue[(self.head + i) & (self.room - 1)].ticket == ticket:
            return True
    return False


cdef void _seal_out(Doer* self) noexcept nogil:
    if self.out_count:
        head_close(&self.out, OUTCOMES, self.out_count, 0)
        self.out_count = 0
        queue_put(&self.letters, letter_of(&self.out))


cdef void _tell(Doer* self, int kind, const void* record, size_t size, const void* text, size_t length, Bale* bale) noexcept nogil:
    """Queues a message of one record, behind the outcomes that are ready."""
    cdef Buffer head
    cdef Letter* letter
    _seal_out(self)
    buffer_init(&head)
    if head_open(&head) < 0 or buffer_put(&head, record, size) < 0 or buffer_put(&head, text, length) < 0:
        buffer_free(&head)
        bale_drop(bale)
        return
    head_close(&head, kind, 1 if size else 0, EXTRA if bale != NULL else 0)
    letter = letter_of(&head)
    if letter == NULL:
        buffer_free(&head)
        bale_drop(bale)
        return
    letter.bale = bale
    queue_put(&self.letters, letter)


cdef Letter* doer_next_letter_locked(Doer* self) noexcept nogil:
    _seal_out(self)
    return queue_take(&self.letters)


cdef void _send_locked(Doer* self) noexcept nogil:
    cdef Letter* letter
    cdef bint sent = False
    if self.socket == NULL:
        wake_ring(&self.attendant_wake)
        return
    while True:
        letter = doer_next_letter_locked(self)
        if letter == NULL:
            break
        if letter_send(letter, self.socket, NULL, 0) != SENT:
            if letter.head == NULL:
                letter_free(letter)
                break
            letter.next = self.letters.head
            self.letters.head = letter
            if self.letters.tail == NULL:
                self.letters.tail = letter
            self.letters.length += 1
            break
        sent = True
    if sent:
        self.next_beat = clock_now() + self.beat_every


cdef void _receive_all_locked(Doer* self) noexcept nogil:
    """After a send, too: it may have swallowed the socket's wake-up for what came in."""
    cdef Bale* bale
    if self.socket == NULL:
        return
    while True:
        bale = bale_receive(self.socket, NULL, NULL)
        if bale == NULL:
            return
        doer_receive_locked(self, bale)


cdef void _beat_locked(Doer* self, double now) noexcept nogil:
    if now >= self.next_beat:
        self.next_beat = now + self.beat_every
        _tell(self, BEAT, NULL, 0, NULL, 0, NULL)
        _send_locked(self)


cdef void doer_hello(
    Doer* self, int kind, int32_t device, uint16_t python, uint32_t pid, uint32_t number, uint32_t window,
    const char* host, uint32_t length) noexcept nogil:
    cdef HelloRecord record
    memset(&record, 0, sizeof(record))
    record.role = DOER
    record.python = python
    record.pid = pid
    record.number = number
    record.device = device
    record.capacity[kind] = 1
    record.window = window
    record.length = length
    PyThread_acquire_lock(self.lock, 1)
    _tell(self, HELLO, &record, sizeof(record), host, length, NULL)
    _send_locked(self)
    PyThread_release_lock(self.lock)


cdef void doer_bye(Doer* self, uint32_t reason, Bale* bale) noexcept nogil:
    cdef RefuseRecord record
    record.reason = reason
    record.length = 0
    PyThread_acquire_lock(self.lock, 1)
    self.stopping = True
    _empty_queue(self)
    _tell(self, BYE, &record, sizeof(record), NULL, 0, bale)
    _send_locked(self)
    PyThread_release_lock(self.lock)


cdef int _enqueue(Doer* self, Bale* bale) noexcept nogil:
    cdef unsigned char* start = bale.frames[0].data
    cdef unsigned char* at = start + sizeof(Header)
    cdef unsigned char* end = start + bale.frames[0].size
    cdef QueuedTask* grown
    cdef QueuedTask* task
    cdef uint32_t i
    while at < end:
        if self.length == self.room:
            grown = <QueuedTask*> realloc(self.queue, self.room * 2 * sizeof(QueuedTask))
            if grown == NULL:
                return -1
            self.queue = grown
            # The part that had wrapped around goes behind the rest.
            for i in range(self.head):
                grown[self.room + i] = grown[i]
            self.room *= 2
        task = &self.queue[(self.head + self.length) & (self.room - 1)]
        task.ticket = (<TaskRecord*> at).ticket
        task.function = (<TaskRecord*> at).function
        task.length = (<TaskRecord*> at).length
        task.share = (<TaskRecord*> at).share
        task.attempts = (<TaskRecord*> at).attempts
        at += sizeof(TaskRecord)
        task.offset = <uint32_t> (at - start)
        task.bale = bale
        bale_hold(bale)
        at += task.length
        self.length += 1
    return 0


cdef bint _take_out(Doer* self, uint64_t ticket) noexcept nogil:
    """Takes a task out of the queue; False if it is not there: it runs, or has run."""
    cdef QueuedTask* task
    cdef uint32_t i = self.length
    if ticket == 0:
        # It is what a hole has, and a hole holds nothing that could be dropped once more.
        return False
    # What is taken back is what came last.
    while i:
        i -= 1
        task = &self.queue[(self.head + i) & (self.room - 1)]
        if task.ticket == ticket:
            task.ticket = 0
            bale_drop(task.bale)
            return True
    return False


cdef void _on_function(Doer* self, uint32_t number, Bale* bale) noexcept nogil:
    cdef uint32_t room = self.bodies_room if self.bodies_room else 64
    cdef uint32_t i
    cdef Bale** grown
    if number >= FUNCTIONS_MAX:
        return
    while room <= number:
        room *= 2
    if room != self.bodies_room:
        grown = <Bale**> realloc(self.bodies, room * sizeof(Bale*))
        if grown == NULL:
            return
        memset(grown + self.bodies_room, 0, (room - self.bodies_room) * sizeof(Bale*))
        self.bodies = grown
        self.bodies_room = room
    # The number may have been another function's; that one is replaced, not forgotten.
    for i in range(self.forgotten_count):
        if self.forgotten[i] == number:
            self.forgotten_count -= 1
            self.forgotten[i] = self.forgotten[self.forgotten_count]
            break
    if self.bodies[number] == NULL:
        self.fresh += 1
    bale_drop(self.bodies[number])
    bale_hold(bale)
    self.bodies[number] = bale


cdef void _on_forget(Doer* self, uint32_t number) noexcept nogil:
    cdef uint32_t room
    cdef uint32_t* grown
    if number < self.bodies_room and self.bodies[number] != NULL:
        bale_drop(self.bodies[number])
        self.bodies[number] = NULL
        self.fresh -= 1
    if self.forgotten_count == self.forgotten_room:
        room = self.forgotten_room * 2 if self.forgotten_room else 64
        grown = <uint32_t*> realloc(self.forgotten, room * sizeof(uint32_t))
        if grown == NULL:
            return
        self.forgotten = grown
        self.forgotten_room = room
    self.forgotten[self.forgotten_count] = number
    self.forgotten_count += 1


cdef void _on_retract(Doer* self, unsigned char* at, uint32_t count) noexcept nogil:
    cdef RetractedRecord record
    cdef Buffer head
    cdef uint32_t i
    _seal_out(self)
    buffer_init(&head)
    if head_open(&head) < 0:
        return
    for i in range(count):
        record.ticket = (<TicketRecord*> at)[i].ticket
        record.given_back = _take_out(self, record.ticket)
        buffer_put(&head, &record, sizeof(record))
    head_close(&head, RETRACTED, count, 0)
    queue_put(&self.letters, letter_of(&head))
    _send_locked(self)


cdef void doer_receive_locked(Doer* self, Bale* bale) noexcept nogil:
    cdef unsigned char* at = bale.frames[0].data + sizeof(Header)
    cdef int kind = wire_check(bale.frames[0].data, bale.frames[0].size, bale.count - 1)
    cdef uint32_t count = (<Header*> bale.frames[0].data).count if kind > 0 else 0
    cdef uint32_t i
    if kind == TASKS:
        if not self.stopping:
            _enqueue(self, bale)
    elif kind == FUNCTION and count == 1:
        _on_function(self, (<FunctionRecord*> at).number, bale)
    elif kind == FORGET:
        for i in range(count):
            _on_forget(self, (<ForgetRecord*> at)[i].number)
    elif kind == RETRACT:
        _on_retract(self, at, count)
    elif kind == CANCEL:
        for i in range(count):
            if (<CancelRecord*> at)[i].ticket == self.current:
                self.unwanted = True
                notes_ring(&self.notes)
            _take_out(self, (<CancelRecord*> at)[i].ticket)
    elif kind == NOTE and count == 1 and _is_here(self, notes_ticket(bale)):
        notes_keep(&self.notes, bale)
        return
    elif kind == STOP:
        self.stopping = True
        _empty_queue(self)
    elif kind == REFUSE and count:
        self.stopping = True
        self.refusal = (<RefuseRecord*> at).reason
        i = (<RefuseRecord*> at).length
        i = i if i < 255 else 255
        memcpy(self.refusal_text, at + sizeof(RefuseRecord), i)
        self.refusal_text[i] = 0
    bale_drop(bale)


cdef bint _pop(Doer* self, QueuedTask* task) noexcept nogil:
    while self.length:
        task[0] = self.queue[self.head]
        self.head = (self.head + 1) & (self.room - 1)
        self.length -= 1
        if task.ticket:
            self.current = task.ticket
            self.attempt = task.attempts + (task.attempts < 255)
            self.mark[0] = task.ticket
            self.announced = False
            self.unwanted = False
            return True
    return False


cdef int doer_take(Doer* self, QueuedTask* task, bint wait) noexcept nogil:
    cdef double now
    cdef double limit
    cdef int fd = -1
    cdef size_t size = sizeof(int)
    PyThread_acquire_lock(self.lock, 1)
    while True:
        if not self.stopping and _pop(self, task):
            now = clock_now()
            self.busy_since = now
            self.busy = True
            # The outcome of the last task may still be here, and this one may take a minute.
            if self.attendant_due > now + (TICK if self.out_count else ANNOUNCE_AFTER + TICK):
                self.attendant_due = now
                wake_ring(&self.attendant_wake)
            if self.out_count and now - self.out_since > LINGER:
                _send_locked(self)
                _receive_all_locked(self)
            PyThread_release_lock(self.lock)
            return 1
        _send_locked(self)
        _receive_all_locked(self)
        if self.length and not self.stopping:
            continue
        if self.stopping:
            PyThread_release_lock(self.lock)
            return -1
        now = clock_now()
        if self.busy:
            self.busy = False
            self.idle_since = now
        if not wait:
            PyThread_release_lock(self.lock)
            return 0
        _beat_locked(self, now)
        if self.socket != NULL:
            if socket_ready(self.socket):
                continue
            zmq.getsockopt(self.socket, ZMQ_FD, &fd, &size)
        PyThread_release_lock(self.lock)
        limit = TICK if self.letters.head != NULL else self.next_beat - now
        if wake_wait(&self.worker_wake, fd, self.lifeline, limit, EAGER):
            kin_die(self.kin)
        PyThread_acquire_lock(self.lock, 1)


cdef int doer_put_outcome(
    Doer* self, uint64_t ticket, int status, int flags, uint32_t run_us, const unsigned char* payload, size_t size,
    Bale* bale) noexcept nogil:
    cdef OutcomeRecord record
    cdef unsigned char* at
    memset(&record, 0, sizeof(record))
    record.ticket = ticket
    record.length = <uint32_t> size
    record.run_us = run_us
    record.status = status
    record.attempt = self.attempt
    record.flags = <uint16_t> flags
    PyThread_acquire_lock(self.lock, 1)
    if self.notes.first != NULL:
        notes_drop(&self.notes, ticket)
    self.current = 0
    self.mark[0] = 0
    if bale != NULL:
        _tell(self, OUTCOMES, &record, sizeof(record), payload, size, bale)
        _send_locked(self)
        _receive_all_locked(self)
        PyThread_release_lock(self.lock)
        return 0
    if self.out_count and self.out.used + sizeof(record) + size > BATCH_BYTES:
        _seal_out(self)
    if self.out_count == 0:
        head_open(&self.out)
        self.out_since = clock_now()
    at = buffer_reserve(&self.out, sizeof(record) + size)
    if at == NULL:
        PyThread_release_lock(self.lock)
        return -1
    memcpy(at, &record, sizeof(record))
    memcpy(at + sizeof(record), payload, size)
    self.out.used += sizeof(record) + size
    self.out_count += 1
    if self.out_count >= BATCH_RECORDS or self.out.used > BATCH_BYTES:
        _send_locked(self)
        _receive_all_locked(self)
    PyThread_release_lock(self.lock)
    return 0


cdef int doer_put_output(
    Doer* self, uint64_t ticket, int stream, size_t host, const unsigned char* text, size_t size) noexcept nogil:
    cdef OutputRecord record
    record.ticket = ticket
    record.stream = <uint16_t> stream
    record.host = <uint16_t> host
    record.length = <uint32_t> size
    PyThread_acquire_lock(self.lock, 1)
    _tell(self, OUTPUT, &record, sizeof(record), text, size, NULL)
    _send_locked(self)
    _receive_all_locked(self)
    if not self.busy:
        # A thread that a task left behind prints while the worker waits at the socket: what came in is the worker's.
        wake_ring(&self.worker_wake)
    PyThread_release_lock(self.lock)
    return 0


cdef int doer_put_note(Doer* self, const unsigned char* text, size_t size) noexcept nogil:
    cdef NoteRecord record
    PyThread_acquire_lock(self.lock, 1)
    record.ticket = self.current
    record.length = <uint32_t> size
    if self.current:
        _tell(self, NOTE, &record, sizeof(record), text, size, NULL)
        _send_locked(self)
        _receive_all_locked(self)
    PyThread_release_lock(self.lock)
    return 0


cdef int doer_listen(Doer* self) noexcept:
    cdef Wake made
    if self.notes.listens:
        return 0
    if wake_init(&made) < 0:
        return -1
    PyThread_acquire_lock(self.lock, 1)
    self.notes.bell = made
    self.notes.listens = True
    PyThread_release_lock(self.lock)
    return 0


cdef Bale* doer_take_note(Doer* self, double seconds, bint* over) noexcept nogil:
    cdef double end = clock_now() + seconds
    cdef Bale* note
    cdef double now
    PyThread_acquire_lock(self.lock, 1)
    while True:
        note = notes_take(&self.notes, self.current)
        if note != NULL:
            break
        over[0] = self.unwanted or self.closed
        now = clock_now()
        if over[0] or now >= end:
            break
        PyThread_release_lock(self.lock)
        wake_wait(&self.notes.bell, -1, -1, end - now, ASLEEP)
        PyThread_acquire_lock(self.lock, 1)
    PyThread_release_lock(self.lock)
    return note


cdef Bale* doer_take_body(Doer* self, uint32_t function) noexcept nogil:
    cdef Bale* bale = NULL
    PyThread_acquire_lock(self.lock, 1)
    if function < self.bodies_room:
        bale = self.bodies[function]
        self.bodies[function] = NULL
        self.fresh -= bale != NULL
    PyThread_release_lock(self.lock)
    return bale


cdef bint doer_next_forgotten(Doer* self, uint32_t* function) noexcept nogil:
    cdef bint found = False
    PyThread_acquire_lock(self.lock, 1)
    if self.forgotten_count:
        self.forgotten_count -= 1
        function[0] = self.forgotten[self.forgotten_count]
        found = True
    PyThread_release_lock(self.lock)
    return found


cdef void doer_flush(Doer* self) noexcept nogil:
    PyThread_acquire_lock(self.lock, 1)
    _send_locked(self)
    _receive_all_locked(self)
    PyThread_release_lock(self.lock)


cdef void doer_announce_locked(Doer* self, double now) noexcept nogil:
    cdef TicketRecord record
    if self.current and not self.announced and now - self.busy_since >= ANNOUNCE_AFTER:
        self.announced = True
        record.ticket = self.current
        _tell(self, STARTED, &record, sizeof(record), NULL, 0, NULL)


cdef double _stand_in_locked(Doer* self, double now) noexcept nogil:
    """What the attendant does while a task runs; returns when it wants to look again."""
    _receive_all_locked(self)
    doer_announce_locked(self, now)
    if self.letters.head != NULL or (self.out_count and now - self.out_since >= LINGER):
        _send_locked(self)
        _receive_all_locked(self)
    if self.out_count or self.letters.head != NULL:
        return TICK
    if self.current and not self.announced:
        return max(TICK, self.busy_since + ANNOUNCE_AFTER - now)
    return self.next_beat - now


cdef void doer_attend(Doer* self) noexcept nogil:
    cdef double now
    cdef double again
    cdef int fd
    cdef size_t size
    PyThread_acquire_lock(self.lock, 1)
    while not self.closed:
        now = clock_now()
        fd = -1
        if self.busy:
            again = _stand_in_locked(self, now)
            _beat_locked(self, now)
            if socket_ready(self.socket):
                continue
            size = sizeof(int)
            zmq.getsockopt(self.socket, ZMQ_FD, &fd, &size)
        elif now - self.idle_since < DOZE_AFTER:
            again = TICK
        else:
            again = 3600.0
        self.attendant_due = now + again
        PyThread_release_lock(self.lock)
        if wake_wait(&self.attendant_wake, fd, self.lifeline, again, ASLEEP):
            kin_die(self.kin)
        PyThread_acquire_lock(self.lock, 1)
    PyThread_release_lock(self.lock)
