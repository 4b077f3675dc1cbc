# SPDX-License-Identifier: BSD-3-Clause
"""A large letter on its way out between machines, in pieces, and what must not overtake it.

Why: before a stranger has proved anything, the largest frame is the only bound on what it makes a socket hold; so sockets
between machines take small frames only. And 100 MB on a slow line take a minute, in which others' small tasks for the same
machine should not wait: so what is large travels as messages of its own (PIECES), of which only so much is under way as
arrives within some tenths of a second (TAKEN), and small letters go between them.

    in transit      one letter, cut where its pieces are due
    behind          large ones that come next; small ones that speak of what is in a large one, or that end the link

May not know: sockets, peers. Guarantees: cutting copies nothing; what speaks of a task, of a function or of the end of the link
comes after what it speaks of; small letters wait for nothing else. Not thread-safe.
"""
from libc.stdint cimport uint32_t, uint64_t

from covey.link.post cimport Letter, LetterQueue
from covey.wire.bale cimport Bale

cdef struct Transit:
    Bale* whole                     # the letter's frames; holds the letter. NULL: nothing is in transit
    uint32_t frame                  # the next byte that goes: of this frame
    uint64_t at
    bint begun                      # its first piece is made
    Letter* ready                   # made, and not sent yet
    uint64_t left                   # bytes of the whole that are not in pieces yet
    uint64_t made                   # bytes in pieces, ever
    uint64_t taken                  # of those, as the other end has said
    uint64_t window                 # so many bytes may be under way
    uint64_t mark                   # when so many are taken, the window is judged; 0: no mark is set
    double marked_at
    bint strict                     # nothing may pass but signs of life
    LetterQueue behind

# Whether a frame of it, or all together, are too large to travel whole.
cdef bint letter_is_large(const Letter* self) noexcept nogil
# Whether this letter, the next to be sent, has to come behind what is in transit. Then it goes there: the letter is taken.
cdef bint transit_holds_back(Transit* self, Letter* letter) noexcept nogil
# A large letter: its pieces come. -1: it cannot be cut (it has too many frames, or no memory), and is the caller's as before.
cdef int transit_begin(Transit* self, Letter* letter) noexcept nogil
# The next letter to send of what is here; NULL: there is none now. What could not be sent is put back.
cdef Letter* transit_next(Transit* self, double now) noexcept nogil
cdef void transit_put_back(Transit* self, Letter* letter) noexcept nogil
# The other end has so many bytes more.
cdef void transit_on_taken(Transit* self, uint64_t size, double now) noexcept nogil
# Bytes that wait here or are under way.
cdef uint64_t transit_bytes(const Transit* self) noexcept nogil
cdef void transit_clear(Transit* self) noexcept nogil
