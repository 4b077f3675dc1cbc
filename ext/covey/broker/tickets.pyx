# SPDX-License-Identifier: BSD-3-Clause
"""See tickets.pxd, the contents page.

Buckets 0 … low + split - 1 are in use. A hash belongs to its value modulo 2 * low if that bucket
exists, else modulo low. Growing by one splits bucket `split` into itself and `low + split`; when all
`low` are split, low doubles. Buckets never merge again: a flock that was busy will be busy.
"""
from libc.stdint cimport uint32_t
from libc.stdlib cimport realloc

from covey.broker.tables cimport TaskRow


cdef inline uint32_t _hash(int32_t asker, uint64_t ticket) noexcept nogil:
    return <uint32_t> ticket + <uint32_t> asker * <uint32_t> 0x9e3779b1


cdef inline uint32_t _bucket(const Scheduler* self, uint32_t hashed) noexcept nogil:
    cdef uint32_t bucket = hashed & (self.bucket_low * 2 - 1)
    if bucket >= self.bucket_low + self.bucket_split:
        bucket -= self.bucket_low
    return bucket


cdef int32_t ticket_find(const Scheduler* self, int32_t asker, uint64_t ticket) noexcept nogil:
    cdef int32_t at = self.buckets[_bucket(self, _hash(asker, ticket))]
    while at >= 0:
        if self.tasks[at].ticket == ticket and self.tasks[at].asker == asker:
            return at
        at = self.tasks[at].chain
    return -1


cdef void _split_one(Scheduler* self) noexcept nogil:
    cdef int32_t* bigger
    cdef TaskRow* row
    cdef uint32_t source, target
    cdef int32_t at, after
    if self.bucket_split == self.bucket_low:
        if self.bucket_low >= 0x20000000:
            return
        bigger = <int32_t*> realloc(self.buckets, <size_t> self.bucket_low * 4 * sizeof(int32_t))
        if bigger == NULL:
            # The hash works as it is, only its chains get longer.
            return
        self.buckets = bigger
        self.bucket_low *= 2
        self.bucket_split = 0
    source = self.bucket_split
    target = self.bucket_low + source
    at = self.buckets[source]
    self.buckets[source] = -1
    self.buckets[target] = -1
    self.bucket_split += 1
    while at >= 0:
        row = &self.tasks[at]
        after = row.chain
        target = _bucket(self, _hash(row.asker, row.ticket))
        row.chain = self.buckets[target]
        self.buckets[target] = at
        at = after


cdef void ticket_add(Scheduler* self, int32_t task) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef uint32_t bucket
    if self.task_count > self.bucket_low + self.bucket_split:
        _split_one(self)
    bucket = _bucket(self, _hash(row.asker, row.ticket))
    row.chain = self.buckets[bucket]
    self.buckets[bucket] = task


cdef void ticket_remove(Scheduler* self, int32_t task) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef int32_t* at = &self.buckets[_bucket(self, _hash(row.asker, row.ticket))]
    while at[0] != task:
        at = &self.tasks[at[0]].chain
    at[0] = row.chain


cdef int64_t ticket_count(const Scheduler* self) noexcept nogil:
    cdef int64_t count = 0
    cdef uint32_t bucket
    cdef int32_t at
    for bucket in range(self.bucket_low + self.bucket_split):
        at = self.buckets[bucket]
        while at >= 0:
            if _bucket(self, _hash(self.tasks[at].asker, self.tasks[at].ticket)) != bucket or count > self.task_count:
                return -1
            count += 1
            at = self.tasks[at].chain
    return count
