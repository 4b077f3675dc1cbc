# SPDX-License-Identifier: BSD-3-Clause
"""See decisions.pxd, the contents page."""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from covey.broker.agenda cimport agenda_drop, agenda_first, agenda_put, task_stamp
from covey.broker.doers cimport doer_ask, doer_settle, doer_take
from covey.broker.endings cimport doer_unload, task_stop, task_withdraw
from covey.broker.orders cimport ASSIGN, DISMISS, LEFT_LOST, Order
from covey.broker.shares cimport share_charge, share_first, share_remove
from covey.broker.tables cimport (
    CONDEMNED, DEEP, DISMISSED, EMPTY, LONE, NOWHERE, PARTLY, POOLS, RUNNING, SOLO, STALLED, TICKS_A_SECOND,
    TIMED, TIMEOUT, DoerRow, Due, Pool, TaskRow, links_push_back, links_remove, order_new, token_of)
from covey.wire.protocol cimport LOST, TIMED_OUT

cdef enum:
    LONGEST_RUN = 16            # tasks in a row for one busy doer; few, or two doers would not share a short burst
    LOOKS = 4                   # laden doers looked at for one that should give back


cdef inline uint32_t _estimate(const Scheduler* self, int32_t function) noexcept nogil:
    cdef uint32_t cost = self.functions[function].cost
    return cost if cost else self.first_cost


cdef inline double _since(const DoerRow* doer, double now) noexcept nogil:
    return now - doer.progress


cdef void _assign(Scheduler* self, int32_t task, int32_t doer, uint32_t cost, Order* order, double now) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    row.cost = cost
    row.attempt += 1
    if row.attempt == 0:
        row.attempt = 1
    share_charge(self, row.asker, row.resource, cost)
    doer_take(self, doer, task, now)
    self.decisions += 1
    order.doer = doer
    order.asker = row.asker
    order.function = row.function
    order.token = token_of(row, task)
    order.ticket = row.ticket
    order.cargo = row.cargo
    order.timeout_ms = row.timeout_ms
    order.attempt = row.attempt
    order.flags = row.flags
    order.crashes = row.crashes
    order.resource = row.resource
    order.retries = row.retries
    order.priority = row.priority
    doer_settle(self, doer, False)


cdef void _shut(Scheduler* self, int32_t doer) noexcept nogil:
    links_remove(self.place_links, &self.pools[self.doers[doer].resource].places[self.doers[doer].place], doer)
    self.doers[doer].place = NOWHERE


