# SPDX-License-Identifier: BSD-3-Clause
"""Pieces that arrive, put together again: the other end of a transit.

Guarantees: memory is taken for what has come, never for what was announced; joining copies once; pieces that do not make what
was announced make nothing.
"""
from libc.stdint cimport uint64_t
from covey.wire.bale cimport Bale

cdef struct Pieces:
    Bale* first                     # the messages so far, held; the first of them says what they will make. NULL: none
    Bale* last
    uint64_t missing                # bytes

cdef enum Joined:
    NOT_YET = 0
    WHOLE = 1
    WRONG = -1                      # the pieces do not fit; those so far are forgotten

# A PIECES message (already checked by wire_check) has come. WHOLE: the message that they make is in `whole`, the caller's.
cdef int pieces_add(Pieces* self, Bale* bale, Bale** whole) noexcept nogil
# Bytes of a PIECES message, as they count for TAKEN.
cdef uint64_t pieces_size(const Bale* bale) noexcept nogil
cdef void pieces_clear(Pieces* self) noexcept nogil
