# SPDX-License-Identifier: BSD-3-Clause
"""See transit.pxd, the contents page."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from covey.link.post cimport (
    head_close, head_open, letter_free, letter_of, letter_size, queue_clear, queue_put, queue_take)
from covey.wire.bale cimport Bale, Frame, bale_drop, bale_hold
from covey.wire.buffer cimport Buffer, buffer_free, buffer_init, buffer_put
from covey.wire.protocol cimport (
    BEAT, BYE, CANCEL, EXTRA, FORGET, FUNCTION, LARGE_BYTES, LEAVING, MAX_RECORDS, NOTE, PIECE_BYTES, PIECES, REFUSE, RETRACT, STOP,
    TASKS, CancelRecord, ForgetRecord, Header, NoteRecord, PieceRecord, TaskRecord, TicketRecord)

# At least so much may be under way: at 16 Mbit/s a quarter of a second. At most so much: 64 MiB.
cdef enum:
    LEAST_WINDOW = 524288
    MOST_WINDOW = 67108864

# Under way for less than this, seconds: more may be; for longer than that: less.
cdef double QUICK = 0.1
cdef double SLOW = 0.4

# A letter's frames, which are there for as long as somebody holds them.
cdef struct Whole:
    Bale bale
    Letter* letter

# Parts of them.
cdef struct Slices:
    Bale bale
    Bale* whole


cdef void _discard_whole(Bale* bale) noexcept nogil:
    letter_free((<Whole*> bale).letter)
    free(bale)


cdef void _discard_slices(Bale* bale) noexcept nogil:
    bale_drop((<Slices*> bale).whole)
    free(bale)


cdef bint letter_is_large(const Letter* self) noexcept nogil:
    # Looked at for each letter: most have neither.
    if self.bale == NULL:
        return self.size > LARGE_BYTES
    return letter_size(self) > LARGE_BYTES


cdef const unsigned char* _first_frame(const Letter* letter, const unsigned char** end) noexcept nogil:
    cdef const unsigned char* data = letter.head
    cdef size_t size = letter.size
    if data == NULL:
        data = letter.bale.frames[letter.first].data
        size = letter.bale.frames[letter.first].size
    end[0] = data + size
    return data


cdef bint _names(const unsigned char* data, const unsigned char* end, uint64_t ticket, uint32_t function) noexcept nogil:
    """Whether a message is one of tasks, and brings this ticket or needs this function."""
    cdef const TaskRecord* task
    if (<const Header*> data).kind != TASKS:
        return False
    data += sizeof(Header)
    while data < end:
        task = <const TaskRecord*> data
        if task.ticket == ticket or task.function == function:
            return True
        data += sizeof(TaskRecord) + task.length
    return False


cdef bint _is_here(const Transit* self, uint64_t ticket, uint32_t function) noexcept nogil:
    """Whether a task that waits or is in transit here has this ticket, or needs this function."""
    cdef const Letter* letter = self.behind.head
    cdef const unsigned char* data
    cdef const unsigned char* end = NULL
    if self.whole != NULL:
        data = self.whole.frames[0].data
        if _names(data, data + self.whole.frames[0].size, ticket, function):
            return True
    while letter != NULL:
        data = _first_frame(letter, &end)
        if _names(data, end, ticket, function):
            return True
        letter = letter.next
    return False


cdef bint _speaks_of_it(const Transit* self, const Letter* letter, int kind) noexcept nogil:
    """Whether a letter is about a task here."""
    cdef const unsigned char* end = NULL
    cdef const unsigned char* at = _first_frame(letter, &end) + sizeof(Header)
    cdef uint64_t none = ~<uint64_t> 0
    cdef bint here = False
    while at < end and not here:
        if kind == CANCEL:
            here = _is_here(self, (<const CancelRecord*> at).ticket, 0)
            at += sizeof(CancelRecord)
        elif kind == RETRACT:
            here = _is_here(self, (<const TicketRecord*> at).ticket, 0)
            at += sizeof(TicketRecord)
        elif kind == NOTE:
            here = _is_here(self, (<const NoteRecord*> at).ticket, 0)
            at += sizeof(NoteRecord) + (<const NoteRecord*> at).length
        else:
            here = _is_here(self, none, (<const ForgetRecord*> at).number)
            at += sizeof(ForgetRecord)
    return here


cdef int _kind_of(const Letter* letter) noexcept nogil:
    cdef const unsigned char* end = NULL
    return (<const Header*> _first_frame(letter, &end)).kind


cdef bint transit_holds_back(Transit* self, Letter* letter) noexcept nogil:
    cdef int kind
    if self.whole == NULL and self.behind.head == NULL:
        self.strict = False
        return False
    kind = _kind_of(letter)
    if kind == BEAT:
        return False
    if not self.strict:
        if kind in (STOP, BYE, LEAVING, REFUSE) or (kind == FUNCTION and letter_is_large(letter)):
            # What comes behind a function's body may need it.
            self.strict = True
        elif not letter_is_large(letter) and not (
                kind in (CANCEL, RETRACT, NOTE, FORGET) and _speaks_of_it(self, letter, kind)):
            return False
    queue_put(&self.behind, letter)
    return True


cdef int transit_begin(Transit* self, Letter* letter) noexcept nogil:
    cdef uint32_t more = letter.bale.count - letter.first if letter.bale != NULL else 0
    cdef uint32_t count = more + (letter.head != NULL)
    cdef Whole* whole
    cdef uint32_t i
    if count > MAX_RECORDS:
        return -1
    whole = <Whole*> malloc(sizeof(Whole) + count * sizeof(Frame))
    if whole == NULL:
        return -1
    whole.letter = letter
    whole.bale.holders = 1
    whole.bale.count = count
    whole.bale.frames = <Frame*> (whole + 1)
    whole.bale.discard = _discard_whole
    whole.bale.next = NULL
    self.left = 0
    if letter.head != NULL:
        whole.bale.frames[0].data = letter.head
        whole.bale.frames[0].size = letter.size
    for i in range(more):
        whole.bale.frames[count - more + i] = letter.bale.frames[letter.first + i]
    for i in range(count):
        self.left += whole.bale.frames[i].size
    self.whole = &whole.bale
    self.frame = 0
    self.at = 0
    self.begun = False
    self.strict = self.strict or _kind_of(letter) == FUNCTION
    if self.window == 0:
        self.window = LEAST_WINDOW
    return 0


cdef uint32_t _frames_of_piece(const Transit* self) noexcept nogil:
    """How many frames the next piece touches."""
    cdef uint64_t size = self.whole.frames[self.frame].size - self.at
    cdef uint32_t i = self.frame
    while size < PIECE_BYTES and i + 1 < self.whole.count:
        i += 1
        size += self.whole.frames[i].size
    return i + 1 - self.frame


cdef Letter* _piece(Transit* self) noexcept nogil:
    cdef uint32_t most = _frames_of_piece(self)
    cdef Slices* slices = <Slices*> malloc(sizeof(Slices) + most * sizeof(Frame))
    cdef PieceRecord record
    cdef Buffer head
    cdef Frame* slice
    cdef Letter* letter = NULL
    cdef uint64_t room = PIECE_BYTES
    cdef uint32_t count = 0 if self.begun else self.whole.count
    cdef uint32_t i
    buffer_init(&head)
    if slices == NULL or head_open(&head) < 0:
        buffer_free(&head)
        free(slices)
        return NULL
    for i in range(count):
        record.size = self.whole.frames[i].size
        if buffer_put(&head, &record, sizeof(record)) < 0:
            buffer_free(&head)
            free(slices)
            return NULL
    head_close(&head, PIECES, count, EXTRA)
    letter = letter_of(&head)
    if letter == NULL:
        buffer_free(&head)
        free(slices)
        return NULL
    slices.bale.holders = 1
    slices.bale.count = 0
    slices.bale.frames = <Frame*> (slices + 1)
    slices.bale.discard = _discard_slices
    slices.bale.next = NULL
    slices.whole = self.whole
    bale_hold(self.whole)
    while room and self.frame < self.whole.count:
        slice = &slices.bale.frames[slices.bale.count]
        slice.data = self.whole.frames[self.frame].data + self.at
        slice.size = min(self.whole.frames[self.frame].size - self.at, room)
        slices.bale.count += slice.size > 0
        room -= slice.size
        self.at += slice.size
        if self.at == self.whole.frames[self.frame].size:
            self.frame += 1
            self.at = 0
    self.begun = True
    self.made += PIECE_BYTES - room
    self.left -= PIECE_BYTES - room
    letter.bale = &slices.bale
    return letter


cdef Letter* transit_next(Transit* self, double now) noexcept nogil:
    cdef Letter* letter = self.ready
    if letter != NULL:
        self.ready = NULL
        return letter
    if self.whole != NULL and self.left == 0:
        # Its last piece has been sent: until now it might have been overtaken.
        bale_drop(self.whole)
        self.whole = NULL
    while self.whole == NULL:
        letter = queue_take(&self.behind)
        if letter == NULL or not letter_is_large(letter) or transit_begin(self, letter) < 0:
            return letter
    if self.made - self.taken >= self.window:
        return NULL
    letter = _piece(self)
    if letter != NULL and self.mark == 0:
        self.mark = self.made
        self.marked_at = now
    return letter


cdef void transit_put_back(Transit* self, Letter* letter) noexcept nogil:
    self.ready = letter


cdef void transit_on_taken(Transit* self, uint64_t size, double now) noexcept nogil:
    # No more than there was.
    self.taken += min(size, self.made - self.taken)
    if self.mark == 0 or self.taken < self.mark:
        return
    self.mark = 0
    if now - self.marked_at < QUICK:
        self.window = min(self.window * 2, <uint64_t> MOST_WINDOW)
    elif now - self.marked_at > SLOW:
        self.window = max(self.window // 2, <uint64_t> LEAST_WINDOW)


cdef uint64_t transit_bytes(const Transit* self) noexcept nogil:
    return self.left + self.behind.bytes + self.made - self.taken


cdef void transit_clear(Transit* self) noexcept nogil:
    queue_clear(&self.behind)
    letter_free(self.ready)
    bale_drop(self.whole)
    memset(self, 0, sizeof(Transit))
