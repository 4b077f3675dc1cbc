# SPDX-License-Identifier: BSD-3-Clause
"""See doers.pxd, the contents page."""
from libc.stdint cimport int64_t, uint8_t, uint64_t

from covey.broker.agenda cimport agenda_put, task_stamp
from covey.broker.orders cimport DISMISS, TAKE_BACK, Order
from covey.broker.tables cimport (
    ASKED, BEGUN, BY_DEVICE, BY_SHARE, CONDEMNED, CONFIRMED, DEEP, DISMISSED, DRAINING, EMPTY, GHOST, KEEPING,
    LONE, NOWHERE, PARTLY, QUEUED, RELAYS,
    RUNNING, SHRUNK, SINGLE, SLICED, SOLO, STALLED, STAYS, TICKS_A_SECOND, TIMED, TIMEOUT, DoerRow, Pool, TaskRow,
    kept_out, links_push_back,
    links_push_front, links_remove, order_new, task_free, tasks_push_back, tasks_push_front, tasks_remove, token_of,
    units_of)
from covey.wire.protocol cimport WHOLE_SHARE


cdef inline bint _fits(const DoerRow* holder, const TaskRow* row) noexcept nogil:
    if holder.counting == BY_SHARE:
        return (
            holder.running < holder.most and holder.units + units_of(row) <= <uint64_t> holder.capacity * WHOLE_SHARE)
    return holder.running < holder.capacity


cdef inline bint _overfull(const DoerRow* holder) noexcept nogil:
    if holder.counting == BY_SHARE:
        return holder.running > holder.most or holder.units > <uint64_t> holder.capacity * WHOLE_SHARE
    return holder.running > holder.capacity


# Something more runs there, or (-1) no longer does.
cdef inline void _count(Scheduler* self, DoerRow* holder, const TaskRow* row, int more) noexcept nogil:
    holder.running += <uint32_t> more
    if holder.counting == BY_SHARE:
        holder.units += <uint64_t> (<int64_t> more * units_of(row))
    elif holder.counting == BY_DEVICE:
        self.devices[holder.device].units += <uint32_t> (more * <int> units_of(row))


cdef inline void _begin(Scheduler* self, DoerRow* doer, int32_t task, double now) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    row.state = RUNNING
    row.start = now
    _count(self, doer, row, 1)
    doer.progress = now
    if row.timeout_ms and not row.marks & TIMED and not doer.marks & RELAYS:
        if agenda_put(self, now + row.timeout_ms * 1e-3, TIMEOUT, task, task_stamp(row)) == 0:
            row.marks |= TIMED
            self.timed += 1


cdef void doer_take(Scheduler* self, int32_t doer, int32_t task, double now) noexcept nogil:
    cdef DoerRow* holder = &self.doers[doer]
    cdef TaskRow* row = &self.tasks[task]
    tasks_push_back(self.tasks, &holder.head, &holder.tail, task)
    row.doer = doer
    row.marks &= STAYS
    holder.singles += row.marks & SINGLE != 0
    holder.assigned += 1
    holder.backlog += row.cost
    holder.bytes += row.cargo.length
    self.askers[row.asker].assigned += 1
    if _fits(holder, row) and holder.upcoming < 0:
        _begin(self, holder, task, now)
    else:
        row.state = QUEUED
        if holder.upcoming < 0:
            holder.upcoming = task
            holder.upcoming_needs = 0
        holder.upcoming_needs |= row.needs


cdef inline void _begin_upcoming(Scheduler* self, DoerRow* holder, double now) noexcept nogil:
    cdef int32_t following
    while holder.upcoming >= 0 and _fits(holder, &self.tasks[holder.upcoming]):
        following = holder.upcoming
        holder.upcoming = self.tasks[following].next
        _begin(self, holder, following, now)


cdef void doer_drop(Scheduler* self, int32_t task, double now) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef DoerRow* holder = &self.doers[row.doer]
    if holder.upcoming == task:
        holder.upcoming = row.next
    tasks_remove(self.tasks, &holder.head, &holder.tail, task)
    holder.assigned -= 1
    holder.backlog -= row.cost
    holder.bytes -= row.cargo.length
    if row.marks:
        if row.marks & ASKED:
            doer_answered(self, task)
        if row.marks & TIMED:
            self.timed -= 1
        holder.singles -= row.marks & SINGLE != 0
        row.marks &= STAYS
    if row.state != QUEUED:
        _count(self, holder, row, -1)
        holder.progress = now
        holder.marks &= <uint8_t> ~(STALLED | KEEPING)
        _begin_upcoming(self, holder, now)
    elif holder.counting:
        # What is the first to wait now may take less.
        _begin_upcoming(self, holder, now)
    if row.state == GHOST:
        holder.ghosts -= 1
    else:
        self.askers[row.asker].assigned -= 1
    if holder.assigned == 0:
        holder.marks &= <uint8_t> ~SOLO
    if self.loner == task:
        self.loner = -1
    row.doer = -1


