# SPDX-License-Identifier: BSD-3-Clause
"""See endings.pxd, the contents page."""
from libc.stdint cimport uint8_t, uint16_t, uint64_t

from covey.broker.agenda cimport agenda_put, task_stamp
from covey.broker.doers cimport doer_ask, doer_bar, doer_drop, doer_haunt, doer_settle
from covey.broker.orders cimport BLAME, END, GIVE_BACK, KILL, LEFT_CRASHED, LEFT_IDLE, LEFT_LOST, LEFT_OOM, LEFT_PLANNED, REVOKE, Order
from covey.broker.shares cimport share_add, share_charge, share_remove
from covey.broker.tables cimport (
    ASKED, BEGUN, CONDEMNED, CONFIRMED, GHOST, HUNGRY, QUEUED, RELAYS, REST, RESTING, RUNNING, SINGLE, SPLITS, SUSPECT,
    WANTED, DoerRow, List, TaskRow, TryRow, hunger_grow, raised_by, try_of,
    flags_of, order_new, task_free, tasks_push_back, tasks_remove, token_of)
from covey.broker.tickets cimport ticket_remove
from covey.wire.protocol cimport BROKEN, LOST, MAYBE_RAN, OUT_OF_MEMORY, POISONED

cdef enum:
    SUSPECT_FROM = 2            # crashes after which a task may not share a doer


cdef Order* _order_about(Scheduler* self, int kind, int32_t task) noexcept nogil:
    cdef Order* order = order_new(self, kind)
    cdef const TaskRow* row = &self.tasks[task]
    if order != NULL:
        order.doer = row.doer
        order.asker = row.asker
        order.function = row.function
        order.token = token_of(row, task)
        order.ticket = row.ticket
        order.attempt = row.tries
        order.flags = flags_of(row)
        order.crashes = row.crashes
        order.needs = row.needs
        order.share = row.share
        order.retries = row.retries
        order.raised = raised_by(self, task)
        order.priority = row.priority
    return order


cdef void task_part(Scheduler* self, int32_t task) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    if row.marks & WANTED:
        task_keep(self, task)
    ticket_remove(self, task)
    self.askers[row.asker].unfinished -= 1
    self.askers[row.asker].bytes -= row.cargo.length


cdef void task_end(Scheduler* self, int32_t task, int status, bint mute) noexcept nogil:
    cdef Order* order = _order_about(self, END, task)
    if order != NULL:
        order.cargo = self.tasks[task].cargo
        order.status = <uint8_t> status
        if mute:
            order.asker = -1
    if mute:
        self.tasks[task].marks &= <uint8_t> ~WANTED
    self.ended += 1
    task_part(self, task)


cdef void task_say_no(Scheduler* self, int32_t task) noexcept nogil:
    _order_about(self, GIVE_BACK, task)


cdef void task_keep(Scheduler* self, int32_t task) noexcept nogil:
    task_say_no(self, task)
    self.tasks[task].marks &= <uint8_t> ~WANTED


cdef void task_give_back(Scheduler* self, int32_t task) noexcept nogil:
    cdef Order* order = _order_about(self, GIVE_BACK, task)
    if order != NULL:
        order.cargo = self.tasks[task].cargo
        order.status = 1
    self.given_back += 1
    task_part(self, task)
    task_free(self, task)


cdef void task_withdraw(Scheduler* self, int32_t task) noexcept nogil:
    cdef List* suspects
    cdef int needs
    if self.tasks[task].state == SUSPECT and self.tasks[task].marks & HUNGRY:
        tasks_remove(self.tasks, &self.hungry.head, &self.hungry.tail, task)
        self.hungry.length -= 1
    elif self.tasks[task].state == SUSPECT:
        needs = self.tasks[task].needs
        suspects = &self.lines[needs].suspects
        tasks_remove(self.tasks, &suspects.head, &suspects.tail, task)
        suspects.length -= 1
        if suspects.length == 0:
            self.suspected &= <uint16_t> ~(1 << needs)
    elif self.tasks[task].state == RESTING:
        tasks_remove(self.tasks, &self.resting.head, &self.resting.tail, task)
        self.resting.length -= 1
    else:
        share_remove(self, task)


