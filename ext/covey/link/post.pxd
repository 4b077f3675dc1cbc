# SPDX-License-Identifier: BSD-3-Clause
"""Letters out, bales in: what both ends of a link and the broker share of the way to a socket.

Why: a letter is one message on its way out; it waits in somebody's own queue, because a socket is
only ever asked without blocking. The queues are the caller's to bound.

Ownership: a Letter owns its head (malloc'd) and holds its bale; `letter_send` and `letter_free` end both.
"""
from libc.stdint cimport uint32_t, uint64_t
from covey.wire.bale cimport Bale
from covey.wire.buffer cimport Buffer

cdef struct Letter:
    Letter* next
    unsigned char* head             # the first frame; NULL: the bale's frames are the whole message
    size_t size
    size_t counted                  # bytes of the head that count as held (see spill.pxd)
    Bale* bale                      # its frames from `first` on follow the head; NULL: none
    uint32_t first
    uint32_t count                  # TASK records in it; 0 for everything else
    uint32_t serial                 # of its last task (asker), or the peer it is for (desk)
    uint64_t bytes                  # of its parcels

cdef struct LetterQueue:
    Letter* head
    Letter* tail
    uint32_t length
    uint64_t bytes                  # of all frames of its letters

cdef enum Posted:
    SENT = 0
    LATER = -1                      # the socket is full: keep the letter, try again
    NOBODY = -2                     # no such peer (routing sockets): the letter is of no use
    BROKEN = -3                     # the socket is gone

# Takes the buffer's memory. NULL: no memory, and the buffer is as it was.
cdef Letter* letter_of(Buffer* head) noexcept nogil
# A message passed on as it came; holds the bale once more. NULL: no memory.
cdef Letter* letter_of_bale(Bale* bale) noexcept nogil
# Opens a buffer for a message: leaves room for the header that `letter_close` fills.
cdef int head_open(Buffer* head) noexcept nogil
cdef void head_close(Buffer* head, int kind, uint32_t count, int flags) noexcept nogil
cdef void letter_free(Letter* self) noexcept nogil
# The bytes of all its frames.
cdef uint64_t letter_size(const Letter* self) noexcept nogil
cdef void queue_put(LetterQueue* queue, Letter* letter) noexcept nogil
# One that was taken and could not be sent: it is the next again.
cdef void queue_put_back(LetterQueue* queue, Letter* letter) noexcept nogil
cdef Letter* queue_take(LetterQueue* queue) noexcept nogil
cdef void queue_clear(LetterQueue* queue) noexcept nogil
# Sends without blocking, to `route` if given. SENT frees the letter; anything else leaves it to the caller.
cdef int letter_send(Letter* self, void* socket, const unsigned char* route, size_t route_size) noexcept nogil
# The next message, without blocking; with `route`, its first frame (≤ 16 bytes) goes there. NULL: none now.
cdef Bale* bale_receive(void* socket, unsigned char* route, size_t* route_size) noexcept nogil
# What the far end's key was allowed as, as its ZAP handler said; NULL for links without keys. Only of bale_receive's own.
cdef const char* bale_user(Bale* bale) noexcept nogil
# Whether something can be received now; asks the socket, and so settles what a send may have swallowed.
cdef bint socket_ready(void* socket) noexcept nogil
# The letter as a list of bytes (for pyzmq); frees it.
cdef list letter_frames(Letter* self)
cdef double clock_now() noexcept nogil
