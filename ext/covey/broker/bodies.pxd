# SPDX-License-Identifier: BSD-3-Clause
"""The bodies of functions, each kept once however many askers sent it.

Why: a function travels once a link (DESIGN decision 6). Its digest tells that two askers mean the same;
its row index is its number towards every doer. A row lives as long as a link has a number for it or
an unfinished task names it. Not thread-safe. Ownership: a row holds the bale it came in.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from covey.wire.bale cimport Bale
from covey.wire.protocol cimport FunctionRecord

cdef struct BodyRow:
    uint8_t digest[16]
    Bale* bale                      # the message it came in; NULL: the row is free
    uint32_t askers                 # links that have a number for it
    uint32_t tasks                  # unfinished ones that name it
    int32_t next                    # in its bucket, or in the free list

cdef struct BodyTable:
    BodyRow* rows
    uint32_t room
    uint32_t used
    int32_t free_row
    int32_t* buckets
    uint32_t mask

cdef int bodies_init(BodyTable* self) noexcept nogil
cdef void bodies_free(BodyTable* self) noexcept nogil
# The row of this FUNCTION message, one asker more on it; -1 when memory is out.
cdef int32_t bodies_learn(BodyTable* self, const FunctionRecord* record, Bale* bale) noexcept nogil
# True if the row is gone now: nobody names it any more.
cdef bint bodies_release(BodyTable* self, int32_t row, uint32_t askers, uint32_t tasks) noexcept nogil
