# SPDX-License-Identifier: BSD-3-Clause
"""See pieces.pxd, the contents page."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from covey.wire.bale cimport Bale, bale_blank, bale_drop, bale_hold, bale_size
from covey.wire.protocol cimport Header, PieceRecord


cdef uint64_t pieces_size(const Bale* bale) noexcept nogil:
    return bale_size(bale) - bale.frames[0].size


cdef void pieces_clear(Pieces* self) noexcept nogil:
    cdef Bale* bale = self.first
    cdef Bale* following
    while bale != NULL:
        following = bale.next
        bale.next = NULL
        bale_drop(bale)
        bale = following
    memset(self, 0, sizeof(Pieces))


cdef Bale* _joined(const Pieces* self) noexcept nogil:
    cdef const PieceRecord* records = <const PieceRecord*> (self.first.frames[0].data + sizeof(Header))
    cdef uint32_t count = (<const Header*> self.first.frames[0].data).count
    cdef const Bale* bale = self.first
    cdef uint32_t piece = 1
    cdef uint64_t at = 0
    cdef uint64_t total = 0
    cdef uint64_t left, some
    cdef unsigned char* to
    cdef Bale* whole
    cdef uint32_t i
    for i in range(count):
        total += records[i].size
    whole = bale_blank(count, total + <uint64_t> count * 16 + 16)
    if whole == NULL:
        return NULL
    to = <unsigned char*> ((<size_t> (whole.frames + count) + 15) & ~<size_t> 15)
    for i in range(count):
        whole.frames[i].data = to
        whole.frames[i].size = left = records[i].size
        while left:
            if piece == bale.count:
                bale = bale.next
                piece = 1
                continue
            some = min(left, bale.frames[piece].size - at)
            memcpy(to, bale.frames[piece].data + at, some)
            to += some
            left -= some
            at += some
            if at == bale.frames[piece].size:
                piece += 1
                at = 0
        # For the arrays that will be views of it.
        to = <unsigned char*> ((<size_t> to + 15) & ~<size_t> 15)
    return whole


cdef int _begin(Pieces* self, const Bale* bale) noexcept nogil:
    cdef const PieceRecord* records = <const PieceRecord*> (bale.frames[0].data + sizeof(Header))
    cdef uint32_t i
    for i in range((<const Header*> bale.frames[0].data).count):
        if records[i].size > ~<uint64_t> 0 - self.missing:
            return -1
        self.missing += records[i].size
    return 0


cdef int pieces_add(Pieces* self, Bale* bale, Bale** whole) noexcept nogil:
    cdef uint64_t size = pieces_size(bale)
    cdef bint begins = (<const Header*> bale.frames[0].data).count > 0
    # One message after the other, and no piece without what is to be made of it. An empty one would be held for nothing.
    if begins != (self.first == NULL) or size == 0 or (begins and _begin(self, bale) < 0) or size > self.missing:
        pieces_clear(self)
        return WRONG
    bale_hold(bale)
    if self.first == NULL:
        self.first = bale
    else:
        self.last.next = bale
    self.last = bale
    self.missing -= size
    if self.missing:
        return NOT_YET
    whole[0] = _joined(self)
    pieces_clear(self)
    return WHOLE if whole[0] != NULL else WRONG
