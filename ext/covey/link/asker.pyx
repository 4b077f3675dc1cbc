# SPDX-License-Identifier: BSD-3-Clause
"""See asker.pxd, the contents page.

A send may swallow the socket's wake-up for what came in meanwhile (its file descriptor is
edge-triggered), so whoever sends asks the socket afterwards and, if something is there, kicks the
thread that receives.
"""
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock)
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from covey.link.libzmq cimport ZMQ_FD, zmq
from covey.link.post cimport (
    NOBODY, SENT, bale_receive, clock_now, head_close, head_open, letter_free, letter_of, letter_send, queue_clear,
    queue_put, queue_put_back, queue_take, socket_ready)
from covey.link.wake cimport ASLEEP, EAGER, wake_free, wake_init, wake_ring, wake_wait
from covey.wire.bale cimport bale_drop
from covey.wire.buffer cimport buffer_free, buffer_init, buffer_put, buffer_reserve
from covey.wire.protocol cimport (
    ASKER, BATCH_BYTES, BYE, CANCEL, CREDIT, EXTRA, FORCE, FORGET, FUNCTION, HELLO, NOTE, PLANNED, TASKS, WELCOME,
    CancelRecord, CreditRecord, ForgetRecord, FunctionRecord, Header, HelloRecord, NoteRecord, RefuseRecord, TaskRecord,
    JOURNAL, WelcomeRecord, wire_check)

# A batch goes out when it holds more than this share of what is under way, or this many records.
cdef enum:
    BATCH_SHARE = 4
    BATCH_RECORDS = 256
    FEW = 64

# A batch that nobody sends for so long is sent by the I/O thread.
cdef double LINGER = 0.001


cdef int asker_init(Asker* self) noexcept:
    memset(self, 0, sizeof(Asker))
    self.free_row = NO_ROW
    buffer_init(&self.open)
    buffer_init(&self.cancels)
    self.lock = PyThread_allocate_lock()
    if wake_init(&self.kick) < 0 or self.lock == NULL:
        return -1
    return 0


cdef void asker_free(Asker* self) noexcept:
    cdef Bale* bale = self.inbox
    cdef Bale* following
    if self.lock == NULL:
        return
    while bale != NULL:
        following = bale.next
        bale_drop(bale)
        bale = following
    queue_clear(&self.control)
    queue_clear(&self.letters)
    buffer_free(&self.open)
    buffer_free(&self.cancels)
    free(self.rows)
    wake_free(&self.kick)
    PyThread_free_lock(self.lock)
    memset(self, 0, sizeof(Asker))


cdef void asker_hello(Asker* self, uint16_t python, uint32_t pid, const char* host, uint32_t length) noexcept nogil:
    cdef Buffer head
    cdef HelloRecord record
    cdef Letter* letter
    memset(&record, 0, sizeof(record))
    record.role = ASKER
    record.python = python
    record.pid = pid
    record.length = length
    buffer_init(&head)
    head_open(&head)
    buffer_put(&head, &record, sizeof(record))
    buffer_put(&head, host, length)
    head_close(&head, HELLO, 1, 0)
    letter = letter_of(&head)
    PyThread_acquire_lock(self.lock, 1)
    queue_put(&self.control, letter)
    asker_flush_locked(self, False)
    PyThread_release_lock(self.lock)


cdef void asker_bye(Asker* self) noexcept nogil:
    cdef Buffer head
    cdef RefuseRecord record
    record.reason = PLANNED
    record.length = 0
    buffer_init(&head)
    head_open(&head)
    buffer_put(&head, &record, sizeof(record))
    head_close(&head, BYE, 1, 0)
    PyThread_acquire_lock(self.lock, 1)
    queue_put(&self.control, letter_of(&head))
    asker_flush_locked(self, False)
    PyThread_release_lock(self.lock)


