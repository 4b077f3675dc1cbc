# SPDX-License-Identifier: BSD-3-Clause
"""Who may come in: libzmq asks about every key that knocks at a gate, and this answers.

Why here and not in a thread of Python's: libzmq lets everybody in while nobody answers at its address, and lets nobody
in while the one who should answer waits for the GIL.

Guarantees: a key that is not in the list is refused, and so is whatever is not CURVE; one answer for each request.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    ALLOWED_MAX = 16
    KEY_BYTES = 32
    USER_MAX = 16
    FROM_MAX = 64

cdef struct Allowed:
    uint8_t key[KEY_BYTES]
    char user[USER_MAX]             # what messages that come with this key are marked with

cdef struct Zap:
    void* socket
    Allowed allowed[ALLOWED_MAX]
    uint32_t count
    uint64_t accepted
    uint64_t refused
    char refused_from[FROM_MAX]     # the last known address that was kept out

# Binds the address where libzmq asks, in this context; -1 with libzmq's error.
cdef int zap_open(Zap* self, void* context) noexcept nogil
cdef void zap_close(Zap* self) noexcept nogil
# Answers what was asked; never waits.
cdef void zap_answer(Zap* self) noexcept nogil