cdef int task_wait(Scheduler* self, int32_t task, bint front) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef List* suspects
    if row.marks & HUNGRY:
        tasks_push_back(self.tasks, &self.hungry.head, &self.hungry.tail, task)
        self.hungry.length += 1
        row.state = SUSPECT
        return 0
    if row.crashes < SUSPECT_FROM:
        return share_add(self, task, front)
    suspects = &self.lines[row.needs].suspects
    tasks_push_back(self.tasks, &suspects.head, &suspects.tail, task)
    suspects.length += 1
    self.suspected |= <uint16_t> (1 << row.needs)
    row.state = SUSPECT
    return 0


# A number from 0 to 1 that looks like chance, and is the same for the same task, try and seed.
cdef double _draw(const Scheduler* self, uint64_t ticket, int raised) noexcept nogil:
    cdef uint64_t mixed = ticket * 0x9e3779b97f4a7c15ULL + <uint64_t> raised + self.limits.seed
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL
    return <double> ((mixed ^ (mixed >> 31)) >> 11) / 9007199254740992.0


cdef void task_rest(Scheduler* self, int32_t task, double now) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef const TryRow* tries = try_of(self, task)
    cdef double first = tries.wait_ms * 1e-3
    cdef double most = first * (<uint64_t> 1 << min(tries.raised - 1, 32))
    most = min(most, max(first, self.limits.retry_wait_limit))
    # Anything up to the most: what failed together, because of one cause, does not come back together.
    # Of one who is away nothing waits, and nothing rests.
    if first == 0 or self.askers[row.asker].away or agenda_put(
            self, now + most * _draw(self, row.ticket, tries.raised), REST, task, task_stamp(row)) < 0:
        task_return(self, task)
        return
    tasks_push_back(self.tasks, &self.resting.head, &self.resting.tail, task)
    self.resting.length += 1
    row.state = RESTING


cdef void task_return(Scheduler* self, int32_t task) noexcept nogil:
    if self.askers[self.tasks[task].asker].away:
        # Whoever comes for it brings it again.
        task_end(self, task, LOST, True)
        task_free(self, task)
    elif task_wait(self, task, True) < 0:
        # No memory for a lane: an end that is said beats a task that is nowhere.
        task_end(self, task, LOST, False)
        task_free(self, task)


cdef void task_unrun(Scheduler* self, int32_t task, int kind, bint wanted) noexcept nogil:
    share_charge(self, self.tasks[task].asker, kind, -<double> self.tasks[task].cost)
    if wanted:
        task_give_back(self, task)
    else:
        task_return(self, task)


cdef void task_revoke(Scheduler* self, int32_t task, double now) noexcept nogil:
    cdef int32_t doer = self.tasks[task].doer
    if self.tasks[task].state == QUEUED:
        _order_about(self, REVOKE, task)
        doer_drop(self, task, now)
        task_free(self, task)
    else:
        # A REVOKE is not answered. If it came before the task began, nothing would ever say that its place is free:
        # so the task is asked back first, unless it is known to run.
        if not self.tasks[task].marks & (ASKED | CONFIRMED):
            doer_ask(self, task)
        _order_about(self, REVOKE, task)
        doer_haunt(self, task)
    doer_settle(self, doer, False)


cdef void task_stop(Scheduler* self, int32_t task, int status, double now) noexcept nogil:
    cdef int32_t doer = self.tasks[task].doer
    cdef DoerRow* holder = &self.doers[doer]
    task_end(self, task, status, False)
    _order_about(self, KILL, task)
    if self.tasks[task].state == QUEUED:
        doer_drop(self, task, now)
        task_free(self, task)
    else:
        doer_haunt(self, task)
        if holder.capacity == 1 and not holder.marks & RELAYS:
            # What runs several at once survives the end of one of them, and so does a loop.
            doer_bar(self, doer, CONDEMNED)
    doer_settle(self, doer, False)