cdef uint32_t _take_row(Asker* self) noexcept nogil:
    cdef uint32_t row = self.free_row
    cdef uint32_t room
    cdef TicketRow* rows
    if row == NO_ROW:
        room = self.room * 2 if self.room else 1024
        rows = <TicketRow*> realloc(self.rows, room * sizeof(TicketRow))
        if rows == NULL:
            return NO_ROW
        # Lowest rows first: dense tickets are kind to every table that they index.
        row = room
        while row > self.room:
            row -= 1
            rows[row].holder = NULL
            rows[row].next = self.free_row
            self.free_row = row
        self.rows = rows
        self.room = room
        row = self.free_row
    self.free_row = self.rows[row].next
    self.rows[row].next = IN_USE
    return row


cdef void _free_row(Asker* self, uint32_t row) noexcept nogil:
    self.rows[row].holder = NULL
    self.rows[row].next = self.free_row
    self.free_row = row


cdef TicketRow* _find_row(Asker* self, uint64_t ticket) noexcept nogil:
    cdef uint32_t row = <uint32_t> ticket
    if row >= self.room or self.rows[row].next != IN_USE or self.rows[row].serial != <uint32_t> (ticket >> 32):
        return NULL
    return &self.rows[row]


cdef void _seal_open(Asker* self) noexcept nogil:
    cdef Letter* letter
    cdef uint32_t count = self.open_count
    if count == 0:
        return
    head_close(&self.open, TASKS, count, 0)
    letter = letter_of(&self.open)
    letter.count = count
    letter.serial = self.serial
    letter.bytes = self.open_bytes
    self.unsent_bytes += letter.bytes
    self.open_count = 0
    self.open_bytes = 0
    queue_put(&self.letters, letter)


cdef uint64_t asker_put(
    Asker* self, void* holder, uint32_t function, const unsigned char* parcel, uint32_t size, Bale* bale,
    int16_t priority, uint8_t needs, uint16_t share, uint8_t flags, uint8_t retries, uint8_t crashes, uint32_t timeout_ms,
    uint32_t retry_wait_ms) noexcept nogil:
    cdef TaskRecord record
    cdef uint64_t ticket
    cdef uint32_t row
    cdef uint32_t i
    cdef unsigned char* at
    cdef Letter* letter
    PyThread_acquire_lock(self.lock, 1)
    if bale != NULL or self.open.used + sizeof(TaskRecord) + size > BATCH_BYTES:
        _seal_open(self)
    if self.open_count == 0 and head_open(&self.open) < 0:
        PyThread_release_lock(self.lock)
        return 0
    at = buffer_reserve(&self.open, sizeof(TaskRecord) + size)
    row = _take_row(self) if at != NULL else NO_ROW
    if row == NO_ROW:
        PyThread_release_lock(self.lock)
        return 0
    self.serial += 1
    if self.serial == 0:
        # A ticket of 0 is none.
        self.serial = 1
    ticket = <uint64_t> self.serial << 32 | row
    self.rows[row].holder = holder
    self.rows[row].serial = self.serial
    self.rows[row].size = size
    record.ticket = ticket
    record.name = 0
    record.function = function
    record.length = size
    record.priority = priority
    record.needs = needs
    record.flags = flags
    record.retries = retries
    record.crashes = crashes
    # Whoever puts a task knows of no attempts but those that crashed.
    record.attempts = crashes
    record.share = share
    record.timeout_ms = timeout_ms
    record.retry_wait_ms = retry_wait_ms
    memcpy(at, &record, sizeof(TaskRecord))
    memcpy(at + sizeof(TaskRecord), parcel, size)
    self.open.used += sizeof(TaskRecord) + size
    self.open_count += 1
    self.open_bytes += size
    self.unsent += 1
    if bale != NULL:
        for i in range(bale.count):
            self.open_bytes += bale.frames[i].size
            self.rows[row].size += <uint32_t> bale.frames[i].size
        head_close(&self.open, TASKS, 1, EXTRA)
        letter = letter_of(&self.open)
        letter.count = 1
        letter.serial = self.serial
        letter.bytes = self.open_bytes
        letter.bale = bale
        self.unsent_bytes += letter.bytes
        self.open_count = 0
        self.open_bytes = 0
        queue_put(&self.letters, letter)
        asker_flush_locked(self, False)
    elif self.open_count >= BATCH_RECORDS or self.open_count * BATCH_SHARE > self.unfinished:
        asker_flush_locked(self, True)
    elif self.open_count == 1:
        self.open_since = clock_now()
        if self.sleeping:
            self.sleeping = False
            wake_ring(&self.kick)
    PyThread_release_lock(self.lock)
    return ticket


