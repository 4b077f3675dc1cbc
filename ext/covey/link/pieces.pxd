# SPDX-License-Identifier: BSD-3-Clause
"""Pieces that arrive, put together again: the other end of a transit.

Guarantees: memory is taken for what has come, never for what was announced; each piece is copied once, when it comes, so that
no message takes long to join; pieces that do not make what was announced make nothing.
"""
from libc.stdint cimport uint32_t, uint64_t
from covey.wire.bale cimport Bale

cdef struct Pieces:
    Bale* whole                     # what they will make, as far as it has come. NULL: none has
    uint32_t frame                  # the next byte is for this frame of it
    uint64_t at
    uint64_t missing                # bytes
    uint64_t come

cdef enum Joined:
    NOT_YET = 0
    WHOLE = 1
    WRONG = -1                      # the pieces do not fit; those so far are forgotten

# A PIECES message (already checked by wire_check) has come. WHOLE: the message that they make is in `whole`, the caller's.
cdef int pieces_add(Pieces* self, Bale* bale, Bale** whole) noexcept nogil
# Bytes of a PIECES message, as they count for TAKEN.
cdef uint64_t pieces_size(const Bale* bale) noexcept nogil
cdef void pieces_clear(Pieces* self) noexcept nogil
