# SPDX-License-Identifier: BSD-3-Clause
"""See validate.pxd, the contents page."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from covey.broker.agenda cimport task_stamp
from covey.broker.tables cimport (
    ASKED, CONDEMNED, DEEP, DRAINING, EMPTY, FREE, GHOST, KEEPING, LEASE, LONE, NOWHERE, PARTLY, PLACES, QUEUED, POOLS,
    SOLO, STALLED, SUSPECT, TIMED, TIMEOUT, WAITING, AskerRow, DoerRow, Due, Lane, List, Pool, Share, TaskRow,
    asker_known, doer_known)
from covey.broker.tickets cimport ticket_count, ticket_find


# Rows in the list if it is linked both ways and all of it is in `state` and of the resource; else -1.
cdef int64_t _walk(const Scheduler* self, int32_t head, int32_t tail, int state, int resource) noexcept nogil:
    cdef int64_t count = 0
    cdef int32_t before = -1
    cdef int32_t at = head
    while at >= 0:
        if count > self.task_count or self.tasks[at].prev != before:
            return -1
        if self.tasks[at].state != state or self.tasks[at].resource != resource:
            return -1
        count += 1
        before = at
        at = self.tasks[at].next
    return count if before == tail else -1


cdef int _tasks(const Scheduler* self) noexcept nogil:
    cdef uint32_t freed = 0
    cdef uint32_t live = 0
    cdef uint32_t filed = 0
    cdef uint32_t timed = 0
    cdef uint32_t i
    cdef int32_t at = self.task_free
    cdef const TaskRow* row
    while at >= 0:
        if freed > self.task_used or self.tasks[at].state != FREE:
            return 1
        freed += 1
        at = self.tasks[at].chain
    for i in range(self.task_used):
        row = &self.tasks[i]
        if row.state == FREE:
            continue
        live += 1
        if row.state > GHOST or (row.doer >= 0) != (row.state >= QUEUED):
            return 1
        if (row.asker < 0) != (row.state == GHOST) or (row.asker >= 0 and not asker_known(self, row.asker)):
            return 16
        if row.doer >= 0 and not doer_known(self, row.doer):
            return 7
        timed += (row.marks & TIMED) != 0
        if row.state != GHOST:
            filed += 1
            if ticket_find(self, row.asker, row.ticket) != <int32_t> i:
                return 2
    if live != self.task_count or live + freed != self.task_used:
        return 1
    if ticket_count(self) != filed:
        return 2
    return 0 if timed == self.timed else 14


cdef int _share(const Scheduler* self, int32_t asker, int resource, uint32_t* waiting) noexcept nogil:
    cdef const Share* share = &self.askers[asker].shares[resource]
    cdef const Lane* lane
    cdef uint32_t i
    cdef int64_t count
    cdef int32_t at
    waiting[0] = 0
    for i in range(share.lane_count):
        lane = &share.lanes[i]
        if i > 0 and lane.priority <= share.lanes[i - 1].priority:
            return 3
        count = _walk(self, lane.head, lane.tail, WAITING, resource)
        if count < 0:
            return 3
        at = lane.head
        while at >= 0:
            if self.tasks[at].asker != asker or self.tasks[at].priority != lane.priority:
                return 3
            at = self.tasks[at].next
        waiting[0] += <uint32_t> count
    if waiting[0] != share.waiting:
        return 4
    if share.waiting and share.lanes[share.lane_count - 1].head < 0:
        return 3
    return 5 if (share.spot >= 0) != (share.waiting > 0) else 0


cdef int _pool(const Scheduler* self, int resource, uint64_t* placed) noexcept nogil:
    cdef const Pool* pool = &self.pools[resource]
    cdef uint32_t waiting, i
    cdef uint32_t total = 0
    cdef uint32_t askers = 0
    cdef double above
    cdef int wrong
    for i in range(self.asker_used):
        if not self.askers[i].alive:
            continue
        wrong = _share(self, <int32_t> i, resource, &waiting)
        if wrong:
            return wrong
        total += waiting
        askers += waiting > 0
    if total != pool.waiting:
        return 4
    if askers != pool.heap_length:
        return 5
    for i in range(pool.heap_length):
        if self.askers[pool.heap[i]].shares[resource].spot != <int32_t> i:
            return 5
        above = self.askers[pool.heap[(i - 1) >> 1 if i else 0]].shares[resource].virtual
        if above > self.askers[pool.heap[i]].shares[resource].virtual:
            return 5
    if _walk(self, pool.suspects.head, pool.suspects.tail, SUSPECT, resource) != pool.suspects.length:
        return 6
    placed[0] += total + pool.suspects.length
    if pool.reserved >= 0:
        if not doer_known(self, pool.reserved) or self.doers[pool.reserved].resource != resource:
            return 15
        if self.doers[pool.reserved].marks & (DRAINING | CONDEMNED):
            return 15
    return 0


cdef int _queue(const Scheduler* self, int32_t doer) noexcept nogil:
    cdef const DoerRow* row = &self.doers[doer]
    cdef const TaskRow* task
    cdef uint32_t assigned = 0
    cdef uint32_t running = 0
    cdef uint32_t ghosts = 0
    cdef uint32_t asked = 0
    cdef uint64_t backlog = 0
    cdef int32_t before = -1
    cdef int32_t upcoming = -1
    cdef int32_t at = row.head
    while at >= 0:
        task = &self.tasks[at]
        if assigned > self.task_count or task.prev != before or task.doer != doer or task.state < QUEUED:
            return 8
        if task.resource != row.resource:
            return 8
        if task.state == QUEUED:
            if upcoming < 0:
                upcoming = at
        elif upcoming >= 0:
            return 8
        else:
            running += 1
        ghosts += task.state == GHOST
        asked += (task.marks & ASKED) != 0
        assigned += 1
        backlog += task.cost
        before = at
        at = task.next
    if before != row.tail or upcoming != row.upcoming or (upcoming >= 0 and running < row.capacity):
        return 8
    if assigned != row.assigned or running != row.running or ghosts != row.ghosts or asked != row.asked:
        return 9
    if backlog != row.backlog or running > row.capacity or assigned > row.window:
        return 9
    if row.marks & SOLO and assigned != 1:
        return 15
    return 0


cdef bint _stands(const Scheduler* self, int32_t doer) noexcept nogil:
    cdef const DoerRow* row = &self.doers[doer]
    cdef bint barred = (
        row.marks & (DRAINING | CONDEMNED | SOLO) != 0 or self.pools[row.resource].reserved == doer)
    if barred:
        return row.place == NOWHERE
    if row.assigned == 0:
        return row.place == EMPTY
    if row.assigned < row.capacity:
        return row.place == PARTLY
    if row.assigned >= row.window or row.marks & STALLED:
        return row.place == NOWHERE
    if row.assigned == row.running:
        return row.place == LONE
    # One that was found full for some task is shut until something ends there.
    return row.place == NOWHERE or (row.place == DEEP and row.backlog < row.room)


cdef int _listed(const Scheduler* self) noexcept nogil:
    cdef const List* list
    cdef const DoerRow* row
    cdef uint32_t placed = 0
    cdef uint32_t laden = 0
    cdef uint32_t count, i
    cdef int32_t at, before
    cdef int resource, place
    for resource in range(POOLS):
        for place in range(PLACES):
            list = &self.pools[resource].places[place]
            count = 0
            before = -1
            at = list.head
            while at >= 0:
                row = &self.doers[at]
                if not row.alive or row.place != place or row.resource != resource or count > self.doer_count:
                    return 10
                if self.place_links[at].prev != before:
                    return 10
                count += 1
                before = at
                at = self.place_links[at].next
            if before != list.tail or count != list.length or (place == NOWHERE and count):
                return 10
            placed += count
        list = &self.pools[resource].laden
        count = 0
        before = -1
        at = list.head
        while at >= 0:
            row = &self.doers[at]
            if not row.alive or not row.laden or row.resource != resource or count > self.doer_count:
                return 11
            if self.laden_links[at].prev != before:
                return 11
            count += 1
            before = at
            at = self.laden_links[at].next
        if before != list.tail or count != list.length:
            return 11
        laden += count
    for i in range(self.doer_used):
        row = &self.doers[i]
        if row.alive:
            placed -= row.place != NOWHERE
            laden -= row.laden
            if not _stands(self, <int32_t> i):
                return 10
            if row.laden != (
                    row.assigned > row.running and row.asked == 0
                    and not row.marks & (DRAINING | CONDEMNED | KEEPING)):
                return 11
    return 10 if placed else 11 if laden else 0


cdef int _books(const Scheduler* self) noexcept nogil:
    cdef const AskerRow* owner
    cdef const TaskRow* row
    cdef uint32_t a, i, unfinished, assigned
    cdef uint64_t size
    for a in range(self.asker_used):
        owner = &self.askers[a]
        if not owner.alive:
            continue
        unfinished = 0
        assigned = 0
        size = 0
        for i in range(self.task_used):
            row = &self.tasks[i]
            if row.state != FREE and row.asker == <int32_t> a:
                unfinished += 1
                assigned += row.doer >= 0
                size += row.cargo.length
        if unfinished != owner.unfinished or assigned != owner.assigned or size != owner.bytes:
            return 12
        if unfinished > 1 and (unfinished > self.limits.credit_tasks or size > self.limits.credit_bytes):
            return 12
    return 0


cdef int _agenda(const Scheduler* self) noexcept nogil:
    cdef const Due* due
    cdef const TaskRow* row
    cdef uint32_t timed = 0
    cdef uint32_t i
    for i in range(self.due_count):
        due = &self.dues[i]
        if i and self.dues[(i - 1) >> 1].when > due.when:
            return 14
        if due.kind == TIMEOUT:
            row = &self.tasks[due.index]
            timed += (row.marks & TIMED) != 0 and task_stamp(row) == due.stamp
        elif due.kind != LEASE:
            return 14
    return 0 if timed == self.timed else 14


cdef int validate(const Scheduler* self) noexcept nogil:
    cdef uint64_t placed = 0
    cdef uint32_t asked[POOLS]
    cdef uint32_t i
    cdef int resource
    cdef int wrong = _tasks(self)
    if wrong:
        return wrong
    for resource in range(POOLS):
        asked[resource] = 0
        wrong = _pool(self, resource, &placed)
        if wrong:
            return wrong
    for i in range(self.doer_used):
        if self.doers[i].alive:
            wrong = _queue(self, <int32_t> i)
            if wrong:
                return wrong
            placed += self.doers[i].assigned
            asked[self.doers[i].resource] += self.doers[i].asked
    # Lanes, suspects and queues hold rows of different states, so nothing stands in two; all of them hold all.
    if placed != self.task_count:
        return 7
    for resource in range(POOLS):
        if asked[resource] != self.pools[resource].asked:
            return 13
    wrong = _listed(self)
    if wrong:
        return wrong
    wrong = _books(self)
    return wrong if wrong else _agenda(self)