cdef void doer_haunt(Scheduler* self, int32_t task) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    if row.marks & TIMED:
        row.marks &= <uint8_t> ~TIMED
        self.timed -= 1
    self.askers[row.asker].assigned -= 1
    self.doers[row.doer].ghosts += 1
    row.asker = -1
    row.state = GHOST


cdef void doer_lay_ghost(Scheduler* self, int32_t doer, double now) noexcept nogil:
    cdef int32_t at = self.doers[doer].head
    while at >= 0 and self.tasks[at].state != QUEUED:
        if self.tasks[at].state == GHOST:
            doer_drop(self, at, now)
            task_free(self, at)
            return
        at = self.tasks[at].next


# The last belief about what runs there was wrong, or has become so: it waits. A ghost is laid instead.
cdef void _doubt(Scheduler* self, DoerRow* holder, double now) noexcept nogil:
    cdef int32_t last = self.tasks[holder.upcoming].prev if holder.upcoming >= 0 else holder.tail
    if self.tasks[last].state == GHOST:
        doer_drop(self, last, now)
        task_free(self, last)
    else:
        self.tasks[last].state = QUEUED
        self.tasks[last].marks &= <uint8_t> ~CONFIRMED
        _count(self, holder, &self.tasks[last], -1)
        holder.upcoming = last
        holder.upcoming_needs |= self.tasks[last].needs


cdef void doer_begin_all(Scheduler* self, int32_t doer) noexcept nogil:
    cdef int32_t at = self.doers[doer].head
    while at >= 0:
        if self.tasks[at].marks & SINGLE:
            self.tasks[at].marks |= BEGUN
        at = self.tasks[at].next


cdef bint doer_doubts(const Scheduler* self, int32_t doer) noexcept nogil:
    cdef const DoerRow* holder = &self.doers[doer]
    cdef int32_t last = self.tasks[holder.upcoming].prev if holder.upcoming >= 0 else holder.tail
    return (
        holder.capacity > 1 and last >= 0 and self.tasks[last].state == RUNNING and not self.tasks[last].marks & CONFIRMED)


cdef void doer_confirm(Scheduler* self, int32_t task, double now) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef DoerRow* holder = &self.doers[row.doer]
    if row.marks & SINGLE:
        row.marks |= BEGUN
    # Those that are confirmed stand first, so that a belief that must go is found at the end of what runs.
    if holder.upcoming == task:
        holder.upcoming = row.next
    tasks_remove(self.tasks, &holder.head, &holder.tail, task)
    tasks_push_front(self.tasks, &holder.head, &holder.tail, task)
    if row.state == QUEUED:
        _begin(self, holder, task, now)
    elif not row.marks & CONFIRMED:
        row.start = now
    row.marks |= CONFIRMED
    while _overfull(holder):
        _doubt(self, holder, now)


cdef void doer_resize(Scheduler* self, int32_t doer, uint32_t capacity, uint32_t window, double now) noexcept nogil:
    cdef DoerRow* row = &self.doers[doer]
    cdef double quantum = self.limits.relay_quantum if row.marks & RELAYS else self.limits.quantum
    if not row.marks & (DRAINING | CONDEMNED):
        self.pools[row.kind].capacity += capacity
        self.pools[row.kind].capacity -= row.capacity
    row.capacity = capacity
    row.most = <uint64_t> capacity * self.limits.slots_per_gpu
    row.window = max(window, capacity) if capacity else 0
    row.room = <uint64_t> min(max(quantum * TICKS_A_SECOND * capacity, 0.0), 1e15)
    # Ghosts first: nobody waits for them.
    while _overfull(row) and row.ghosts:
        doer_lay_ghost(self, doer, now)
    while _overfull(row):
        _doubt(self, row, now)
    _begin_upcoming(self, row, now)
    row.marks |= SHRUNK


cdef void doer_bar(Scheduler* self, int32_t doer, int mark) noexcept nogil:
    cdef DoerRow* row = &self.doers[doer]
    if not row.marks & (DRAINING | CONDEMNED):
        if row.counting == BY_DEVICE:
            self.devices[row.device].able -= 1
            self.pools[row.kind].capacity -= self.devices[row.device].able == 0
        else:
            self.pools[row.kind].capacity -= row.capacity
    row.marks |= <uint8_t> mark


cdef int doer_ask(Scheduler* self, int32_t task) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef Order* order = order_new(self, TAKE_BACK)
    if order == NULL:
        return -1
    order.doer = row.doer
    order.asker = row.asker
    order.function = row.function
    order.token = token_of(row, task)
    order.ticket = row.ticket
    order.attempt = row.tries
    order.needs = row.needs
    order.share = row.share
    row.marks |= ASKED
    self.doers[row.doer].asked += 1
    self.lines[row.needs].asked += 1
    return 0


cdef void doer_answered(Scheduler* self, int32_t task) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    row.marks &= <uint8_t> ~ASKED
    self.doers[row.doer].asked -= 1
    self.lines[row.needs].asked -= 1