cdef int asker_put_function(
    Asker* self, uint32_t number, const unsigned char* digest, const unsigned char* body, uint32_t size, Bale* bale) noexcept nogil:
    cdef FunctionRecord record
    cdef Buffer head
    cdef Letter* letter
    record.number = number
    record.length = size
    memcpy(record.digest, digest, 16)
    buffer_init(&head)
    if head_open(&head) < 0 or buffer_put(&head, &record, sizeof(record)) < 0 or buffer_put(&head, body, size) < 0:
        buffer_free(&head)
        bale_drop(bale)
        return -1
    head_close(&head, FUNCTION, 1, EXTRA if bale != NULL else 0)
    letter = letter_of(&head)
    if letter == NULL:
        buffer_free(&head)
        bale_drop(bale)
        return -1
    letter.bale = bale
    PyThread_acquire_lock(self.lock, 1)
    _seal_open(self)
    queue_put(&self.letters, letter)
    PyThread_release_lock(self.lock)
    return 0


cdef int asker_forget(Asker* self, uint32_t number) noexcept nogil:
    cdef ForgetRecord record
    cdef Buffer head
    record.number = number
    buffer_init(&head)
    if head_open(&head) < 0 or buffer_put(&head, &record, sizeof(record)) < 0:
        buffer_free(&head)
        return -1
    head_close(&head, FORGET, 1, 0)
    PyThread_acquire_lock(self.lock, 1)
    # Behind the tasks that name it: the doer keeps the body until the last of them is done.
    _seal_open(self)
    queue_put(&self.letters, letter_of(&head))
    PyThread_release_lock(self.lock)
    return 0


cdef int asker_put_note(Asker* self, uint64_t ticket, const unsigned char* text, uint32_t size) noexcept nogil:
    cdef NoteRecord record
    cdef Buffer head
    record.ticket = ticket
    record.length = size
    buffer_init(&head)
    if head_open(&head) < 0 or buffer_put(&head, &record, sizeof(record)) < 0 or buffer_put(&head, text, size) < 0:
        buffer_free(&head)
        return -1
    head_close(&head, NOTE, 1, 0)
    PyThread_acquire_lock(self.lock, 1)
    queue_put(&self.control, letter_of(&head))
    asker_flush_locked(self, False)
    PyThread_release_lock(self.lock)
    return 0


cdef void* asker_cancel(Asker* self, uint64_t ticket, bint force) noexcept nogil:
    cdef TicketRow* row
    cdef void* holder = NULL
    cdef CancelRecord record
    PyThread_acquire_lock(self.lock, 1)
    row = _find_row(self, ticket)
    if row != NULL and row.holder != NULL:
        holder = row.holder
        row.holder = NULL
        if <int> (row.serial - self.sent) > 0:
            self.voids += 1
        else:
            record.ticket = ticket
            record.flags = FORCE if force else 0
            if self.cancel_count == 0:
                head_open(&self.cancels)
            buffer_put(&self.cancels, &record, sizeof(record))
            self.cancel_count += 1
            if self.cancel_count >= 1024:
                asker_flush_locked(self, False)
            elif self.sleeping:
                self.sleeping = False
                wake_ring(&self.kick)
    PyThread_release_lock(self.lock)
    return holder


