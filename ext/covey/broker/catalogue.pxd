# SPDX-License-Identifier: BSD-3-Clause
"""What an asker calls its functions: from its number for one to our row.

Why a hash: an asker counts its functions up for as long as it lives and forgets most of them, and one that means harm
may call its first one 268,435,455. What is kept here is in proportion to what has come and was not forgotten.
"""
from libc.stdint cimport int32_t, uint32_t

cdef struct Entry:
    uint32_t number
    int32_t index                   # -1: the place is free

cdef struct Catalogue:
    Entry* entries                  # NULL: nothing was ever put in
    uint32_t room                   # a power of two, at least a quarter of it free
    uint32_t count

# -1 if there is none.
cdef int32_t catalogue_find(const Catalogue* self, uint32_t number) noexcept nogil
# -1: no memory. The caller has looked that the number is not there; `index` is not below 0.
cdef int catalogue_put(Catalogue* self, uint32_t number, int32_t index) noexcept nogil
# Takes it out; -1 if it was not there.
cdef int32_t catalogue_take(Catalogue* self, uint32_t number) noexcept nogil
cdef void catalogue_free(Catalogue* self) noexcept nogil
