# SPDX-License-Identifier: BSD-3-Clause
"""See decisions.pxd, the contents page."""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from covey.broker.agenda cimport agenda_drop, agenda_first, agenda_put, task_stamp
from covey.broker.doers cimport doer_ask, doer_bar, doer_settle, doer_take
from covey.broker.endings cimport doer_unload, task_return, task_stop, task_withdraw
from covey.broker.orders cimport ASSIGN, DISMISS, LEFT_LOST, Order
from covey.broker.shares cimport share_charge, share_first, share_remove, share_waiting
from covey.broker.solitude cimport solitude_begin, solitude_end, solitude_next_time, solitude_seek
from covey.broker.tables cimport (
    BY_DEVICE, CONDEMNED, DEEP, DISMISSED, EMPTY, KINDS, LONE, MASKS, NOWHERE, PARTLY, PLACES,
    QUEUED, RELAYS, REST, RUNNING, SLICED, SOLO, STALLED,
    TICKS_A_SECOND, TIMED, TIMEOUT, DoerRow, Due, Pool, TaskRow, links_push_back, links_remove, order_new,
    flags_of, has_rests, served_by, token_of, units_of)
from covey.wire.protocol cimport CPU, CPU_BESIDE, GPU, JOURNAL, LOST, NEEDS_GPU, NEEDS_GPU_FIRST, TIMED_OUT, WHOLE_SHARE

cdef enum:
    SLICES = 64                 # begun GPUs looked at for one that has enough left
    LONGEST_RUN = 16            # tasks in a row for one busy doer; few, or two doers would not share a short burst
    LOOKS = 4                   # laden doers of a kind looked at for one that should give back


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
    row.tries += row.tries < 255
    share_charge(self, row.asker, self.doers[doer].kind, cost)
    doer_take(self, doer, task, now)
    self.decisions += 1
    order.doer = doer
    order.asker = row.asker
    order.function = row.function
    order.token = token_of(row, task)
    order.ticket = row.ticket
    order.cargo = row.cargo
    order.timeout_ms = row.timeout_ms
    order.attempt = row.tries
    order.flags = flags_of(row)
    order.crashes = row.crashes
    order.needs = row.needs
    order.share = row.share
    # A place at a loop would be held by what rests there: such a task is tried again from here.
    order.retries = 0 if row.retries and self.doers[doer].marks & RELAYS and has_rests(self, task) else row.retries
    order.priority = row.priority
    doer_settle(self, doer, False)


cdef int decisions_give(Scheduler* self, int32_t task, int32_t doer, double now) noexcept nogil:
    cdef Order* order = order_new(self, ASSIGN)
    if order == NULL:
        return -1
    task_withdraw(self, task)
    _assign(self, task, doer, _estimate(self, self.tasks[task].function), order, now)
    return 0


cdef void _shut(Scheduler* self, int32_t doer) noexcept nogil:
    links_remove(self.place_links, &self.pools[self.doers[doer].kind].places[self.doers[doer].place], doer)
    self.doers[doer].place = NOWHERE


