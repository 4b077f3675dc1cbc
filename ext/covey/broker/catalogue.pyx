# SPDX-License-Identifier: BSD-3-Clause
"""See catalogue.pxd, the contents page.

An entry stands at the place that its number hashes to, or at the first free one behind it; there is no gap between
the two, so a search ends at the first free place.
"""
from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport free, malloc


cdef inline uint32_t _home(const Catalogue* self, uint32_t number) noexcept nogil:
    cdef uint32_t mixed = number * <uint32_t> 0x9e3779b1
    return (mixed ^ (mixed >> 15)) & (self.room - 1)


cdef inline uint32_t _place(const Catalogue* self, uint32_t number) noexcept nogil:
    """Where it is, or where it belongs."""
    cdef uint32_t at = _home(self, number)
    while self.entries[at].index >= 0 and self.entries[at].number != number:
        at = (at + 1) & (self.room - 1)
    return at


cdef int32_t catalogue_find(const Catalogue* self, uint32_t number) noexcept nogil:
    return self.entries[_place(self, number)].index if self.room else -1


cdef int _grow(Catalogue* self) noexcept nogil:
    cdef Catalogue bigger
    cdef uint32_t i
    bigger.room = self.room * 2 if self.room else 16
    bigger.count = self.count
    bigger.entries = <Entry*> malloc(bigger.room * sizeof(Entry))
    if bigger.entries == NULL:
        return -1
    for i in range(bigger.room):
        bigger.entries[i].index = -1
    for i in range(self.room):
        if self.entries[i].index >= 0:
            bigger.entries[_place(&bigger, self.entries[i].number)] = self.entries[i]
    free(self.entries)
    self[0] = bigger
    return 0


cdef int catalogue_put(Catalogue* self, uint32_t number, int32_t index) noexcept nogil:
    cdef Entry* entry
    if (self.count + 1) * 4 > self.room * 3 and _grow(self) < 0:
        return -1
    entry = &self.entries[_place(self, number)]
    entry.number = number
    entry.index = index
    self.count += 1
    return 0


cdef int32_t catalogue_take(Catalogue* self, uint32_t number) noexcept nogil:
    cdef uint32_t hole, at, home
    cdef int32_t found
    if self.room == 0:
        return -1
    hole = _place(self, number)
    found = self.entries[hole].index
    if found < 0:
        return -1
    self.count -= 1
    at = hole
    while True:
        at = (at + 1) & (self.room - 1)
        if self.entries[at].index < 0:
            break
        home = _home(self, self.entries[at].number)
        # One that belongs behind the hole stays; any other would not be found across it.
        if ((at - home) & (self.room - 1)) >= ((at - hole) & (self.room - 1)):
            self.entries[hole] = self.entries[at]
            hole = at
    self.entries[hole].index = -1
    return found


cdef void catalogue_free(Catalogue* self) noexcept nogil:
    free(self.entries)
    self.entries = NULL
    self.room = 0
    self.count = 0
