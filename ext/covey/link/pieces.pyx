# SPDX-License-Identifier: BSD-3-Clause
"""See pieces.pxd, the contents page."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from covey.link.post cimport head_close, head_open, letter_free, letter_of
from covey.wire.bale cimport Frame, bale_blank, bale_drop
from covey.wire.buffer cimport Buffer, buffer_free, buffer_init, buffer_put
from covey.wire.protocol cimport EXTRA, MAX_EXTRA, MAX_RECORDS, PIECE_BYTES, PIECES, Header, PieceRecord

# Frames that point into a letter's; `whole` is kept for as long as they are.
cdef struct Slices:
    Bale bale
    Letter* whole


cdef void _discard_slices(Bale* bale) noexcept nogil:
    letter_free((<Slices*> bale).whole)
    free(bale)


cdef bint letter_is_large(const Letter* self) noexcept nogil:
    cdef uint32_t i
    if self.head != NULL and self.size > PIECE_BYTES:
        return True
    if self.bale != NULL:
        for i in range(self.first, self.bale.count):
            if self.bale.frames[i].size > PIECE_BYTES:
                return True
    return False


cdef uint64_t _pieces_of(uint64_t size) noexcept nogil:
    return (size + PIECE_BYTES - 1) // PIECE_BYTES


cdef void _slice(Slices* slices, unsigned char* data, uint64_t size) noexcept nogil:
    cdef uint64_t at = 0
    cdef Frame* piece
    while at < size:
        piece = &slices.bale.frames[slices.bale.count]
        slices.bale.count += 1
        piece.data = data + at
        piece.size = min(size - at, <uint64_t> PIECE_BYTES)
        at += piece.size


cdef Letter* letter_cut(Letter* self) noexcept nogil:
    cdef uint32_t last = self.bale.count if self.bale != NULL else 0
    cdef uint32_t i
    cdef uint64_t total = 0
    cdef uint32_t count = 0
    cdef PieceRecord record
    cdef Buffer head
    cdef Slices* slices
    cdef Letter* letter
    buffer_init(&head)
    if head_open(&head) < 0:
        return NULL
    if self.head != NULL:
        record.size = self.size
        total += _pieces_of(record.size)
        count += 1
        buffer_put(&head, &record, sizeof(record))
    for i in range(self.first, last):
        record.size = self.bale.frames[i].size
        total += _pieces_of(record.size)
        count += 1
        if buffer_put(&head, &record, sizeof(record)) < 0:
            total = MAX_EXTRA + 1
    slices = NULL
    if total <= MAX_EXTRA and count <= MAX_RECORDS:
        slices = <Slices*> malloc(sizeof(Slices) + total * sizeof(Frame))
    if slices == NULL:
        buffer_free(&head)
        return NULL
    head_close(&head, PIECES, count, EXTRA)
    letter = letter_of(&head)
    if letter == NULL:
        buffer_free(&head)
        free(slices)
        return NULL
    slices.whole = self
    slices.bale.holders = 1
    slices.bale.count = 0
    slices.bale.frames = <Frame*> (slices + 1)
    slices.bale.discard = _discard_slices
    slices.bale.next = NULL
    if self.head != NULL:
        _slice(slices, self.head, self.size)
    for i in range(self.first, last):
        _slice(slices, self.bale.frames[i].data, self.bale.frames[i].size)
    letter.bale = &slices.bale
    return letter


cdef Bale* pieces_join(Bale* pieces) noexcept nogil:
    cdef uint32_t count = (<Header*> pieces.frames[0].data).count
    cdef PieceRecord* records = <PieceRecord*> (pieces.frames[0].data + sizeof(Header))
    cdef uint64_t total = 0
    cdef uint64_t there = 0
    cdef uint32_t at = 1
    cdef uint32_t i
    cdef uint64_t left
    cdef unsigned char* to
    cdef Bale* whole
    for i in range(1, pieces.count):
        there += pieces.frames[i].size
    for i in range(count):
        # Nobody may announce more than has come.
        if records[i].size > there:
            return NULL
        total += records[i].size
    if count == 0 or total != there:
        return NULL
    whole = bale_blank(count, total + <uint64_t> count * 16 + 16)
    if whole == NULL:
        return NULL
    to = <unsigned char*> ((<size_t> (whole.frames + count) + 15) & ~<size_t> 15)
    for i in range(count):
        whole.frames[i].data = to
        whole.frames[i].size = records[i].size
        left = records[i].size
        while left:
            if at == pieces.count or pieces.frames[at].size == 0 or pieces.frames[at].size > left:
                bale_drop(whole)
                return NULL
            memcpy(to, pieces.frames[at].data, pieces.frames[at].size)
            to += pieces.frames[at].size
            left -= pieces.frames[at].size
            at += 1
        # For the arrays that will be views of it.
        to = <unsigned char*> ((<size_t> to + 15) & ~<size_t> 15)
    return whole