cdef void* asker_settle_locked(Asker* self, uint64_t ticket) noexcept nogil:
    cdef TicketRow* row = _find_row(self, ticket)
    cdef void* holder
    if row == NULL:
        return NULL
    holder = row.holder
    self.unfinished -= 1
    self.unfinished_bytes -= row.size
    _free_row(self, <uint32_t> ticket)
    return holder


cdef void* asker_peek_locked(Asker* self, uint64_t ticket) noexcept nogil:
    cdef TicketRow* row = _find_row(self, ticket)
    return row.holder if row != NULL else NULL


cdef void* asker_abandon(Asker* self) noexcept nogil:
    cdef void* holder = NULL
    PyThread_acquire_lock(self.lock, 1)
    while holder == NULL and self.abandoned < self.room:
        if self.rows[self.abandoned].next == IN_USE:
            holder = self.rows[self.abandoned].holder
            self.rows[self.abandoned].holder = NULL
        self.abandoned += 1
    if holder == NULL:
        # Begin afresh the next time: a task may have slipped in behind.
        self.abandoned = 0
    PyThread_release_lock(self.lock)
    return holder


cdef void _leave_out_voids(Asker* self, Letter* letter) noexcept nogil:
    """Takes the records of cancelled tickets out of a letter of TASKS; it may end up with none."""
    cdef unsigned char* at = letter.head + sizeof(Header)
    cdef unsigned char* end = letter.head + letter.size
    cdef unsigned char* to = at
    cdef TaskRecord record
    cdef TicketRow* row
    cdef size_t size
    while at < end:
        memcpy(&record, at, sizeof(record))
        size = sizeof(TaskRecord) + record.length
        row = _find_row(self, record.ticket)
        if row != NULL and row.holder == NULL:
            letter.count -= 1
            letter.bytes -= row.size
            self.unsent_bytes -= row.size
            self.unsent -= 1
            self.voids -= 1
            _free_row(self, <uint32_t> record.ticket)
        else:
            if to != at:
                # Regions may overlap, forwards: a plain loop is what memmove would do.
                _move(to, at, size)
            to += size
        at += size
    letter.size = to - letter.head
    (<Header*> letter.head).count = letter.count


cdef void _move(unsigned char* to, const unsigned char* source, size_t size) noexcept nogil:
    cdef size_t i
    for i in range(size):
        to[i] = source[i]


cdef Letter* asker_next_letter_locked(Asker* self) noexcept nogil:
    cdef Letter* letter
    if self.cancel_count:
        head_close(&self.cancels, CANCEL, self.cancel_count, 0)
        self.cancel_count = 0
        queue_put(&self.control, letter_of(&self.cancels))
    letter = queue_take(&self.control)
    if letter != NULL:
        return letter
    while self.welcome and self.letters.head != NULL:
        letter = self.letters.head
        if letter.count:
            if self.voids:
                _leave_out_voids(self, letter)
                if letter.count == 0:
                    letter_free(queue_take(&self.letters))
                    continue
            if self.unfinished and (
                    self.unfinished + letter.count > self.credit_tasks
                    or self.unfinished_bytes + letter.bytes > self.credit_bytes):
                return NULL
            self.unfinished += letter.count
            self.unfinished_bytes += letter.bytes
            self.unsent -= letter.count
            self.unsent_bytes -= letter.bytes
            self.sent = letter.serial
        return queue_take(&self.letters)
    return NULL


cdef void _put_back(Asker* self, Letter* letter, uint32_t sent_before) noexcept nogil:
    """Undoes asker_next_letter_locked for a letter that the socket refused."""
    cdef LetterQueue* queue = &self.letters
    if letter.count:
        self.unfinished -= letter.count
        self.unfinished_bytes -= letter.bytes
        self.unsent += letter.count
        self.unsent_bytes += letter.bytes
        self.sent = sent_before
    elif (<Header*> letter.head).kind in (HELLO, CANCEL, NOTE, BYE):
        queue = &self.control
    queue_put_back(queue, letter)


