# SPDX-License-Identifier: BSD-3-Clause
"""See shares.pxd, the contents page."""
from libc.stdlib cimport realloc
from libc.string cimport memmove

from covey.broker.tables cimport WAITING, Lane, Pool, Share, TaskRow, tasks_push_back, tasks_push_front, tasks_remove


cdef inline double _virtual(const Scheduler* self, int32_t asker, int resource) noexcept nogil:
    return self.askers[asker].shares[resource].virtual


cdef void _rise(Scheduler* self, int resource, uint32_t at) noexcept nogil:
    cdef int32_t* heap = self.pools[resource].heap
    cdef int32_t moving = heap[at]
    cdef double virtual = _virtual(self, moving, resource)
    cdef uint32_t above
    while at > 0:
        above = (at - 1) >> 1
        if _virtual(self, heap[above], resource) <= virtual:
            break
        heap[at] = heap[above]
        self.askers[heap[at]].shares[resource].spot = <int32_t> at
        at = above
    heap[at] = moving
    self.askers[moving].shares[resource].spot = <int32_t> at


cdef void _sink(Scheduler* self, int resource, uint32_t at) noexcept nogil:
    cdef int32_t* heap = self.pools[resource].heap
    cdef uint32_t count = self.pools[resource].heap_length
    cdef int32_t moving = heap[at]
    cdef double virtual = _virtual(self, moving, resource)
    cdef uint32_t below
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and _virtual(self, heap[below + 1], resource) < _virtual(self, heap[below], resource):
            below += 1
        if virtual <= _virtual(self, heap[below], resource):
            break
        heap[at] = heap[below]
        self.askers[heap[at]].shares[resource].spot = <int32_t> at
        at = below
    heap[at] = moving
    self.askers[moving].shares[resource].spot = <int32_t> at


cdef void _enter(Scheduler* self, int32_t asker, int resource) noexcept nogil:
    cdef Pool* pool = &self.pools[resource]
    cdef Share* share = &self.askers[asker].shares[resource]
    if share.virtual < pool.virtual:
        share.virtual = pool.virtual
    pool.heap[pool.heap_length] = asker
    pool.heap_length += 1
    _rise(self, resource, pool.heap_length - 1)


cdef void _leave(Scheduler* self, int32_t asker, int resource) noexcept nogil:
    cdef Pool* pool = &self.pools[resource]
    cdef uint32_t at = <uint32_t> self.askers[asker].shares[resource].spot
    cdef int32_t last
    self.askers[asker].shares[resource].spot = -1
    pool.heap_length -= 1
    last = pool.heap[pool.heap_length]
    if at < pool.heap_length:
        pool.heap[at] = last
        _rise(self, resource, at)
        _sink(self, resource, <uint32_t> self.askers[last].shares[resource].spot)


# Where the lane of a priority is, or where it would be.
cdef uint32_t _lane_at(const Share* share, int priority) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = share.lane_count
    cdef uint32_t middle
    if high > 0 and share.lanes[high - 1].priority <= priority:
        return high - 1 if share.lanes[high - 1].priority == priority else high
    while low < high:
        middle = (low + high) >> 1
        if share.lanes[middle].priority < priority:
            low = middle + 1
        else:
            high = middle
    return low


cdef Lane* _lane(Share* share, int priority) noexcept nogil:
    cdef uint32_t at = _lane_at(share, priority)
    cdef Lane* lanes
    if at < share.lane_count and share.lanes[at].priority == priority:
        return &share.lanes[at]
    if share.lane_count == share.lane_room:
        lanes = <Lane*> realloc(share.lanes, (share.lane_room * 2 + 2) * sizeof(Lane))
        if lanes == NULL:
            return NULL
        share.lanes = lanes
        share.lane_room = share.lane_room * 2 + 2
    memmove(&share.lanes[at + 1], &share.lanes[at], (share.lane_count - at) * sizeof(Lane))
    share.lane_count += 1
    share.lanes[at].head = -1
    share.lanes[at].tail = -1
    share.lanes[at].priority = priority
    return &share.lanes[at]


# What is urgent and empty goes, so that the last lane has the next task. One lane is kept even so: a lane that
# empties and fills with every task should not be made anew each time.
cdef inline void _drop_empty(Share* share) noexcept nogil:
    while share.lane_count > 1 and share.lanes[share.lane_count - 1].head < 0:
        share.lane_count -= 1


cdef int share_add(Scheduler* self, int32_t task, bint front) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef Share* share = &self.askers[row.asker].shares[row.resource]
    cdef Lane* lane = _lane(share, row.priority)
    if lane == NULL:
        return -1
    if front:
        tasks_push_front(self.tasks, &lane.head, &lane.tail, task)
    else:
        tasks_push_back(self.tasks, &lane.head, &lane.tail, task)
    _drop_empty(share)
    row.state = WAITING
    share.waiting += 1
    self.pools[row.resource].waiting += 1
    if share.spot < 0:
        _enter(self, row.asker, row.resource)
    return 0


cdef void share_remove(Scheduler* self, int32_t task) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef Share* share = &self.askers[row.asker].shares[row.resource]
    cdef Lane* lane = &share.lanes[_lane_at(share, row.priority)]
    tasks_remove(self.tasks, &lane.head, &lane.tail, task)
    share.waiting -= 1
    self.pools[row.resource].waiting -= 1
    _drop_empty(share)
    if share.waiting == 0:
        _leave(self, row.asker, row.resource)


cdef int32_t share_first(Scheduler* self, int resource) noexcept nogil:
    cdef Pool* pool = &self.pools[resource]
    cdef Share* share
    if pool.heap_length == 0:
        return -1
    share = &self.askers[pool.heap[0]].shares[resource]
    if share.virtual > pool.virtual:
        pool.virtual = share.virtual
    return share.lanes[share.lane_count - 1].head


cdef void share_charge(Scheduler* self, int32_t asker, int resource, double ticks) noexcept nogil:
    cdef Share* share = &self.askers[asker].shares[resource]
    share.virtual += ticks * self.askers[asker].stride
    if share.spot >= 0:
        if ticks >= 0:
            _sink(self, resource, <uint32_t> share.spot)
        else:
            _rise(self, resource, <uint32_t> share.spot)