# Where a doer stands behind which nothing waits and whose places are counted by units.
cdef int _place_by_units(const Scheduler* self, const DoerRow* row) noexcept nogil:
    cdef uint64_t left
    if row.counting == BY_DEVICE:
        left = WHOLE_SHARE - self.devices[row.device].units
        return NOWHERE if row.assigned or left == 0 else EMPTY if left == WHOLE_SHARE else SLICED
    left = <uint64_t> row.capacity * WHOLE_SHARE - row.units if row.running < row.most else 0
    if row.assigned >= row.window:
        return NOWHERE
    if left >= WHOLE_SHARE:
        return PARTLY if row.assigned else EMPTY
    return SLICED if left else NOWHERE if row.marks & STALLED else LONE


cdef inline int _place_of(const Scheduler* self, const DoerRow* row, int32_t doer) noexcept nogil:
    if row.marks & (DRAINING | CONDEMNED | SOLO) or self.pools[row.kind].reserved == doer or kept_out(self, row):
        return NOWHERE
    if row.singles and not row.marks & RELAYS:
        # Its outcome would wait in the slot for that of the next, and be lost with it: then nobody could tell.
        return NOWHERE
    if row.assigned and row.bytes >= row.byte_room:
        return NOWHERE
    if row.counting and row.assigned == row.running:
        return _place_by_units(self, row)
    if row.assigned < row.capacity and not row.counting:
        return PARTLY if row.assigned else EMPTY
    # Without a capacity there is no window either.
    if row.assigned >= row.window or row.marks & STALLED:
        return NOWHERE
    if row.assigned == row.running:
        return LONE
    return DEEP if row.backlog < row.room else NOWHERE


cdef void _put(Scheduler* self, int32_t doer) noexcept nogil:
    cdef DoerRow* row = &self.doers[doer]
    cdef Pool* pool = &self.pools[row.kind]
    cdef int place = _place_of(self, row, doer)
    if place == row.place:
        return
    if row.place != NOWHERE:
        links_remove(self.place_links, &pool.places[row.place], doer)
    if place == EMPTY:
        # The last one to become empty is the warmest, here and there.
        links_push_front(self.place_links, &pool.places[EMPTY], doer)
    elif place != NOWHERE:
        links_push_back(self.place_links, &pool.places[place], doer)
    row.place = <uint8_t> place


cdef void doer_join_device(Scheduler* self, int32_t doer, int32_t device) noexcept nogil:
    cdef DoerRow* row = &self.doers[doer]
    links_push_back(self.device_links, &self.devices[device].doers, doer)
    self.pools[row.kind].capacity += self.devices[device].able == 0
    self.devices[device].able += 1
    row.counting = BY_DEVICE
    row.device = device
    row.capacity = 1
    row.window = 1


cdef void doer_settle_device(Scheduler* self, int32_t device) noexcept nogil:
    cdef int32_t doer = self.devices[device].doers.head
    while doer >= 0:
        _put(self, doer)
        doer = self.device_links[doer].next


cdef void doer_settle(Scheduler* self, int32_t doer, bint moved) noexcept nogil:
    cdef DoerRow* row = &self.doers[doer]
    cdef Pool* pool = &self.pools[row.kind]
    cdef bint laden = row.assigned > row.running and row.asked == 0 and not row.marks & (DRAINING | CONDEMNED | KEEPING)
    cdef Order* order
    if row.marks & (DRAINING | CONDEMNED | SHRUNK):
        if row.assigned <= row.window:
            row.marks &= <uint8_t> ~SHRUNK
        if pool.reserved == doer and (row.capacity == 0 or row.marks & (DRAINING | CONDEMNED)):
            pool.reserved = -1
    if row.counting == BY_DEVICE:
        doer_settle_device(self, row.device)
    else:
        _put(self, doer)
    if laden:
        if not row.laden:
            links_push_back(self.laden_links, &pool.laden, doer)
            row.laden = 1
        elif moved and pool.laden.tail != doer:
            links_remove(self.laden_links, &pool.laden, doer)
            links_push_back(self.laden_links, &pool.laden, doer)
    elif row.laden:
        links_remove(self.laden_links, &pool.laden, doer)
        row.laden = 0
    if row.marks & (DRAINING | DISMISSED) == DRAINING and row.assigned == 0:
        order = order_new(self, DISMISS)
        if order != NULL:
            order.doer = doer
            row.marks |= DISMISSED


cdef void doer_unlist(Scheduler* self, int32_t doer) noexcept nogil:
    cdef DoerRow* row = &self.doers[doer]
    cdef Pool* pool = &self.pools[row.kind]
    doer_bar(self, doer, CONDEMNED)
    if row.place != NOWHERE:
        links_remove(self.place_links, &pool.places[row.place], doer)
        row.place = NOWHERE
    if row.laden:
        links_remove(self.laden_links, &pool.laden, doer)
        row.laden = 0
    if pool.reserved == doer:
        pool.reserved = -1
    if row.counting == BY_DEVICE:
        links_remove(self.device_links, &self.devices[row.device].doers, doer)
