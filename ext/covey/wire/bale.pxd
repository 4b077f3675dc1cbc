# SPDX-License-Identifier: BSD-3-Clause
"""A bale: one message kept in memory, held by as many as need a part of it.

Why: a parcel that came in must stay until its outcome is there, a function's body until the last
slot has it, an array until the last view of it is gone; none of them is copied for that.

Ownership: `bale_of_copies` returns a bale with one holder, the caller. Each further holder calls
`bale_hold`; each calls `bale_drop` once. Holding and dropping are atomic, so any thread may.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t

cdef struct Frame:
    unsigned char* data
    size_t size

cdef struct Bale:
    int32_t holders
    uint32_t count                              # frames
    Frame* frames                               # in the bale's own memory
    void (*discard)(Bale*) noexcept nogil       # frees everything; called by the last drop
    Bale* next                                  # for whoever queues bales; NULL otherwise

cdef void bale_hold(Bale* self) noexcept nogil
cdef void bale_drop(Bale* self) noexcept nogil
# The bytes of all frames.
cdef uint64_t bale_size(const Bale* self) noexcept nogil
# Room for `count` frames and `extra` bytes behind them; sizes and pointers are the caller's to fill. NULL: no memory.
cdef Bale* bale_blank(uint32_t count, size_t extra) noexcept nogil
# A bale that owns copies of these frames. NULL: no memory.
cdef Bale* bale_of_copies(const Frame* frames, uint32_t count) noexcept nogil

cdef class BaleView:
    """A frame of a bale as a writable buffer; holds the bale while anyone looks at it."""
    cdef Bale* bale
    cdef uint32_t index

cdef BaleView bale_view(Bale* bale, uint32_t index)
# A bale that owns copies of these buffer holders' bytes, or NULL for none of them.
cdef Bale* bale_of_buffers(object buffers) except? NULL
# The frames from `first` on, as writable buffers; None if there are none.
cdef object bale_views(Bale* bale, uint32_t first)