# A busy doer that may have a task of this cost behind what it has, or -1. One that is found full is shut
# until something ends there, so that each is found full once for each time it is opened.
cdef int32_t _busy_doer(Scheduler* self, Pool* pool, uint32_t cost, double now) noexcept nogil:
    cdef DoerRow* row
    cdef int32_t doer
    cdef uint32_t run
    while True:
        doer = pool.places[LONE].head
        if doer < 0:
            break
        row = &self.doers[doer]
        if _since(row, now) > self.limits.retract_after:
            row.marks |= STALLED
            _shut(self, doer)
            continue
        if cost <= self.lone_cost or row.backlog + cost <= row.room:
            return doer
        break
    while True:
        doer = pool.places[DEEP].head
        if doer < 0 or cost > self.doers[doer].room:
            return -1
        row = &self.doers[doer]
        if _since(row, now) > self.limits.retract_after:
            row.marks |= STALLED
        elif row.backlog + cost <= row.room:
            break
        _shut(self, doer)
    if pool.runner != doer:
        run = pool.waiting // (2 * pool.places[DEEP].length)
        if <uint64_t> run * cost * LONGEST_RUN > row.room:
            run = <uint32_t> (row.room // (<uint64_t> cost * LONGEST_RUN))
        pool.runner = doer
        pool.run_left = 1 if run == 0 else LONGEST_RUN if run > LONGEST_RUN else run
    return doer


cdef void _rotate(Scheduler* self, Pool* pool, int32_t doer) noexcept nogil:
    pool.run_left -= 1
    if pool.run_left > 0:
        return
    pool.runner = -1
    if self.doers[doer].place == DEEP and pool.places[DEEP].tail != doer:
        links_remove(self.place_links, &pool.places[DEEP], doer)
        links_push_back(self.place_links, &pool.places[DEEP], doer)


cdef void _give(Scheduler* self, int resource, double now) noexcept nogil:
    cdef Pool* pool = &self.pools[resource]
    cdef Order* order
    cdef uint32_t cost
    cdef int32_t task, doer
    while True:
        task = share_first(self, resource)
        if task < 0:
            return
        cost = _estimate(self, self.tasks[task].function)
        doer = pool.places[EMPTY].head
        if doer < 0:
            doer = pool.places[PARTLY].head
        if doer < 0:
            doer = _busy_doer(self, pool, cost, now)
            if doer < 0:
                return
        order = order_new(self, ASSIGN)
        if order == NULL:
            return
        share_remove(self, task)
        _assign(self, task, doer, cost, order, now)
        if pool.runner == doer:
            _rotate(self, pool, doer)
        elif self.doers[doer].place == PARTLY and pool.places[PARTLY].tail != doer:
            links_remove(self.place_links, &pool.places[PARTLY], doer)
            links_push_back(self.place_links, &pool.places[PARTLY], doer)


cdef void _reserve(Scheduler* self, Pool* pool) noexcept nogil:
    cdef int place
    for place in range(PARTLY, DEEP + 1):
        if pool.places[place].head >= 0:
            pool.reserved = pool.places[place].head
            doer_settle(self, pool.reserved, False)
            return


cdef void _give_suspects(Scheduler* self, int resource, double now) noexcept nogil:
    cdef Pool* pool = &self.pools[resource]
    cdef Order* order
    cdef int32_t task, doer
    while pool.suspects.head >= 0:
        doer = pool.places[EMPTY].head
        if pool.reserved >= 0 and self.doers[pool.reserved].assigned == 0:
            doer = pool.reserved
        if doer < 0:
            if pool.reserved < 0:
                _reserve(self, pool)
            return
        order = order_new(self, ASSIGN)
        if order == NULL:
            return
        if doer == pool.reserved:
            pool.reserved = -1
        task = pool.suspects.head
        task_withdraw(self, task)
        self.doers[doer].marks |= SOLO
        _assign(self, task, doer, _estimate(self, self.tasks[task].function), order, now)
    if pool.reserved >= 0:
        doer = pool.reserved
        pool.reserved = -1
        doer_settle(self, doer, False)


# Places that are free and have nothing to come: neither waiting here nor on its way back.
cdef int64_t _wanting(const Pool* pool) noexcept nogil:
    if pool.waiting or pool.suspects.length:
        return 0
    return <int64_t> pool.places[EMPTY].length + pool.places[PARTLY].length - pool.asked


# Whether what waits at the doer has waited too long, or is going to.
cdef bint _overdue(const Scheduler* self, const DoerRow* row, double now) noexcept nogil:
    cdef double still
    if _since(row, now) >= self.limits.retract_after:
        return True
    still = <double> (row.backlog - self.tasks[row.tail].cost) / TICKS_A_SECOND / row.capacity - _since(row, now)
    return still > self.limits.retract_after


cdef void _take_back(Scheduler* self, int resource, double now) noexcept nogil:
    cdef Pool* pool = &self.pools[resource]
    cdef DoerRow* row
    cdef int32_t doer = pool.laden.head
    cdef int32_t following, task
    cdef uint32_t count
    cdef int looks = LOOKS
    while doer >= 0 and looks > 0 and _wanting(pool) > 0:
        looks -= 1
        following = self.laden_links[doer].next
        row = &self.doers[doer]
        if _overdue(self, row, now):
            count = (row.assigned - row.running + 1) >> 1
            task = row.tail
            while count > 0 and doer_ask(self, task) == 0:
                self.retracted += 1
                count -= 1
                task = self.tasks[task].prev
            row.marks |= STALLED
            doer_settle(self, doer, False)
            looks = LOOKS
        doer = following


cdef void _judge(Scheduler* self, double now) noexcept nogil:
    cdef Due due
    cdef Due* first
    cdef TaskRow* row
    cdef DoerRow* doer
    cdef Order* order
    cdef double end
    while True:
        first = agenda_first(self)
        if first == NULL or first.when > now:
            return
        due = first[0]
        agenda_drop(self)
        if due.kind == TIMEOUT:
            row = &self.tasks[due.index]
            row.marks &= <uint8_t> ~TIMED
            self.timed -= 1
            if row.state != RUNNING:
                continue
            end = row.start + row.timeout_ms * 1e-3
            if end > now:
                if agenda_put(self, end, TIMEOUT, due.index, task_stamp(row)) == 0:
                    row.marks |= TIMED
                    self.timed += 1
            else:
                task_stop(self, due.index, TIMED_OUT, now)
            continue
        doer = &self.doers[due.index]
        end = doer.heard + self.paused + self.limits.lease
        if end > now:
            agenda_put(self, end, due.kind, due.index, due.stamp)
            continue
        if doer.marks & DISMISSED:
            continue
        order = order_new(self, DISMISS)
        if order == NULL:
            continue
        order.doer = due.index
        order.status = LOST
        doer.marks |= CONDEMNED | DISMISSED
        doer_unload(self, due.index, LEFT_LOST, now)
        doer_settle(self, due.index, True)


cdef void decisions_take(Scheduler* self, double now) noexcept nogil:
    cdef int resource
    if self.tick >= 0 and self.limits.pause > 0 and now - self.tick > self.limits.pause:
        self.paused += now - self.tick
    self.tick = now
    _judge(self, now)
    for resource in range(POOLS):
        if self.pools[resource].suspects.head >= 0 or self.pools[resource].reserved >= 0:
            _give_suspects(self, resource, now)
        if self.pools[resource].waiting:
            _give(self, resource, now)
        if self.pools[resource].laden.head >= 0:
            _take_back(self, resource, now)


cdef double decisions_next_time(Scheduler* self, double now) noexcept nogil:
    cdef double soonest = INFINITY
    cdef double when
    cdef Due* first = agenda_first(self)
    cdef Pool* pool
    cdef int resource
    if first != NULL:
        soonest = first.when
    for resource in range(POOLS):
        pool = &self.pools[resource]
        if pool.laden.head >= 0 and _wanting(pool) > 0:
            when = self.doers[pool.laden.head].progress + self.limits.retract_after
            soonest = min(soonest, when)
    # Only who looks often can tell a long silence of the others from one of its own.
    if self.limits.pause > 0 and 0 < self.limits.lease < INFINITY and self.doer_count > 0 and self.tick >= 0:
        soonest = min(soonest, self.tick + self.limits.pause * 0.5)
    return soonest
