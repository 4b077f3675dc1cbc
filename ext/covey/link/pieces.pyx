# SPDX-License-Identifier: BSD-3-Clause
"""See pieces.pxd, the contents page."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from covey.wire.bale cimport Bale, Frame, bale_drop, bale_size
from covey.wire.protocol cimport Header, PieceRecord
from covey.wire.spill cimport large_fill, large_new


cdef uint64_t pieces_size(const Bale* bale) noexcept nogil:
    return bale_size(bale) - bale.frames[0].size


cdef void pieces_clear(Pieces* self) noexcept nogil:
    bale_drop(self.whole)
    memset(self, 0, sizeof(Pieces))


cdef int _begin(Pieces* self, const Bale* bale) noexcept nogil:
    cdef const PieceRecord* records = <const PieceRecord*> (bale.frames[0].data + sizeof(Header))
    cdef uint32_t count = (<const Header*> bale.frames[0].data).count
    cdef uint32_t i
    for i in range(count):
        if records[i].size > ~<uint64_t> 0 - self.missing:
            return -1
        self.missing += records[i].size
    self.whole = large_new(records, count)
    return -1 if self.whole == NULL else 0


cdef void _put(Pieces* self, const unsigned char* data, size_t size) noexcept nogil:
    """Bytes that are no more than are missing."""
    cdef Frame* frame = &self.whole.frames[self.frame]
    cdef size_t some
    while size:
        while self.at == frame.size:
            frame += 1
            self.frame += 1
            self.at = 0
        some = min(size, <size_t> (frame.size - self.at))
        memcpy(frame.data + self.at, data, some)
        data += some
        size -= some
        self.at += some
        self.missing -= some
        self.come += some
    # What follows may be empty frames.
    if self.missing == 0:
        self.frame = self.whole.count - 1
        self.at = self.whole.frames[self.frame].size


cdef int pieces_add(Pieces* self, Bale* bale, Bale** whole) noexcept nogil:
    cdef uint64_t size = pieces_size(bale)
    cdef bint begins = (<const Header*> bale.frames[0].data).count > 0
    cdef uint32_t i
    # One message after the other, and no piece without what is to be made of it. An empty one would be held for nothing.
    if begins != (self.whole == NULL) or size == 0 or (begins and _begin(self, bale) < 0) or size > self.missing:
        pieces_clear(self)
        return WRONG
    for i in range(1, bale.count):
        _put(self, bale.frames[i].data, bale.frames[i].size)
    large_fill(self.whole, self.whole.frames[self.frame].data + self.at)
    if self.missing:
        return NOT_YET
    whole[0] = self.whole
    self.whole = NULL
    pieces_clear(self)
    return WHOLE
