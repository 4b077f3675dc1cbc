# SPDX-License-Identifier: BSD-3-Clause
"""See bodies.pxd, the contents page."""
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from covey.wire.bale cimport bale_drop, bale_hold


cdef int bodies_init(BodyTable* self) noexcept nogil:
    memset(self, 0, sizeof(BodyTable))
    self.free_row = -1
    return _spread(self, 256)


cdef void bodies_free(BodyTable* self) noexcept nogil:
    cdef uint32_t i
    for i in range(self.room):
        bale_drop(self.rows[i].bale)
    free(self.rows)
    free(self.buckets)
    memset(self, 0, sizeof(BodyTable))


cdef uint32_t _bucket(BodyTable* self, const uint8_t* digest) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, digest, sizeof(value))
    return value & self.mask


cdef int _spread(BodyTable* self, uint32_t room) noexcept nogil:
    """Lays the rows out over `room` buckets, a power of two."""
    cdef int32_t* buckets = <int32_t*> calloc(room, sizeof(int32_t))
    cdef uint32_t i
    cdef uint32_t bucket
    if buckets == NULL:
        return -1
    for i in range(room):
        buckets[i] = -1
    free(self.buckets)
    self.buckets = buckets
    self.mask = room - 1
    for i in range(self.room):
        if self.rows[i].bale != NULL:
            bucket = _bucket(self, self.rows[i].digest)
            self.rows[i].next = buckets[bucket]
            buckets[bucket] = <int32_t> i
    return 0


cdef int32_t bodies_learn(BodyTable* self, const FunctionRecord* record, Bale* bale) noexcept nogil:
    cdef int32_t at = self.buckets[_bucket(self, record.digest)]
    cdef uint32_t bucket
    cdef uint32_t room
    cdef BodyRow* rows
    while at >= 0:
        if memcmp(self.rows[at].digest, record.digest, 16) == 0:
            self.rows[at].askers += 1
            return at
        at = self.rows[at].next
    if self.free_row < 0:
        room = self.room * 2 if self.room else 64
        rows = <BodyRow*> realloc(self.rows, room * sizeof(BodyRow))
        if rows == NULL:
            return -1
        self.rows = rows
        for at in range(<int32_t> room - 1, <int32_t> self.room - 1, -1):
            rows[at].bale = NULL
            rows[at].next = self.free_row
            self.free_row = at
        self.room = room
        # A failure here only makes the chains longer.
        _spread(self, (self.mask + 1) * 2)
    at = self.free_row
    self.free_row = self.rows[at].next
    bale_hold(bale)
    memcpy(self.rows[at].digest, record.digest, 16)
    self.rows[at].bale = bale
    self.rows[at].askers = 1
    self.rows[at].tasks = 0
    bucket = _bucket(self, record.digest)
    self.rows[at].next = self.buckets[bucket]
    self.buckets[bucket] = at
    self.used += 1
    return at


cdef bint bodies_release(BodyTable* self, int32_t row, uint32_t askers, uint32_t tasks) noexcept nogil:
    cdef BodyRow* body = &self.rows[row]
    cdef int32_t* link
    body.askers -= askers
    body.tasks -= tasks
    if body.askers or body.tasks:
        return False
    link = &self.buckets[_bucket(self, body.digest)]
    while link[0] != row:
        link = &self.rows[link[0]].next
    link[0] = body.next
    bale_drop(body.bale)
    body.bale = NULL
    body.next = self.free_row
    self.free_row = row
    self.used -= 1
    return True