cdef void _blame(Scheduler* self, int32_t task, int why) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef uint8_t before = row.crashes
    cdef bint first
    if why == LEFT_CRASHED:
        row.crashes += row.crashes < 255
        if before == 0 and row.marks & SPLITS:
            task_end(self, task, BROKEN, False)
        elif row.crashes >= self.limits.crash_limit:
            task_end(self, task, POISONED, False)
        else:
            task_return(self, task)
            return
    elif why == LEFT_OOM:
        first = row.crashes == 0 and not row.marks & HUNGRY
        if first and row.marks & SPLITS:
            task_end(self, task, BROKEN, False)
        elif hunger_grow(self, task) > self.limits.oom_limit:
            task_end(self, task, OUT_OF_MEMORY, False)
        else:
            task_return(self, task)
            return
    else:
        row.losses += row.losses < 255
        self.losses += 1
        if row.losses < self.limits.loss_limit:
            task_return(self, task)
            return
        if why != LEFT_IDLE:
            task_end(self, task, LOST, False)
        else:
            # By now it is no chance. A bundle is taken apart: one call in it does this.
            task_end(self, task, BROKEN if row.crashes == 0 and row.marks & SPLITS else POISONED, False)
    task_free(self, task)


# Whether the task must not begin again, now that the doer that has it leaves.
cdef inline bint _spent(const TaskRow* row, const DoerRow* holder, int why) noexcept nogil:
    if not row.marks & SINGLE or row.state == GHOST:
        return False
    # Of a slot it is known which task its process died under. What a loop began, or one that is cut off, nobody knows.
    if row.marks & BEGUN or holder.marks & RELAYS or why == LEFT_LOST:
        return True
    return row.state == RUNNING and why != LEFT_PLANNED


cdef void doer_unload(Scheduler* self, int32_t doer, int why, double now) noexcept nogil:
    cdef DoerRow* holder = &self.doers[doer]
    cdef Order* order
    cdef bint blaming, wanted, spent
    cdef int32_t at = holder.head
    cdef int32_t before
    cdef int state
    if (why == LEFT_CRASHED or why == LEFT_OOM or why == LEFT_IDLE) and holder.marks & RELAYS:
        # The end of a loop is no crash of what its slots ran.
        why = LEFT_LOST
    blaming = why == LEFT_CRASHED or why == LEFT_OOM or why == LEFT_LOST or why == LEFT_IDLE
    if why == LEFT_CRASHED:
        self.crashes += 1
    elif why == LEFT_OOM:
        self.ooms += 1
    while at >= 0:
        if (blaming and self.tasks[at].state == RUNNING) or _spent(&self.tasks[at], holder, why):
            order = _order_about(self, BLAME, at)
            if order != NULL:
                order.why = <uint8_t> why
        at = self.tasks[at].next
    # From the end, because each goes before all others of its lane: so they keep their order.
    at = holder.tail
    while at >= 0:
        before = self.tasks[at].prev
        state = self.tasks[at].state
        wanted = self.tasks[at].marks & WANTED != 0
        spent = _spent(&self.tasks[at], holder, why)
        if wanted and (spent or (blaming and state == RUNNING)):
            task_keep(self, at)
        doer_drop(self, at, now)
        if state == GHOST:
            task_free(self, at)
        elif spent:
            self.losses += why == LEFT_LOST
            task_end(self, at, MAYBE_RAN, False)
            task_free(self, at)
        elif blaming and state == RUNNING:
            _blame(self, at, why)
        else:
            if state == QUEUED or (why == LEFT_PLANNED and not holder.marks & RELAYS):
                # It never began: a slot that leaves as it should has finished what it ran.
                self.tasks[at].tries -= 1
            task_unrun(self, at, holder.kind, wanted)
        at = before
