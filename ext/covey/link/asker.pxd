# SPDX-License-Identifier: BSD-3-Clause
"""The asking end of a link: batches, tickets, credit, and one socket under one lock.

Why: a task costs its asker one record in a buffer; a message goes out at once when nothing is under
way, and carries more the more is (DESIGN decision 4). Whichever thread has something to send sends it.

May not know: futures, pickles. A ticket's `holder` is a pointer that it keeps and gives back.
Guarantees: every ticket that was sent gets exactly one outcome or is given up when the link ends; the
doer never has more unfinished from us than the credit it gave; what was cancelled before it was sent
is never sent.

Locking: every function here takes the lock itself, except those whose name ends in `_locked`. Nobody
takes the GIL while holding it. Ownership: a holder is the caller's reference; `asker_settle` and
`asker_cancel` give it back, `asker_abandon` gives all back one by one.
"""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from cpython.pythread cimport PyThread_type_lock
from covey.link.post cimport Letter, LetterQueue
from covey.link.wake cimport Wake
from covey.wire.bale cimport Bale
from covey.wire.buffer cimport Buffer

cdef struct TicketRow:
    void* holder                # NULL: free, or cancelled and waiting for its outcome
    uint32_t serial             # order of sending, wraps past 0: the high half of the ticket
    uint32_t size               # of the parcel, for the byte credit
    uint32_t next               # free list; IN_USE while the row is taken

cdef struct Asker:
    PyThread_type_lock lock
    void* socket                # NULL: somebody else moves the letters (pyzmq loop)
    Wake kick                   # rung to wake the thread that waits for the socket
    bint sleeping               # that thread waits without a time limit worth mentioning
    bint welcome                # WELCOME came
    bint welcomed               # and was told to the I/O thread
    uint32_t slots              # of the flock, at that time
    bint closed
    uint32_t credit_tasks
    uint64_t credit_bytes
    uint32_t unfinished         # sent, outcome not yet here
    uint64_t unfinished_bytes
    uint32_t unsent             # put, not yet sent
    uint64_t unsent_bytes       # of parcels in letters that wait
    uint32_t voids              # of those, cancelled
    uint32_t serial             # of the last task put
    uint32_t sent               # serial of the last task sent
    Buffer open                 # the batch being filled
    uint32_t open_count
    uint64_t open_bytes
    double open_since
    Buffer cancels
    uint32_t cancel_count
    LetterQueue control         # leaves before `letters`: HELLO, CANCEL, NOTE
    LetterQueue letters
    Bale* inbox
    Bale* inbox_tail
    TicketRow* rows
    uint32_t room
    uint32_t free_row
    uint32_t abandoned          # rows below have no holder any more (the link ends)

cdef enum:
    IN_USE = 0xFFFFFFFF
    NO_ROW = 0xFFFFFFFE

cdef int asker_init(Asker* self) noexcept
cdef void asker_free(Asker* self) noexcept
cdef void asker_hello(Asker* self, uint16_t python, uint32_t pid, const char* host, uint32_t length) noexcept nogil
# Puts a task; its parcel is the `size` bytes at `parcel`, and the frames of `bale` (ownership passes) if given.
# The ticket, or 0 when memory is out: its high half counts the tasks of this asker from 1, its low half is a row that
# others will have, too.
cdef uint64_t asker_put(
    Asker* self, void* holder, uint32_t function, const unsigned char* parcel, uint32_t size, Bale* bale,
    int16_t priority, uint8_t needs, uint16_t share, uint8_t flags, uint8_t retries, uint8_t crashes, uint32_t timeout_ms,
    uint32_t retry_wait_ms) noexcept nogil
# A function's body goes ahead of the first task that names it. The bale's ownership passes; it may be NULL.
cdef int asker_put_function(
    Asker* self, uint32_t number, const unsigned char* digest, const unsigned char* body, uint32_t size, Bale* bale) noexcept nogil
cdef int asker_forget(Asker* self, uint32_t number) noexcept nogil
# A word to a task that runs, see NOTE.
cdef int asker_put_note(Asker* self, uint64_t ticket, const unsigned char* text, uint32_t size) noexcept nogil
# The holder of a ticket nobody wants any more, or NULL if it has none (its outcome is here, or it was cancelled).
cdef void* asker_cancel(Asker* self, uint64_t ticket, bint force) noexcept nogil
# The holder of a ticket whose outcome is here, or NULL if nobody waits for it.
cdef void* asker_settle_locked(Asker* self, uint64_t ticket) noexcept nogil
# The holder of a ticket, which stays its holder; NULL if it has none.
cdef void* asker_peek_locked(Asker* self, uint64_t ticket) noexcept nogil
# Any holder left, its ticket given up; NULL when there is none. For the end of a link.
cdef void* asker_abandon(Asker* self) noexcept nogil
cdef void asker_bye(Asker* self) noexcept nogil
# Sends what is batched, as far as credit and the socket allow.
cdef void asker_flush(Asker* self) noexcept nogil
cdef void asker_flush_locked(Asker* self, bint all) noexcept nogil
# The next letter that may go now, or NULL (pyzmq loop). The caller owns it.
cdef Letter* asker_next_letter_locked(Asker* self) noexcept nogil
# A message that came in: WELCOME and CREDIT are dealt with, the rest waits in the inbox. Ownership passes.
cdef void asker_receive_locked(Asker* self, Bale* bale) noexcept nogil
cdef Bale* asker_take_inbox(Asker* self) noexcept nogil
# One turn of the I/O thread: send, receive, then wait until something happens, at most `limit` seconds.
# 1: the inbox has something, or WELCOME came. 0: nothing. -1: closed.
cdef int asker_turn(Asker* self, double limit) noexcept nogil