# A busy doer that may have a task of this cost behind what it has, or -1. One that is found full is shut
# until something ends there, so that each is found full once for each time it is opened.
cdef int32_t _busy_doer(Scheduler* self, Pool* pool, int kind, uint32_t cost, double now) noexcept nogil:
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
        pool.runner = doer
        pool.run_left = 1
        if row.room >= <uint64_t> cost * LONGEST_RUN * 2:
            run = share_waiting(self, kind) // (2 * pool.places[DEEP].length)
            run = min(run, <uint32_t> min(row.room // (<uint64_t> cost * LONGEST_RUN), <uint64_t> LONGEST_RUN))
            pool.run_left = max(run, 1)
    return doer


cdef void _rotate(Scheduler* self, Pool* pool, int32_t doer) noexcept nogil:
    pool.run_left -= 1
    if pool.run_left > 0:
        return
    pool.runner = -1
    if self.doers[doer].place == DEEP and pool.places[DEEP].tail != doer:
        links_remove(self.place_links, &pool.places[DEEP], doer)
        links_push_back(self.place_links, &pool.places[DEEP], doer)


# The kinds in the order in which their places are given away: what any doer may do takes a GPU last.
cdef inline int _nth_kind(int n) noexcept nogil:
    return CPU if n == 0 else CPU_BESIDE if n == 1 else GPU if n == 2 else JOURNAL


# A doer with so much of a GPU left, but less than a whole one, or -1.
cdef int32_t _sliced_doer(const Scheduler* self, const Pool* pool, uint32_t units) noexcept nogil:
    cdef int32_t doer = pool.places[SLICED].head
    cdef const DoerRow* row
    cdef uint64_t used
    cdef int looks = SLICES
    while doer >= 0 and looks > 0:
        row = &self.doers[doer]
        if row.counting == BY_DEVICE:
            used = self.devices[row.device].units
        else:
            used = row.units - <uint64_t> (row.capacity - 1) * WHOLE_SHARE
        if used + units <= WHOLE_SHARE:
            return doer
        looks -= 1
        doer = self.place_links[doer].next
    return -1


# A doer with a place free for the task, or -1. What is begun is filled up first, so that whole ones stay whole.
cdef inline int32_t _free_doer(const Scheduler* self, int kind, int32_t task) noexcept nogil:
    cdef const Pool* pool = &self.pools[kind]
    cdef int32_t doer = -1
    if pool.places[SLICED].head >= 0 and self.tasks[task].share and not self.suspected & served_by(kind):
        # While a suspect waits for a GPU, those that are begun run empty.
        doer = _sliced_doer(self, pool, units_of(&self.tasks[task]))
    if doer < 0:
        doer = pool.places[EMPTY].head
    return doer if doer >= 0 else pool.places[PARTLY].head


cdef void _give_places(Scheduler* self, int kind, double now) noexcept nogil:
    cdef Pool* pool
    cdef Order* order
    cdef int32_t task, doer, better
    while True:
        pool = &self.pools[kind]
        if pool.places[EMPTY].head < 0 and pool.places[PARTLY].head < 0 and pool.places[SLICED].head < 0:
            return
        task = share_first(self, kind)
        if task < 0:
            return
        doer = _free_doer(self, kind, task)
        if self.tasks[task].needs == NEEDS_GPU_FIRST and kind == CPU and not self.lines[<int> NEEDS_GPU].waiting:
            # It goes where nothing but a GPU would do only while nobody waits who has no other choice.
            better = _free_doer(self, GPU, task)
            if better >= 0:
                doer = better
                pool = &self.pools[GPU]
        if doer < 0:
            return
        order = order_new(self, ASSIGN)
        if order == NULL:
            return
        share_remove(self, task)
        _assign(self, task, doer, _estimate(self, self.tasks[task].function), order, now)
        if self.doers[doer].place == PARTLY and pool.places[PARTLY].tail != doer:
            links_remove(self.place_links, &pool.places[PARTLY], doer)
            links_push_back(self.place_links, &pool.places[PARTLY], doer)


cdef void _give_ahead(Scheduler* self, int kind, double now) noexcept nogil:
    cdef Pool* pool = &self.pools[kind]
    cdef Order* order
    cdef uint32_t cost
    cdef int32_t task, doer
    while pool.places[LONE].head >= 0 or pool.places[DEEP].head >= 0:
        task = share_first(self, kind)
        if task < 0:
            return
        cost = _estimate(self, self.tasks[task].function)
        doer = _busy_doer(self, pool, kind, cost, now)
        if doer < 0:
            return
        order = order_new(self, ASSIGN)
        if order == NULL:
            return
        share_remove(self, task)
        _assign(self, task, doer, cost, order, now)
        if pool.runner == doer:
            _rotate(self, pool, doer)


# A doer that may have a suspect at once, or -1. A loop sees to it itself that a suspect is alone there.
cdef int32_t _suspects_doer(const Scheduler* self, const Pool* pool) noexcept nogil:
    cdef int place
    cdef int32_t doer = pool.reserved
    if doer >= 0 and self.doers[doer].assigned == 0:
        return doer
    if pool.places[EMPTY].head >= 0:
        return pool.places[EMPTY].head
    for place in range(PARTLY, PLACES):
        doer = pool.places[place].head
        if doer >= 0 and self.doers[doer].marks & RELAYS:
            return doer
    return -1


cdef void _reserve(Scheduler* self, Pool* pool) noexcept nogil:
    cdef int place
    for place in range(PARTLY, DEEP + 1):
        if pool.places[place].head >= 0:
            pool.reserved = pool.places[place].head
            doer_settle(self, pool.reserved, False)
            return


cdef bint _give_suspect(Scheduler* self, int32_t task, double now) noexcept nogil:
    cdef Pool* pool
    cdef Order* order
    cdef int32_t doer = -1
    cdef int n
    for n in range(KINDS):
        pool = &self.pools[_nth_kind(n)]
        if self.tasks[task].needs >> _nth_kind(n) & 1:
            doer = _suspects_doer(self, pool)
            if doer >= 0:
                break
    if doer < 0:
        return False
    order = order_new(self, ASSIGN)
    if order == NULL:
        return False
    if doer == pool.reserved:
        pool.reserved = -1
    task_withdraw(self, task)
    if not self.doers[doer].marks & RELAYS:
        self.doers[doer].marks |= SOLO
    _assign(self, task, doer, _estimate(self, self.tasks[task].function), order, now)
    return True


cdef void _give_suspects(Scheduler* self, double now) noexcept nogil:
    cdef Pool* pool
    cdef int mask, n, kind
    cdef bint expected
    for n in range(1, MASKS):
        mask = 7 - n if n == 3 or n == 4 else n     # those first that fewer kinds may do
        while self.lines[mask].suspects.head >= 0 and _give_suspect(self, self.lines[mask].suspects.head, now):
            pass
        if self.lines[mask].suspects.head < 0:
            continue
        expected = False
        for kind in range(KINDS):
            expected = expected or (mask >> kind & 1 and self.pools[kind].reserved >= 0)
        for kind in range(KINDS):
            if mask >> _nth_kind(kind) & 1 and not expected:
                _reserve(self, &self.pools[_nth_kind(kind)])
                expected = self.pools[_nth_kind(kind)].reserved >= 0
    for kind in range(KINDS):
        pool = &self.pools[kind]
        if pool.reserved >= 0 and not self.suspected & served_by(kind):
            n = pool.reserved
            pool.reserved = -1
            doer_settle(self, n, False)


cdef void _give_solitude(Scheduler* self, double now) noexcept nogil:
    cdef Order* order
    cdef int32_t doer = -1
    cdef int32_t task = solitude_seek(self, &doer, now)
    if task < 0 or doer < 0:
        return
    order = order_new(self, ASSIGN)
    if order == NULL:
        return
    task_withdraw(self, task)
    self.doers[doer].marks |= SOLO
    solitude_begin(self, task)
    _assign(self, task, doer, _estimate(self, self.tasks[task].function), order, now)


# Places that are free and have nothing to come: neither waiting here nor on its way back.
cdef int64_t _wanting(const Scheduler* self, int kind) noexcept nogil:
    cdef const Pool* pool = &self.pools[kind]
    cdef int64_t places = <int64_t> pool.places[EMPTY].length + pool.places[PARTLY].length
    cdef int mask
    if places == 0 or (self.wanted | self.suspected) & served_by(kind):
        return 0
    for mask in range(1, MASKS):
        if mask >> kind & 1:
            places -= self.lines[mask].asked
    return places


# Whether what waits at the doer has waited too long, or is going to.
cdef bint _overdue(const Scheduler* self, const DoerRow* row, double now) noexcept nogil:
    cdef double still
    # The sum that decisions_next_time says, not a difference: rounded another way, it would ask to be called for nothing.
    if now >= row.progress + self.limits.retract_after or row.capacity == 0:
        return True
    still = <double> (row.backlog - self.tasks[row.tail].cost) / TICKS_A_SECOND / row.capacity - _since(row, now)
    return still > self.limits.retract_after


# Asks the newest half back of what waits at a doer and a doer of `kind` may do; how much was asked.
cdef uint32_t _ask_back(Scheduler* self, int32_t doer, int kind) noexcept nogil:
    cdef DoerRow* row = &self.doers[doer]
    cdef uint32_t most = (row.assigned - row.running + 1) >> 1
    cdef uint32_t count = 0
    cdef uint8_t needs = 0
    cdef int32_t task = row.tail
    while count < most and task >= 0 and self.tasks[task].state == QUEUED:
        needs |= self.tasks[task].needs
        if self.tasks[task].needs >> kind & 1:
            if doer_ask(self, task) < 0:
                break
            self.retracted += 1
            count += 1
        task = self.tasks[task].prev
    if count == 0:
        # All of it was looked at in vain: that is done once only.
        row.upcoming_needs = needs
    else:
        row.marks |= STALLED
        doer_settle(self, doer, False)
    return count


# Takes back from doers of kind `there` for idle ones of kind `here`.
cdef void _take_back(Scheduler* self, int here, int there, double now) noexcept nogil:
    cdef int32_t doer = self.pools[there].laden.head
    cdef int32_t following
    cdef int looks = LOOKS
    while doer >= 0 and looks > 0 and _wanting(self, here) > 0:
        looks -= 1
        following = self.laden_links[doer].next
        if self.doers[doer].upcoming_needs >> here & 1 and _overdue(self, &self.doers[doer], now):
            if _ask_back(self, doer, here):
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
        if due.kind == REST:
            task_withdraw(self, due.index)
            task_return(self, due.index)
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
        doer_bar(self, due.index, CONDEMNED | DISMISSED)
        doer_unload(self, due.index, LEFT_LOST, now)
        doer_settle(self, due.index, True)


cdef void decisions_take(Scheduler* self, double now) noexcept nogil:
    cdef int n, here, there
    cdef bint laden = False
    if self.tick >= 0 and self.limits.pause > 0 and now - self.tick > self.limits.pause:
        self.paused += now - self.tick
    self.tick = now
    _judge(self, now)
    if self.solitude:
        solitude_end(self, now)
    if self.suspected or self.pools[CPU].reserved >= 0 or self.pools[GPU].reserved >= 0 or (
            self.pools[CPU_BESIDE].reserved >= 0 or self.pools[JOURNAL].reserved >= 0):
        _give_suspects(self, now)
    if self.wanted:
        # Free places of every kind come before a queue behind anything.
        for n in range(KINDS):
            _give_places(self, _nth_kind(n), now)
    if self.hungry.length or self.solitude:
        _give_solitude(self, now)
    if self.wanted:
        for n in range(KINDS):
            _give_ahead(self, _nth_kind(n), now)
    for there in range(KINDS):
        laden = laden or self.pools[there].laden.head >= 0
    if laden:
        for here in range(KINDS):
            if _wanting(self, here) > 0:
                # Its own kind first: whatever waits there it may do.
                for n in range(KINDS):
                    _take_back(self, here, (here + n) % KINDS, now)


# When something that waits at a busy doer is to be taken back for an idle one of that kind; infinity if nothing is.
cdef double _next_retraction(const Scheduler* self, int here) noexcept nogil:
    cdef double soonest = INFINITY
    cdef int32_t doer
    cdef int there, looks
    for there in range(KINDS):
        doer = self.pools[there].laden.head
        looks = LOOKS
        while doer >= 0 and looks > 0:
            if self.doers[doer].upcoming_needs >> here & 1:
                soonest = min(soonest, self.doers[doer].progress + self.limits.retract_after)
                break
            looks -= 1
            doer = self.laden_links[doer].next
    return soonest


cdef double decisions_next_time(Scheduler* self, double now) noexcept nogil:
    cdef double soonest = INFINITY
    cdef Due* first = agenda_first(self)
    cdef int kind
    if first != NULL:
        soonest = first.when
    for kind in range(KINDS):
        if _wanting(self, kind) > 0:
            soonest = min(soonest, _next_retraction(self, kind))
    soonest = min(soonest, solitude_next_time(self, now))
    # Only who looks often can tell a long silence of the others from one of its own.
    if self.limits.pause > 0 and 0 < self.limits.lease < INFINITY and self.doer_count > 0 and self.tick >= 0:
        soonest = min(soonest, self.tick + self.limits.pause * 0.5)
    return soonest
