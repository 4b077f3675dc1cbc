# SPDX-License-Identifier: BSD-3-Clause
"""See shares.pxd, the contents page."""
from libc.stdint cimport uint16_t
from libc.stdlib cimport realloc
from libc.string cimport memmove

from covey.broker.tables cimport (
    KINDS, MASKS, WAITING, AskerRow, Lane, Line, Pool, Share, TaskRow, Turn, served_by, tasks_push_back, tasks_push_front,
    tasks_remove)
from covey.wire.protocol cimport NEEDS_CPU


cdef inline double _virtual(const Scheduler* self, int32_t asker, int kind) noexcept nogil:
    return self.askers[asker].turns[kind].virtual


cdef void _rise(Scheduler* self, int kind, uint32_t at) noexcept nogil:
    cdef int32_t* heap = self.pools[kind].heap
    cdef int32_t moving = heap[at]
    cdef double virtual = _virtual(self, moving, kind)
    cdef uint32_t above
    while at > 0:
        above = (at - 1) >> 1
        if _virtual(self, heap[above], kind) <= virtual:
            break
        heap[at] = heap[above]
        self.askers[heap[at]].turns[kind].spot = <int32_t> at
        at = above
    heap[at] = moving
    self.askers[moving].turns[kind].spot = <int32_t> at


cdef void _sink(Scheduler* self, int kind, uint32_t at) noexcept nogil:
    cdef int32_t* heap = self.pools[kind].heap
    cdef uint32_t count = self.pools[kind].heap_length
    cdef int32_t moving = heap[at]
    cdef double virtual = _virtual(self, moving, kind)
    cdef uint32_t below
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and _virtual(self, heap[below + 1], kind) < _virtual(self, heap[below], kind):
            below += 1
        if virtual <= _virtual(self, heap[below], kind):
            break
        heap[at] = heap[below]
        self.askers[heap[at]].turns[kind].spot = <int32_t> at
        at = below
    heap[at] = moving
    self.askers[moving].turns[kind].spot = <int32_t> at


cdef void _enter(Scheduler* self, int32_t asker, int kind) noexcept nogil:
    cdef Pool* pool = &self.pools[kind]
    cdef Turn* turn = &self.askers[asker].turns[kind]
    if turn.virtual < pool.virtual:
        turn.virtual = pool.virtual
    pool.heap[pool.heap_length] = asker
    pool.heap_length += 1
    _rise(self, kind, pool.heap_length - 1)


cdef void _leave(Scheduler* self, int32_t asker, int kind) noexcept nogil:
    cdef Pool* pool = &self.pools[kind]
    cdef uint32_t at = <uint32_t> self.askers[asker].turns[kind].spot
    cdef int32_t last
    self.askers[asker].turns[kind].spot = -1
    pool.heap_length -= 1
    last = pool.heap[pool.heap_length]
    if at < pool.heap_length:
        pool.heap[at] = last
        _rise(self, kind, at)
        _sink(self, kind, <uint32_t> self.askers[last].turns[kind].spot)


# Where the lane of a priority is, or where it would be.
cdef uint32_t _lane_at(const Share* share, int priority) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = share.lane_count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) >> 1
        if share.lanes[middle].priority < priority:
            low = middle + 1
        else:
            high = middle
    return low


# The lane of that priority if it is the most urgent one, as it nearly always is; else NULL.
cdef inline Lane* _last_lane(Share* share, int priority) noexcept nogil:
    if share.lane_count and share.lanes[share.lane_count - 1].priority == priority:
        return &share.lanes[share.lane_count - 1]
    return NULL


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


# The asker has now, or no longer has, something waiting with these needs.
cdef void _turn_out(Scheduler* self, int32_t asker, int needs) noexcept nogil:
    cdef AskerRow* owner = &self.askers[asker]
    cdef int kind
    if owner.held:
        return
    for kind in range(KINDS):
        if needs >> kind & 1:
            if owner.turns[kind].spot < 0:
                _enter(self, asker, kind)
            elif not owner.wanted & served_by(kind):
                _leave(self, asker, kind)


