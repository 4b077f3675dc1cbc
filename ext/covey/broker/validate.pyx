# SPDX-License-Identifier: BSD-3-Clause
"""See validate.pxd, the contents page."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from covey.broker.agenda cimport task_stamp
from covey.broker.tables cimport (
    ALONE, ASKED, BEGUN, BY_DEVICE, BY_SHARE, CONDEMNED, DEEP, DRAINING, EMPTY, FREE, GHOST, HUNGRY, KEEPING, KINDS, LEASE,
    LONE, MASKS, NOWHERE, PARTLY, PLACES, QUEUED, RELAYS, REST, RESTING, SHRUNK, SINGLE, SLICED, SOLO, STALLED, STAYS, SUSPECT,
    TIMED, TIMEOUT, WAITING, WANTED, AskerRow, DoerRow, Device, Due, Lane, Line, List, Pool, Share, TaskRow, asker_known,
    doer_known, has_rests, kept_out, try_of, units_of)
from covey.wire.protocol cimport GPU, WHOLE_SHARE
from covey.broker.tickets cimport ticket_count, ticket_find


# Rows in the list if it is linked both ways and all of it is in `state` and has these needs; else -1.
cdef int64_t _walk(const Scheduler* self, int32_t head, int32_t tail, int state, int needs) noexcept nogil:
    cdef int64_t count = 0
    cdef int32_t before = -1
    cdef int32_t at = head
    while at >= 0:
        if count > self.task_count or self.tasks[at].prev != before:
            return -1
        if self.tasks[at].state != state or self.tasks[at].needs != needs:
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
        if row.marks & WANTED and (not row.marks & ASKED or row.state == GHOST):
            return 17
        if row.marks & ~STAYS and row.state < QUEUED:
            return 17
        if row.marks & BEGUN and not row.marks & SINGLE:
            return 17
        if row.marks & HUNGRY and try_of(self, <int32_t> i) == NULL:
            return 21
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


cdef int _share(const Scheduler* self, int32_t asker, int needs, uint32_t* waiting) noexcept nogil:
    cdef const Share* share = &self.askers[asker].shares[needs]
    cdef const Lane* lane
    cdef uint32_t i
    cdef int64_t count
    cdef int32_t at
    waiting[0] = 0
    for i in range(share.lane_count):
        lane = &share.lanes[i]
        if i > 0 and lane.priority <= share.lanes[i - 1].priority:
            return 3
        count = _walk(self, lane.head, lane.tail, WAITING, needs)
        if count < 0:
            return 3
        at = lane.head
        while at >= 0:
            if self.tasks[at].asker != asker or self.tasks[at].priority != lane.priority:
                return 3
            at = self.tasks[at].next
        waiting[0] += <uint32_t> count
    if waiting[0] != share.waiting or (self.askers[asker].wanted >> needs & 1) != (waiting[0] > 0):
        return 4
    return 3 if share.waiting and share.lanes[share.lane_count - 1].head < 0 else 0


# All that waits with these needs, and which kinds of doers have something to do for each asker because of that.
cdef int _line(const Scheduler* self, int needs, uint64_t* placed) noexcept nogil:
    cdef const Line* line = &self.lines[needs]
    cdef uint32_t waiting, i
    cdef uint32_t total = 0
    cdef uint32_t asked = 0
    cdef int wrong
    for i in range(self.asker_used):
        if not self.askers[i].alive:
            continue
        wrong = _share(self, <int32_t> i, needs, &waiting)
        if wrong:
            return wrong
        total += waiting
    if total != line.waiting or (self.wanted >> needs & 1) != (total > 0):
        return 4
    if _walk(self, line.suspects.head, line.suspects.tail, SUSPECT, needs) != line.suspects.length:
        return 6
    if (self.suspected >> needs & 1) != (line.suspects.length > 0):
        return 6
    for i in range(self.task_used):
        asked += self.tasks[i].state >= QUEUED and self.tasks[i].needs == needs and self.tasks[i].marks & ASKED != 0
    placed[0] += total + line.suspects.length
    return 0 if asked == line.asked else 13


cdef int _pool(const Scheduler* self, int kind) noexcept nogil:
    cdef const Pool* pool = &self.pools[kind]
    cdef const DoerRow* row
    cdef uint32_t i
    cdef uint32_t askers = 0
    cdef uint64_t capacity = 0
    cdef double above
    cdef bint wants
    cdef int mask
    for i in range(self.asker_used):
        if not self.askers[i].alive:
            continue
        wants = False
        for mask in range(1, MASKS):
            wants = wants or (mask >> kind & 1 and self.askers[i].shares[mask].waiting > 0)
        wants = wants and not self.askers[i].held
        askers += wants
        if wants != (self.askers[i].turns[kind].spot >= 0):
            return 5
    if askers != pool.heap_length:
        return 5
    for i in range(pool.heap_length):
        if self.askers[pool.heap[i]].turns[kind].spot != <int32_t> i:
            return 5
        above = self.askers[pool.heap[(i - 1) >> 1 if i else 0]].turns[kind].virtual
        if above > self.askers[pool.heap[i]].turns[kind].virtual:
            return 5
    if pool.reserved >= 0:
        if not doer_known(self, pool.reserved):
            return 15
        row = &self.doers[pool.reserved]
        if row.kind != kind or row.capacity == 0 or row.marks & (DRAINING | CONDEMNED):
            return 15
    for i in range(self.doer_used):
        row = &self.doers[i]
        if row.alive and row.kind == kind and not row.marks & (DRAINING | CONDEMNED) and row.counting != BY_DEVICE:
            capacity += row.capacity
    if kind == GPU:
        for i in range(self.device_room):
            capacity += self.devices[i].able > 0
    return 0 if capacity == pool.capacity else 18


cdef int _queue(const Scheduler* self, int32_t doer) noexcept nogil:
    cdef const DoerRow* row = &self.doers[doer]
    cdef const TaskRow* task
    cdef uint32_t assigned = 0
    cdef uint32_t running = 0
    cdef uint32_t ghosts = 0
    cdef uint32_t asked = 0
    cdef uint32_t singles = 0
    cdef uint64_t backlog = 0
    cdef uint64_t bytes = 0
    cdef uint64_t units = 0
    cdef int32_t before = -1
    cdef int32_t upcoming = -1
    cdef int32_t at = row.head
    while at >= 0:
        task = &self.tasks[at]
        if assigned > self.task_count or task.prev != before or task.doer != doer or task.state < QUEUED:
            return 8
        if not task.needs >> row.kind & 1:
            return 8
        if row.marks & RELAYS and task.marks & TIMED:
            return 14
        if task.state == QUEUED:
            if task.needs & ~row.upcoming_needs:
                return 11
            if upcoming < 0:
                upcoming = at
        elif upcoming >= 0:
            return 8
        else:
            running += 1
            units += units_of(task)
        ghosts += task.state == GHOST
        asked += (task.marks & ASKED) != 0
        singles += (task.marks & SINGLE) != 0
        assigned += 1
        backlog += task.cost
        bytes += task.cargo.length
        before = at
        at = task.next
    if before != row.tail or upcoming != row.upcoming:
        return 8
    if row.counting == BY_SHARE:
        if units != row.units or units > <uint64_t> row.capacity * WHOLE_SHARE or running > row.most:
            return 19
        if row.most != <uint64_t> row.capacity * self.limits.slots_per_gpu:
            return 19
        if upcoming >= 0 and running < row.most and (
                units + units_of(&self.tasks[upcoming]) <= <uint64_t> row.capacity * WHOLE_SHARE):
            return 8
    elif running > row.capacity or (upcoming >= 0 and running < row.capacity):
        return 8
    if row.counting == BY_DEVICE and (row.capacity != 1 or row.window != 1 or upcoming >= 0):
        return 19
    if assigned != row.assigned or running != row.running or ghosts != row.ghosts or asked != row.asked:
        return 9
    if backlog != row.backlog or bytes != row.bytes or singles != row.singles:
        return 9
    if (assigned > row.window) != (row.marks & SHRUNK != 0):
        return 9
    if row.marks & SOLO and (assigned != 1 or row.marks & RELAYS):
        return 15
    if singles > 1 and not row.marks & RELAYS:
        return 15
    return 0


cdef bint _stands(const Scheduler* self, int32_t doer) noexcept nogil:
    cdef const DoerRow* row = &self.doers[doer]
    cdef uint64_t left
    cdef bint barred = (
        row.marks & (DRAINING | CONDEMNED | SOLO) != 0 or row.capacity == 0 or self.pools[row.kind].reserved == doer
        or kept_out(self, row) or (row.assigned > 0 and row.bytes >= row.byte_room)
        or (row.singles > 0 and not row.marks & RELAYS))
    if barred:
        return row.place == NOWHERE
    if row.counting == BY_DEVICE:
        left = WHOLE_SHARE - self.devices[row.device].units
        return row.place == (NOWHERE if row.assigned or not left else EMPTY if left == WHOLE_SHARE else SLICED)
    if row.counting == BY_SHARE and row.assigned == row.running and row.assigned < row.window:
        left = <uint64_t> row.capacity * WHOLE_SHARE - row.units if row.running < row.most else 0
        if 0 < left < WHOLE_SHARE:
            return row.place == SLICED
        if left:
            return row.place == (PARTLY if row.assigned else EMPTY)
        return row.place == LONE or (row.place == NOWHERE and row.marks & STALLED != 0)
    if row.assigned == 0:
        return row.place == EMPTY
    if row.assigned < row.capacity and not row.counting:
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
    cdef int kind, place
    for kind in range(KINDS):
        for place in range(PLACES):
            list = &self.pools[kind].places[place]
            count = 0
            before = -1
            at = list.head
            while at >= 0:
                row = &self.doers[at]
                if not row.alive or row.place != place or row.kind != kind or count > self.doer_count:
                    return 10
                if self.place_links[at].prev != before:
                    return 10
                count += 1
                before = at
                at = self.place_links[at].next
            if before != list.tail or count != list.length or (place == NOWHERE and count):
                return 10
            placed += count
        list = &self.pools[kind].laden
        count = 0
        before = -1
        at = list.head
        while at >= 0:
            row = &self.doers[at]
            if not row.alive or not row.laden or row.kind != kind or count > self.doer_count:
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
    cdef uint32_t away = 0
    cdef uint64_t size
    for a in range(self.asker_used):
        owner = &self.askers[a]
        if not owner.alive:
            continue
        away += owner.away
        if owner.away and owner.wanted:
            return 20
        unfinished = 0
        assigned = 0
        size = 0
        for i in range(self.task_used):
            row = &self.tasks[i]
            if row.state != FREE and row.asker == <int32_t> a:
                if owner.away and (row.doer < 0 or row.marks & WANTED):
                    return 20
                unfinished += 1
                assigned += row.doer >= 0
                size += row.cargo.length
        if unfinished != owner.unfinished or assigned != owner.assigned or size != owner.bytes:
            return 12
        if unfinished > 1 and (unfinished > self.limits.credit_tasks or size > owner.byte_credit):
            return 12
    return 0 if away == self.away_count else 20


cdef int _resting(const Scheduler* self) noexcept nogil:
    cdef uint32_t count = 0
    cdef int32_t before = -1
    cdef int32_t at = self.resting.head
    while at >= 0:
        if count > self.task_count or self.tasks[at].prev != before or self.tasks[at].state != RESTING:
            return 6
        if not has_rests(self, at):
            return 6
        count += 1
        before = at
        at = self.tasks[at].next
    return 0 if before == self.resting.tail and count == self.resting.length else 6


cdef int _agenda(const Scheduler* self) noexcept nogil:
    cdef const Due* due
    cdef const TaskRow* row
    cdef uint32_t timed = 0
    cdef uint32_t resting = 0
    cdef uint32_t i
    for i in range(self.due_count):
        due = &self.dues[i]
        if i and self.dues[(i - 1) >> 1].when > due.when:
            return 14
        if due.kind == TIMEOUT:
            row = &self.tasks[due.index]
            timed += (row.marks & TIMED) != 0 and task_stamp(row) == due.stamp
        elif due.kind == REST:
            row = &self.tasks[due.index]
            resting += row.state == RESTING and task_stamp(row) == due.stamp
        elif due.kind != LEASE:
            return 14
    if resting != self.resting.length:
        return 6
    return 0 if timed == self.timed else 14


# Every device: which slots are on it, and what they run.
cdef int _devices(const Scheduler* self) noexcept nogil:
    cdef const Device* device
    cdef uint32_t d, i, count, units, able
    cdef int32_t at
    for d in range(self.device_room):
        device = &self.devices[d]
        count = 0
        units = 0
        able = 0
        for i in range(self.doer_used):
            if self.doers[i].alive and self.doers[i].counting == BY_DEVICE and self.doers[i].device == <int32_t> d:
                count += 1
                able += not self.doers[i].marks & (DRAINING | CONDEMNED)
                if self.doers[i].assigned:
                    units += units_of(&self.tasks[self.doers[i].head])
        if units != device.units or units > WHOLE_SHARE or able != device.able or count != device.doers.length:
            return 19
        at = device.doers.head
        while at >= 0 and count > 0:
            if not self.doers[at].alive or self.doers[at].device != <int32_t> d:
                return 19
            count -= 1
            at = self.device_links[at].next
        if at >= 0 or count > 0:
            return 19
    return 0


# Those who wait for the whole machine, and the one that has it.
cdef int _solitude(const Scheduler* self, uint64_t* placed) noexcept nogil:
    cdef uint32_t count = 0
    cdef uint32_t i
    cdef int32_t before = -1
    cdef int32_t at = self.hungry.head
    while at >= 0:
        if count > self.task_count or self.tasks[at].prev != before:
            return 21
        if self.tasks[at].state != SUSPECT or not self.tasks[at].marks & HUNGRY:
            return 21
        count += 1
        before = at
        at = self.tasks[at].next
    if before != self.hungry.tail or count != self.hungry.length:
        return 21
    placed[0] += count
    if self.loner < 0:
        return 0
    if self.solitude != ALONE or not self.tasks[self.loner].marks & HUNGRY:
        return 21
    for i in range(self.doer_used):
        if self.doers[i].alive and not self.doers[i].marks & RELAYS and self.doers[i].assigned > self.doers[i].ghosts and (
                self.tasks[self.loner].doer != <int32_t> i or self.doers[i].assigned != 1):
            return 21
    return 0


cdef int validate(const Scheduler* self) noexcept nogil:
    cdef uint64_t placed = 0
    cdef uint32_t i
    cdef int k
    cdef int wrong = _tasks(self)
    if wrong:
        return wrong
    wrong = _resting(self)
    if wrong:
        return wrong
    placed = self.resting.length
    for k in range(1, MASKS):
        wrong = _line(self, k, &placed)
        if wrong:
            return wrong
    wrong = _solitude(self, &placed)
    if wrong:
        return wrong
    for k in range(KINDS):
        wrong = _pool(self, k)
        if wrong:
            return wrong
    for i in range(self.doer_used):
        if self.doers[i].alive:
            wrong = _queue(self, <int32_t> i)
            if wrong:
                return wrong
            placed += self.doers[i].assigned
    # Lanes, suspects and queues hold rows of different states, so nothing stands in two; all of them hold all.
    if placed != self.task_count:
        return 7
    wrong = _listed(self)
    if wrong:
        return wrong
    wrong = _devices(self)
    if wrong:
        return wrong
    wrong = _books(self)
    return wrong if wrong else _agenda(self)
