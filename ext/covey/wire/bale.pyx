# SPDX-License-Identifier: BSD-3-Clause
"""See bale.pxd, the contents page."""
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from *:
    """
    #define covey_atomic_add(at, n) __atomic_add_fetch((at), (n), __ATOMIC_ACQ_REL)
    """
    int32_t covey_atomic_add(int32_t* at, int32_t n) noexcept nogil


cdef void bale_hold(Bale* self) noexcept nogil:
    covey_atomic_add(&self.holders, 1)


cdef void bale_drop(Bale* self) noexcept nogil:
    if self != NULL and covey_atomic_add(&self.holders, -1) == 0:
        self.discard(self)


cdef uint64_t bale_size(const Bale* self) noexcept nogil:
    cdef uint64_t size = 0
    cdef uint32_t i
    for i in range(self.count):
        size += self.frames[i].size
    return size


cdef void _discard(Bale* self) noexcept nogil:
    free(self)


cdef Bale* bale_blank(uint32_t count, size_t extra) noexcept nogil:
    cdef Bale* self = <Bale*> malloc(sizeof(Bale) + count * sizeof(Frame) + extra)
    if self != NULL:
        self.holders = 1
        self.count = count
        self.frames = <Frame*> (self + 1)
        self.discard = _discard
        self.next = NULL
    return self


cdef Bale* bale_of_copies(const Frame* frames, uint32_t count) noexcept nogil:
    cdef size_t total = 0
    cdef uint32_t i
    cdef unsigned char* at
    cdef Bale* self
    # Each frame starts on a 16-byte boundary, for the arrays that will be views of it.
    for i in range(count):
        total += (frames[i].size + 15) & ~<size_t> 15
    self = bale_blank(count, total + 15)
    if self == NULL:
        return NULL
    at = <unsigned char*> ((<size_t> (self.frames + count) + 15) & ~<size_t> 15)
    for i in range(count):
        self.frames[i].data = at
        self.frames[i].size = frames[i].size
        memcpy(at, frames[i].data, frames[i].size)
        at += (frames[i].size + 15) & ~<size_t> 15
    return self


cdef class BaleView:
    def __getbuffer__(self, Py_buffer* view, int flags):
        cdef Frame* frame = &self.bale.frames[self.index]
        PyBuffer_FillInfo(view, self, frame.data, frame.size, 0, flags)

    def __dealloc__(self):
        bale_drop(self.bale)


cdef BaleView bale_view(Bale* bale, uint32_t index):
    cdef BaleView view = BaleView.__new__(BaleView)
    bale_hold(bale)
    view.bale = bale
    view.index = index
    return view


cdef Bale* bale_of_buffers(object buffers) except? NULL:
    cdef uint32_t count
    cdef uint32_t i
    cdef size_t total = 0
    cdef unsigned char* at
    cdef Bale* self
    cdef const unsigned char[::1] flat
    if not buffers:
        return NULL
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    count = len(views)
    for view in views:
        total += (<size_t> len(view) + 15) & ~<size_t> 15
    self = bale_blank(count, total + 15)
    if self == NULL:
        raise MemoryError(f"no memory to send {total} bytes of buffers")
    at = <unsigned char*> ((<size_t> (self.frames + count) + 15) & ~<size_t> 15)
    for i in range(count):
        flat = views[i]
        self.frames[i].data = at
        self.frames[i].size = flat.shape[0]
        if flat.shape[0]:
            memcpy(at, &flat[0], flat.shape[0])
        at += (<size_t> flat.shape[0] + 15) & ~<size_t> 15
    return self


cdef object bale_views(Bale* bale, uint32_t first):
    if bale.count <= first:
        return None
    return [bale_view(bale, i) for i in range(first, bale.count)]
