# SPDX-License-Identifier: BSD-3-Clause
"""See names.pxd, the contents page."""
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort
from libc.string cimport memset

from covey.wire.bale cimport Bale, bale_drop, bale_hold, bale_size

cdef enum:
    LEAST = 16

# What it takes to sort entries by age.
cdef struct Age:
    double until
    uint64_t name

# Looking for what is due means looking at all there is: not more often than this, in seconds.
cdef double PURGE_EVERY = 1.0


cdef inline uint32_t _home(const Book* self, uint64_t name) noexcept nogil:
    # Names of one loop differ in their low bits only; a multiplication spreads them.
    return <uint32_t> (name * <uint64_t> 0x9E3779B97F4A7C15 >> 32) & (self.room - 1)


cdef void book_free(Book* self) noexcept nogil:
    cdef uint32_t i
    for i in range(self.room):
        if self.entries[i].name:
            bale_drop(self.entries[i].bale)
    free(self.entries)
    memset(self, 0, sizeof(Book))


cdef Entry* book_find(const Book* self, uint64_t name) noexcept nogil:
    cdef uint32_t at
    if self.count == 0:
        return NULL
    at = _home(self, name)
    while self.entries[at].name:
        if self.entries[at].name == name:
            return &self.entries[at]
        at = (at + 1) & (self.room - 1)
    return NULL


cdef int _grow(Book* self) noexcept nogil:
    cdef Book grown
    cdef uint32_t at
    cdef uint32_t i
    grown.room = self.room * 2 if self.room else LEAST
    grown.entries = <Entry*> calloc(grown.room, sizeof(Entry))
    if grown.entries == NULL:
        return -1
    for i in range(self.room):
        if self.entries[i].name:
            at = _home(&grown, self.entries[i].name)
            while grown.entries[at].name:
                at = (at + 1) & (grown.room - 1)
            grown.entries[at] = self.entries[i]
    free(self.entries)
    self.entries = grown.entries
    self.room = grown.room
    return 0


cdef Entry* book_put(Book* self, uint64_t name, double until) noexcept nogil:
    cdef uint32_t at
    book_drop(self, name)
    if 2 * (self.count + 1) > self.room and _grow(self) < 0:
        return NULL
    at = _home(self, name)
    while self.entries[at].name:
        at = (at + 1) & (self.room - 1)
    memset(&self.entries[at], 0, sizeof(Entry))
    self.entries[at].name = name
    self.entries[at].until = until
    self.soonest = until if self.count == 0 else min(self.soonest, until)
    self.count += 1
    return &self.entries[at]


cdef int book_keep(Book* self, uint64_t name, uint64_t session, Bale* bale, uint32_t offset, double until) noexcept nogil:
    cdef Entry* entry = book_put(self, name, until)
    if entry == NULL:
        return -1
    bale_hold(bale)
    entry.session = session
    entry.bale = bale
    entry.offset = offset
    self.bytes += bale_size(bale)
    return 0


cdef void book_drop(Book* self, uint64_t name) noexcept nogil:
    cdef Entry* entry = book_find(self, name)
    cdef uint32_t hole, at, home
    if entry == NULL:
        return
    if entry.bale != NULL:
        self.bytes -= bale_size(entry.bale)
        bale_drop(entry.bale)
    self.count -= 1
    # What stands behind it and would not be found past a hole moves into it.
    hole = <uint32_t> (entry - self.entries)
    at = hole
    while True:
        at = (at + 1) & (self.room - 1)
        if not self.entries[at].name:
            break
        home = _home(self, self.entries[at].name)
        if (at - home) & (self.room - 1) >= (at - hole) & (self.room - 1):
            self.entries[hole] = self.entries[at]
            hole = at
    memset(&self.entries[hole], 0, sizeof(Entry))


cdef double _drop_due(Book* self, double now) noexcept nogil:
    """Drops what is due by `now`; the soonest of what stays."""
    cdef double soonest = INFINITY
    cdef uint32_t i = 0
    while i < self.room and self.count:
        if self.entries[i].name and self.entries[i].until <= now:
            # Another may have moved to this place: it is looked at again.
            book_drop(self, self.entries[i].name)
            continue
        if self.entries[i].name:
            soonest = min(soonest, self.entries[i].until)
        i += 1
    return soonest


cdef double book_purge(Book* self, double now) noexcept nogil:
    if self.count == 0:
        return INFINITY
    if now >= self.soonest:
        self.soonest = max(_drop_due(self, now), now + PURGE_EVERY)
    return self.soonest if self.count else INFINITY


cdef int _older(const void* one, const void* other) noexcept nogil:
    cdef const Age* a = <const Age*> one
    cdef const Age* b = <const Age*> other
    if a.until != b.until:
        return -1 if a.until < b.until else 1
    # Of one message; names are given in turn.
    return (a.name > b.name) - (a.name < b.name)


cdef void book_shrink(Book* self, uint64_t bytes) noexcept nogil:
    cdef Age* ages
    cdef uint32_t i
    cdef uint32_t known = 0
    if self.bytes <= bytes:
        return
    ages = <Age*> malloc(self.count * sizeof(Age))
    if ages == NULL:
        # What is kept is a courtesy; memory is not.
        _drop_due(self, INFINITY)
        return
    for i in range(self.room):
        if self.entries[i].name:
            ages[known].until = self.entries[i].until
            ages[known].name = self.entries[i].name
            known += 1
    qsort(ages, known, sizeof(Age), _older)
    i = 0
    while i < known and self.bytes > bytes - bytes // 8:
        book_drop(self, ages[i].name)
        i += 1
    free(ages)
