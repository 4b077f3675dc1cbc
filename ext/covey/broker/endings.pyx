# SPDX-License-Identifier: BSD-3-Clause
"""See endings.pxd, the contents page."""
from libc.stdint cimport uint8_t

from covey.broker.doers cimport doer_ask, doer_drop, doer_haunt, doer_settle
from covey.broker.orders cimport BLAME, END, KILL, LEFT_CRASHED, LEFT_LOST, REVOKE, Order
from covey.broker.shares cimport share_add, share_charge, share_remove
from covey.broker.tables cimport (
    ASKED, CONDEMNED, CONFIRMED, GHOST, QUEUED, RUNNING, SUSPECT, DoerRow, List, TaskRow, order_new, task_free, tasks_push_back,
    tasks_remove, token_of)
from covey.broker.tickets cimport ticket_remove
from covey.wire.protocol cimport BROKEN, LOST, POISONED, SPLITTABLE

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
        order.attempt = row.attempt
        order.flags = row.flags
        order.crashes = row.crashes
        order.resource = row.resource
        order.retries = row.retries
        order.priority = row.priority
    return order


cdef void task_part(Scheduler* self, int32_t task) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
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
    self.ended += 1
    task_part(self, task)


cdef void task_withdraw(Scheduler* self, int32_t task) noexcept nogil:
    cdef List* suspects
    if self.tasks[task].state == SUSPECT:
        suspects = &self.pools[self.tasks[task].resource].suspects
        tasks_remove(self.tasks, &suspects.head, &suspects.tail, task)
        suspects.length -= 1
    else:
        share_remove(self, task)


cdef int task_wait(Scheduler* self, int32_t task, bint front) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef List* suspects
    if row.crashes < SUSPECT_FROM:
        return share_add(self, task, front)
    suspects = &self.pools[row.resource].suspects
    tasks_push_back(self.tasks, &suspects.head, &suspects.tail, task)
    suspects.length += 1
    row.state = SUSPECT
    return 0


cdef void task_return(Scheduler* self, int32_t task, bint unrun) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    if unrun:
        share_charge(self, row.asker, row.resource, -<double> row.cost)
    if task_wait(self, task, True) < 0:
        # No memory for a lane: an end that is said beats a task that is nowhere.
        task_end(self, task, LOST, False)
        task_free(self, task)


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
    task_end(self, task, status, False)
    _order_about(self, KILL, task)
    doer_haunt(self, task)
    if self.doers[doer].capacity == 1:
        # What runs several at once survives the end of one of them.
        self.doers[doer].marks |= CONDEMNED
        doer_settle(self, doer, False)


cdef void _blame(Scheduler* self, int32_t task, int why) noexcept nogil:
    cdef TaskRow* row = &self.tasks[task]
    cdef uint8_t before = row.crashes
    if why == LEFT_CRASHED:
        row.crashes += row.crashes < 255
        if before == 0 and row.flags & SPLITTABLE:
            task_end(self, task, BROKEN, False)
        elif row.crashes >= self.limits.crash_limit:
            task_end(self, task, POISONED, False)
        else:
            task_return(self, task, False)
            return
    else:
        row.losses += row.losses < 255
        if row.losses < self.limits.loss_limit:
            task_return(self, task, False)
            return
        task_end(self, task, LOST, False)
    task_free(self, task)


cdef void doer_unload(Scheduler* self, int32_t doer, int why, double now) noexcept nogil:
    cdef DoerRow* holder = &self.doers[doer]
    cdef bint blaming = why == LEFT_CRASHED or why == LEFT_LOST
    cdef int32_t at = holder.head
    cdef int32_t before
    cdef int state
    if why == LEFT_CRASHED:
        self.crashes += 1
    elif why == LEFT_LOST:
        self.losses += 1
    while blaming and at >= 0 and self.tasks[at].state != QUEUED:
        if self.tasks[at].state == RUNNING:
            _order_about(self, BLAME, at)
        at = self.tasks[at].next
    # From the end, because each goes before all others of its lane: so they keep their order.
    at = holder.tail
    while at >= 0:
        before = self.tasks[at].prev
        state = self.tasks[at].state
        doer_drop(self, at, now)
        if state == GHOST:
            task_free(self, at)
        elif blaming and state == RUNNING:
            _blame(self, at, why)
        else:
            task_return(self, at, True)
        at = before