cdef int share_add(Scheduler* self, int32_t task, bint front) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef AskerRow* owner = &self.askers[row.asker]
    cdef Share* share = &owner.shares[row.needs]
    cdef Lane* lane = _last_lane(share, row.priority)
    if lane == NULL:
        lane = _lane(share, row.priority)
    if lane == NULL:
        return -1
    if front:
        tasks_push_front(self.tasks, &lane.head, &lane.tail, task)
    else:
        tasks_push_back(self.tasks, &lane.head, &lane.tail, task)
    _drop_empty(share)
    row.state = WAITING
    share.waiting += 1
    self.lines[row.needs].waiting += 1
    if share.waiting == 1:
        self.wanted |= <uint16_t> (1 << row.needs)
        owner.wanted |= <uint16_t> (1 << row.needs)
        _turn_out(self, row.asker, row.needs)
    return 0


cdef void share_remove(Scheduler* self, int32_t task) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef AskerRow* owner = &self.askers[row.asker]
    cdef Share* share = &owner.shares[row.needs]
    cdef Line* line = &self.lines[row.needs]
    cdef Lane* lane = _last_lane(share, row.priority)
    if lane == NULL:
        lane = &share.lanes[_lane_at(share, row.priority)]
    tasks_remove(self.tasks, &lane.head, &lane.tail, task)
    share.waiting -= 1
    line.waiting -= 1
    _drop_empty(share)
    if share.waiting == 0:
        if line.waiting == 0:
            self.wanted &= <uint16_t> ~(1 << row.needs)
        owner.wanted &= <uint16_t> ~(1 << row.needs)
        _turn_out(self, row.asker, row.needs)


# Of the masks with something waiting, the one with the most urgent task; of equals the one of fewer kinds.
cdef int _mask_first(const AskerRow* owner, uint16_t wanted) noexcept nogil:
    cdef int first = 0
    cdef int priority = 0
    cdef int i, mask
    cdef const Share* share
    for i in range(1, MASKS):
        # 1, 2, 4, then 3, 5, 6, then 7, then 8.
        mask = 7 - i if i == 3 or i == 4 else i
        if wanted >> mask & 1:
            share = &owner.shares[mask]
            if first == 0 or share.lanes[share.lane_count - 1].priority > priority:
                first = mask
                priority = share.lanes[share.lane_count - 1].priority
    return first


cdef int32_t share_first(Scheduler* self, int kind) noexcept nogil:
    cdef Pool* pool = &self.pools[kind]
    cdef AskerRow* owner
    cdef Share* share
    cdef uint16_t wanted
    if pool.heap_length == 0:
        return -1
    owner = &self.askers[pool.heap[0]]
    if owner.turns[kind].virtual > pool.virtual:
        pool.virtual = owner.turns[kind].virtual
    wanted = owner.wanted & served_by(kind)
    # Nearly always all tasks are of one sort.
    share = &owner.shares[NEEDS_CPU if wanted == 1 << NEEDS_CPU else _mask_first(owner, wanted)]
    return share.lanes[share.lane_count - 1].head


cdef uint32_t share_waiting(const Scheduler* self, int kind) noexcept nogil:
    cdef uint32_t waiting = 0
    cdef int mask
    for mask in range(1, MASKS):
        if mask >> kind & 1:
            waiting += self.lines[mask].waiting
    return waiting


cdef void share_charge(Scheduler* self, int32_t asker, int kind, double ticks) noexcept nogil:
    cdef Turn* turn = &self.askers[asker].turns[kind]
    turn.virtual += ticks * self.askers[asker].stride
    if turn.spot >= 0 and self.pools[kind].heap_length > 1:
        if ticks >= 0:
            _sink(self, kind, <uint32_t> turn.spot)
        else:
            _rise(self, kind, <uint32_t> turn.spot)


cdef void share_hold(Scheduler* self, int32_t asker, bint held) noexcept nogil:
    cdef AskerRow* owner = &self.askers[asker]
    cdef int kind
    owner.held = held
    for kind in range(KINDS):
        if held and owner.turns[kind].spot >= 0:
            _leave(self, asker, kind)
        elif not held and owner.turns[kind].spot < 0 and owner.wanted & served_by(kind):
            _enter(self, asker, kind)