cdef void asker_flush_locked(Asker* self, bint all) noexcept nogil:
    cdef Letter* letter
    cdef bint asked = False
    cdef uint32_t sent_before
    cdef int posted
    if all:
        _seal_open(self)
    if self.socket == NULL:
        wake_ring(&self.kick)
        return
    while True:
        sent_before = self.sent
        letter = asker_next_letter_locked(self)
        if letter == NULL:
            break
        posted = letter_send(letter, self.socket, NULL, 0)
        asked = True
        if posted == SENT:
            continue
        if posted == NOBODY or letter.head == NULL:
            letter_free(letter)
        else:
            _put_back(self, letter, sent_before)
            if self.sleeping:
                self.sleeping = False
                wake_ring(&self.kick)
            break
    if asked and socket_ready(self.socket):
        wake_ring(&self.kick)


cdef void asker_flush(Asker* self) noexcept nogil:
    PyThread_acquire_lock(self.lock, 1)
    asker_flush_locked(self, True)
    PyThread_release_lock(self.lock)


cdef void asker_receive_locked(Asker* self, Bale* bale) noexcept nogil:
    cdef unsigned char* data = bale.frames[0].data
    cdef int kind = wire_check(data, bale.frames[0].size, bale.count - 1)
    cdef WelcomeRecord welcome
    cdef CreditRecord credit
    cdef int i
    if kind == WELCOME:
        memcpy(&welcome, data + sizeof(Header), sizeof(welcome))
        self.credit_tasks = welcome.tasks
        self.credit_bytes = welcome.bytes
        self.slots = 0
        for i in range(JOURNAL):
            self.slots += welcome.capacity[i]
        self.welcome = True
        bale_drop(bale)
    elif kind == CREDIT:
        memcpy(&credit, data + sizeof(Header), sizeof(credit))
        self.credit_tasks = credit.tasks
        self.credit_bytes = credit.bytes
        bale_drop(bale)
    elif kind < 0:
        # A broker that does not speak the protocol: there is nothing to answer. Drop it.
        bale_drop(bale)
    else:
        if self.inbox_tail == NULL:
            self.inbox = bale
        else:
            self.inbox_tail.next = bale
        self.inbox_tail = bale


cdef Bale* asker_take_inbox(Asker* self) noexcept nogil:
    cdef Bale* bale
    PyThread_acquire_lock(self.lock, 1)
    bale = self.inbox
    self.inbox = self.inbox_tail = NULL
    PyThread_release_lock(self.lock)
    return bale


cdef int asker_turn(Asker* self, double limit) noexcept nogil:
    cdef int looks
    cdef Bale* bale
    cdef double now
    cdef int fd = -1
    cdef size_t size = sizeof(int)
    cdef int received = 0
    PyThread_acquire_lock(self.lock, 1)
    if self.closed:
        PyThread_release_lock(self.lock)
        return -1
    now = clock_now()
    while received < 256:
        bale = bale_receive(self.socket, NULL, NULL)
        if bale == NULL:
            break
        asker_receive_locked(self, bale)
        received += 1
    asker_flush_locked(self, self.open_count > 0 and now - self.open_since >= LINGER)
    if self.inbox != NULL or self.welcome != self.welcomed:
        self.welcomed = self.welcome
        PyThread_release_lock(self.lock)
        return 1
    if received == 256 or socket_ready(self.socket):
        PyThread_release_lock(self.lock)
        return 0
    if self.open_count or (self.welcome and self.unfinished == 0 and self.letters.head != NULL):
        limit = LINGER
    self.sleeping = limit > LINGER
    zmq.getsockopt(self.socket, ZMQ_FD, &fd, &size)
    # With few tasks under way somebody probably waits for one of them, or is about to; with many, for the last.
    looks = EAGER if self.unfinished <= FEW else ASLEEP
    PyThread_release_lock(self.lock)
    wake_wait(&self.kick, fd, -1, limit, looks)
    self.sleeping = False
    return 0
