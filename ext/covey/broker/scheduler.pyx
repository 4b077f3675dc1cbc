# SPDX-License-Identifier: BSD-3-Clause
"""See scheduler.pxd, the contents page. Here are the facts; what follows from them is in decisions.pyx.

    fact ─→ scheduler_on_…  ─→ tables ─→ scheduler_decide ─→ orders
              │                             │
              ├ tickets   who calls it what ├ shares    whose turn it is
              ├ leavers   who asks no more  ├ solitude  who has the machine
              └ endings   who is told       └ doers     who has a place

A token names an attempt: the row, its birth, the attempt. Any attempt of a task that is not ended may bring
its outcome, and the first one counts: what an attempt did is done, whichever we believed in. After that the
birth no longer fits, and the token is stale.
"""
from libc.math cimport isfinite
from libc.string cimport memset

from covey.broker.agenda cimport agenda_put
from covey.broker.decisions cimport decisions_give, decisions_next_time, decisions_take
from covey.broker.doers cimport (
    doer_answered, doer_ask, doer_bar, doer_begin_all, doer_confirm, doer_doubts, doer_drop, doer_join_device,
    doer_lay_ghost, doer_resize, doer_settle, doer_settle_device, doer_unlist)
from covey.broker.endings cimport (
    doer_unload, task_end, task_give_back, task_keep, task_part, task_rest, task_revoke, task_say_no, task_stop,
    task_unrun, task_wait, task_withdraw)
from covey.broker.leavers cimport asker_forget, askers_let_go
from covey.broker.shares cimport share_hold
from covey.broker.tables cimport (
    ASKED, BY_DEVICE, BY_SHARE, CONDEMNED,
    CONFIRMED, DISMISSED, DRAINING, FREE, GHOST, KEEPING, KINDS, LEASE, LONGEST, MASKS, QUEUED, RELAYS, RUNNING,
    SHRUNK, SINGLE, SPLITS, STALLED, SUSPECT, TICKS_A_SECOND, WAITING, WANTED,
    AskerRow, DoerRow, FunctionRow, TaskRow, asker_free, asker_known, asker_new,
    device_row, doer_free, doer_known, doer_new, function_row, has_rests, hunger_of, order_new, raised_by, steady, tables_free,
    tables_new, task_free, task_new, task_of, token_of, try_note, try_of)
from covey.broker.tickets cimport ticket_add, ticket_find
from covey.broker.validate cimport validate
from covey.wire.protocol cimport CANCELLED, ERROR, GPU, ONCE, SPLITTABLE, VALUE, WHOLE_SHARE

cdef enum:
    TICKS_A_MICROSECOND = TICKS_A_SECOND // 1000000
    UNMEASURABLE = 3            # ticks counted for what ran less than a microsecond
    MEMORY = 8                  # runs that the mean remembers, about


cdef Scheduler* scheduler_new(const Limits* limits) noexcept nogil:
    return tables_new(limits)


cdef void scheduler_free(Scheduler* self) noexcept nogil:
    tables_free(self)


cdef int32_t scheduler_on_asker_joined(Scheduler* self, double weight, double now) noexcept nogil:
    cdef int32_t asker = asker_new(self)
    if asker < 0:
        return NO_MEMORY
    self.askers[asker].byte_credit = self.limits.credit_bytes
    self.askers[asker].stride = 1.0 / weight if weight > 0 and isfinite(weight) else 1.0
    return asker


cdef int scheduler_on_asker_trusted(Scheduler* self, int32_t asker) noexcept nogil:
    if not asker_known(self, asker):
        return NO_SUCH
    self.askers[asker].byte_credit = ~<uint64_t> 0
    return 0


cdef int scheduler_on_asker_left(Scheduler* self, int32_t asker, double now) noexcept nogil:
    if not asker_known(self, asker):
        return NO_SUCH
    asker_forget(self, asker, True, now)
    self.away_count -= self.askers[asker].away
    asker_free(self, asker)
    return 0


cdef int scheduler_on_asker_held(Scheduler* self, int32_t asker, bint held) noexcept nogil:
    if not asker_known(self, asker):
        return NO_SUCH
    share_hold(self, asker, held)
    return 0


cdef int scheduler_on_asker_away(Scheduler* self, int32_t asker, double now) noexcept nogil:
    if not asker_known(self, asker) or self.askers[asker].away:
        return NO_SUCH
    asker_forget(self, asker, False, now)
    self.askers[asker].away = True
    self.away_count += 1
    return 0


cdef int scheduler_on_adopted(Scheduler* self, uint64_t token, int32_t asker, uint64_t ticket) noexcept nogil:
    cdef int32_t task = task_of(self, token)
    cdef TaskRow* row
    if task < 0 or not asker_known(self, asker) or ticket_find(self, asker, ticket) >= 0:
        return -1
    row = &self.tasks[task]
    # A doer that became smaller since is believed to let it wait.
    if row.state not in (QUEUED, RUNNING) or not self.askers[row.asker].away:
        return -1
    self.askers[row.asker].assigned -= 1
    task_part(self, task)
    row.asker = asker
    row.ticket = ticket
    ticket_add(self, task)
    self.askers[asker].unfinished += 1
    self.askers[asker].bytes += row.cargo.length
    self.askers[asker].assigned += 1
    return 0


cdef int scheduler_on_claimed(Scheduler* self, int32_t task, int32_t doer, double now) noexcept nogil:
    if task < 0 or <uint32_t> task >= self.task_used or not doer_known(self, doer):
        return -1
    if self.tasks[task].state not in (WAITING, SUSPECT) or not self.tasks[task].needs >> self.doers[doer].kind & 1:
        return -1
    # Only a loop says what it has, and it may have that beyond its window.
    if not self.doers[doer].marks & RELAYS or self.doers[doer].marks & (CONDEMNED | DISMISSED):
        return -1
    if decisions_give(self, task, doer, now) < 0:
        return -1
    if self.doers[doer].assigned > self.doers[doer].window:
        self.doers[doer].marks |= SHRUNK
        doer_settle(self, doer, False)
    return 0


cdef int32_t scheduler_on_doer_joined(
        Scheduler* self, int kind, uint32_t capacity, uint32_t window, bint relays, int32_t device,
        double now) noexcept nogil:
    cdef int32_t doer
    cdef DoerRow* row
    if kind < 0 or kind >= KINDS or (device >= 0 and (kind != GPU or relays)):
        return NO_SUCH
    if device >= 0 and device_row(self, device) == NULL:
        return NO_SUCH
    doer = doer_new(self)
    if doer < 0:
        return NO_MEMORY
    row = &self.doers[doer]
    row.kind = <uint8_t> kind
    row.marks = RELAYS if relays else 0
    if relays and kind == GPU:
        row.counting = BY_SHARE
    if device >= 0:
        doer_join_device(self, doer, device)
    else:
        doer_resize(self, doer, capacity, window, now)
    row.byte_room = ~<uint64_t> 0
    row.heard = steady(self, now)
    row.progress = now
    if self.limits.lease > 0 and isfinite(self.limits.lease):
        agenda_put(self, now + self.limits.lease, LEASE, doer, row.birth)
    doer_settle(self, doer, False)
    return doer


cdef int scheduler_on_doer_resized(
        Scheduler* self, int32_t doer, uint32_t capacity, uint32_t window, double now) noexcept nogil:
    if not doer_known(self, doer) or self.doers[doer].counting == BY_DEVICE:
        return NO_SUCH
    self.doers[doer].heard = steady(self, now)
    doer_resize(self, doer, capacity, window, now)
    doer_settle(self, doer, False)
    return 0


cdef int scheduler_on_byte_room(Scheduler* self, int32_t doer, uint64_t bytes) noexcept nogil:
    if not doer_known(self, doer):
        return NO_SUCH
    self.doers[doer].byte_room = bytes
    doer_settle(self, doer, False)
    return 0


cdef uint64_t scheduler_bytes_of(const Scheduler* self, int32_t asker) noexcept nogil:
    return self.askers[asker].bytes if asker_known(self, asker) else 0


cdef int scheduler_on_doer_left(Scheduler* self, int32_t doer, int why, double now) noexcept nogil:
    if not doer_known(self, doer):
        return NO_SUCH
    if self.doers[doer].marks & (CONDEMNED | DISMISSED) == CONDEMNED | DISMISSED:
        # It was given up before, and counted then.
        why = LEFT_PLANNED
    doer_unlist(self, doer)
    doer_unload(self, doer, why, now)
    if self.doers[doer].counting == BY_DEVICE:
        doer_settle_device(self, self.doers[doer].device)
    doer_free(self, doer)
    return 0


cdef int scheduler_on_died_under(Scheduler* self, int32_t doer, uint64_t token, double now) noexcept nogil:
    cdef int32_t task = task_of(self, token)
    if not doer_known(self, doer):
        return NO_SUCH
    if not _is_there(self, task, doer, token):
        doer_begin_all(self, doer)
    elif self.tasks[task].state != GHOST:
        doer_confirm(self, task, now)
        doer_settle(self, doer, False)
    return _is_there(self, task, doer, token)


cdef int scheduler_on_drain(Scheduler* self, int32_t doer, double now) noexcept nogil:
    cdef int32_t at
    if not doer_known(self, doer):
        return NO_SUCH
    if self.doers[doer].marks & DRAINING:
        return 0
    doer_bar(self, doer, DRAINING)
    at = self.doers[doer].tail
    while at >= 0 and self.tasks[at].state == QUEUED:
        if not self.tasks[at].marks & ASKED:
            doer_ask(self, at)
        at = self.tasks[at].prev
    doer_settle(self, doer, False)
    return 0


cdef int scheduler_on_heard(Scheduler* self, int32_t doer, double now) noexcept nogil:
    if not doer_known(self, doer):
        return NO_SUCH
    self.doers[doer].heard = steady(self, now)
    return 0


cdef int scheduler_on_function_forgotten(Scheduler* self, int32_t function) noexcept nogil:
    if function < 0 or <uint32_t> function >= self.function_room:
        return NO_SUCH
    # The number may come to mean another function.
    memset(&self.functions[function], 0, sizeof(FunctionRow))
    return 0


cdef int32_t scheduler_on_task(
        Scheduler* self, int32_t asker, uint64_t ticket, int32_t function, int needs, uint16_t share,
        int16_t priority, uint8_t flags, uint8_t retries, uint8_t crashes, uint8_t attempts, uint32_t timeout_ms,
        uint32_t retry_wait_ms, const Cargo* cargo, double now) noexcept nogil:
    cdef AskerRow* owner
    cdef TaskRow* row
    cdef int32_t task
    if not asker_known(self, asker) or needs <= 0 or needs >= MASKS or share > WHOLE_SHARE or function < 0:
        return NO_SUCH
    owner = &self.askers[asker]
    if ticket_find(self, asker, ticket) >= 0:
        return DUPLICATE
    # A parcel that is larger than all credit may come alone, or it never could.
    if owner.unfinished and (
            owner.unfinished >= self.limits.credit_tasks or owner.bytes + cargo.length > owner.byte_credit):
        return OVER_CREDIT
    if function_row(self, function) == NULL:
        return NO_MEMORY
    task = task_new(self)
    if task < 0:
        return NO_MEMORY
    row = &self.tasks[task]
    row.ticket = ticket
    row.cargo = cargo[0]
    row.asker = asker
    row.function = function
    row.timeout_ms = timeout_ms
    row.priority = priority
    row.marks = (SPLITS if flags & SPLITTABLE else 0) | (SINGLE if flags & ONCE else 0)
    row.retries = retries
    row.crashes = crashes
    row.tries = attempts
    row.needs = <uint8_t> needs
    row.share = share
    if retries and try_note(self, task, retry_wait_ms) < 0:
        task_free(self, task)
        return NO_MEMORY
    ticket_add(self, task)
    owner.unfinished += 1
    owner.bytes += cargo.length
    if task_wait(self, task, False) < 0:
        task_part(self, task)
        task_free(self, task)
        return NO_MEMORY
    return task


cdef int scheduler_on_started(Scheduler* self, int32_t doer, uint64_t token, double now) noexcept nogil:
    cdef int32_t task = task_of(self, token)
    scheduler_on_heard(self, doer, now)
    if not _is_there(self, task, doer, token):
        return 0
    doer_confirm(self, task, now)
    doer_settle(self, doer, False)
    return 1


# Whether the doer holds the task, and by that very attempt.
cdef inline bint _is_there(const Scheduler* self, int32_t task, int32_t doer, uint64_t token) noexcept nogil:
    return (
        task >= 0 and doer >= 0 and self.tasks[task].doer == doer
        and self.tasks[task].attempt == <uint8_t> (token >> 56))


cdef void _measure(Scheduler* self, int32_t function, uint32_t run_us) noexcept nogil:
    cdef FunctionRow* row = &self.functions[function]
    cdef double ticks = <double> run_us * TICKS_A_MICROSECOND if run_us else UNMEASURABLE
    if row.count < MEMORY:
        row.count += 1
    if row.count == 1 or (row.count == 2 and ticks < row.mean):
        # The first run pays for imports and cold caches; it should not be remembered for what it was.
        row.mean = ticks
    else:
        row.mean += (ticks - row.mean) / row.count
    row.cost = LONGEST if row.mean >= <double> LONGEST else 1 if row.mean < 1 else <uint32_t> row.mean


cdef void _leave_doer(Scheduler* self, int32_t task, int32_t doer, double now) noexcept nogil:
    cdef bint waited = self.tasks[task].state == QUEUED
    cdef DoerRow* row = &self.doers[doer]
    doer_drop(self, task, now)
    if waited:
        row.progress = now
        row.marks &= <uint8_t> ~(STALLED | KEEPING)
        if row.ghosts:
            doer_lay_ghost(self, doer, now)


cdef Verdict scheduler_on_outcome(
        Scheduler* self, int32_t doer, uint64_t token, int status, bint final, uint32_t run_us, double now) noexcept nogil:
    cdef Verdict verdict
    cdef int32_t task = task_of(self, token)
    cdef uint8_t attempt = <uint8_t> (token >> 56)
    cdef TaskRow* row
    cdef bint there
    verdict.ruling = STALE
    verdict.asker = -1
    verdict.ticket = 0
    verdict.raised = 0
    memset(&verdict.cargo, 0, sizeof(Cargo))
    if doer_known(self, doer):
        self.doers[doer].heard = steady(self, now)
    if task < 0:
        self.stale += 1
        return verdict
    row = &self.tasks[task]
    there = _is_there(self, task, doer, token)
    if row.state == GHOST:
        if there:
            doer_drop(self, task, now)
            task_free(self, task)
            doer_settle(self, doer, True)
        self.stale += 1
        return verdict
    if attempt == 0 or attempt > row.attempt:
        self.stale += 1
        return verdict
    if status == VALUE or status == ERROR:
        _measure(self, row.function, run_us)
    if status == ERROR and row.retries and not final and (
            has_rests(self, task) or not (doer_known(self, doer) and self.doers[doer].marks & RELAYS)):
        # What need not rest a loop has tried as often as it may before it hands it on as an error.
        row.retries -= 1
        try_of(self, task).raised += 1
        self.retried += 1
        verdict.ruling = AGAIN
        if there:
            if row.marks & WANTED:
                task_keep(self, task)
            _leave_doer(self, task, doer, now)
            task_rest(self, task, now)
            doer_settle(self, doer, True)
        # Otherwise a later attempt is under way or waits already.
        return verdict
    verdict.ruling = ACCEPTED
    verdict.asker = row.asker
    verdict.ticket = row.ticket
    verdict.cargo = row.cargo
    if status > ERROR:
        verdict.raised = raised_by(self, task)
    self.accepted += 1
    task_part(self, task)
    if there:
        _leave_doer(self, task, doer, now)
        task_free(self, task)
        doer_settle(self, doer, True)
    elif row.doer >= 0:
        task_revoke(self, task, now)
    else:
        task_withdraw(self, task)
        task_free(self, task)
    return verdict


cdef int scheduler_on_given_back(
        Scheduler* self, int32_t doer, uint64_t token, bint given_back, double now) noexcept nogil:
    cdef int32_t task = task_of(self, token)
    cdef bint wanted
    scheduler_on_heard(self, doer, now)
    if not _is_there(self, task, doer, token) or not self.tasks[task].marks & ASKED:
        return 0
    if not given_back:
        if self.tasks[task].marks & WANTED:
            task_keep(self, task)
        doer_answered(self, task)
        if self.tasks[task].state == QUEUED:
            # What must wait in its place may be had, unless that has said itself that it runs.
            if not doer_doubts(self, doer):
                self.doers[doer].marks |= KEEPING
            doer_confirm(self, task, now)
    else:
        wanted = self.tasks[task].marks & WANTED != 0
        doer_drop(self, task, now)
        if self.tasks[task].state == GHOST:
            task_free(self, task)
        else:
            # It never began.
            self.tasks[task].tries -= 1
            task_unrun(self, task, self.doers[doer].kind, wanted)
    doer_settle(self, doer, False)
    return 1


cdef int scheduler_on_cancel(Scheduler* self, int32_t asker, uint64_t ticket, bint force, double now) noexcept nogil:
    cdef int32_t task
    if not asker_known(self, asker):
        return 0
    task = ticket_find(self, asker, ticket)
    if task < 0:
        return 0
    if self.tasks[task].doer < 0:
        task_withdraw(self, task)
        task_end(self, task, CANCELLED, False)
        task_free(self, task)
    elif force and (self.tasks[task].state == RUNNING or self.doers[self.tasks[task].doer].marks & RELAYS):
        # Whether it runs there a loop knows better.
        task_stop(self, task, CANCELLED, now)
    else:
        task_end(self, task, CANCELLED, False)
        task_revoke(self, task, now)
    return 1


cdef int scheduler_on_retract(Scheduler* self, int32_t asker, uint64_t ticket, double now) noexcept nogil:
    cdef int32_t task
    cdef TaskRow* row
    cdef Order* order
    if not asker_known(self, asker):
        return NO_SUCH
    task = ticket_find(self, asker, ticket)
    if task < 0:
        order = order_new(self, GIVE_BACK)
        if order != NULL:
            order.asker = asker
            order.ticket = ticket
        return 0
    row = &self.tasks[task]
    if row.doer < 0:
        task_withdraw(self, task)
        task_give_back(self, task)
    elif row.marks & (WANTED | CONFIRMED) or (not row.marks & ASKED and doer_ask(self, task) < 0):
        # Who asks twice is told no once, and then what the doer says.
        task_say_no(self, task)
    else:
        row.marks |= WANTED
        doer_settle(self, row.doer, False)
    return 1


cdef int scheduler_find(Scheduler* self, uint64_t token, int32_t* asker, uint64_t* ticket) noexcept nogil:
    cdef int32_t task = task_of(self, token)
    if task < 0 or self.tasks[task].state == GHOST:
        return 0
    asker[0] = self.tasks[task].asker
    ticket[0] = self.tasks[task].ticket
    return 1


cdef bint scheduler_may_starve(const Scheduler* self, uint64_t token) noexcept nogil:
    cdef int32_t task = task_of(self, token)
    # What must run only once is over when its slot is, and of one who is away nothing is tried again.
    return (
        task >= 0 and self.tasks[task].state == RUNNING and not self.tasks[task].marks & SINGLE
        and not self.askers[self.tasks[task].asker].away and hunger_of(self, task) < self.limits.oom_limit)


cdef int32_t scheduler_where(const Scheduler* self, int32_t asker, uint64_t ticket, uint64_t* token) noexcept nogil:
    cdef int32_t task = ticket_find(self, asker, ticket) if asker_known(self, asker) else -1
    if task < 0 or self.tasks[task].doer < 0:
        return -1
    token[0] = token_of(&self.tasks[task], task)
    return self.tasks[task].doer


cdef int32_t scheduler_doer_of(const Scheduler* self, uint64_t token) noexcept nogil:
    cdef int32_t task = task_of(self, token)
    return self.tasks[task].doer if task >= 0 else -1


cdef int32_t scheduler_next_task(
        const Scheduler* self, int32_t after, int32_t asker, Cargo* cargo, uint64_t* token, uint64_t* ticket) noexcept nogil:
    cdef uint32_t i
    cdef const TaskRow* row
    for i in range(<uint32_t> (after + 1), self.task_used):
        row = &self.tasks[i]
        if row.state == FREE or (row.asker != asker or row.doer < 0 if asker >= 0 else row.doer >= 0):
            continue
        cargo[0] = row.cargo
        token[0] = token_of(row, <int32_t> i)
        ticket[0] = row.ticket
        return <int32_t> i
    return -1


cdef void scheduler_decide(Scheduler* self, double now) noexcept nogil:
    if self.away_count:
        askers_let_go(self)
    decisions_take(self, now)


cdef double scheduler_next_time(Scheduler* self, double now) noexcept nogil:
    return decisions_next_time(self, now)


cdef bint scheduler_next_order(Scheduler* self, Order* order) noexcept nogil:
    if self.order_head == self.order_tail:
        self.order_head = 0
        self.order_tail = 0
        return False
    order[0] = self.orders[self.order_head]
    self.order_head += 1
    return True


cdef bint scheduler_has_waiting(const Scheduler* self) noexcept nogil:
    return (self.wanted | self.suspected) != 0 or self.hungry.length != 0


cdef uint64_t scheduler_capacity(const Scheduler* self, int kind) noexcept nogil:
    return self.pools[kind].capacity


cdef void scheduler_load(const Scheduler* self, int32_t doer, uint32_t* running, uint32_t* queued) noexcept nogil:
    running[0] = queued[0] = 0
    if doer_known(self, doer):
        running[0] = self.doers[doer].running - self.doers[doer].ghosts
        queued[0] = self.doers[doer].assigned - self.doers[doer].running


cdef void scheduler_totals(Scheduler* self, Totals* totals) noexcept nogil:
    cdef DoerRow* row
    cdef uint32_t i
    cdef int k
    memset(totals, 0, sizeof(Totals))
    totals.waiting = self.resting.length + self.hungry.length
    for k in range(MASKS):
        totals.waiting += self.lines[k].waiting + self.lines[k].suspects.length
    for k in range(KINDS):
        totals.capacity[k] = self.pools[k].capacity
    for i in range(self.doer_used):
        row = &self.doers[i]
        if row.alive:
            totals.assigned += row.assigned - row.ghosts
            totals.running += row.running - row.ghosts
    totals.accepted = self.accepted
    totals.ended = self.ended
    totals.stale = self.stale
    totals.retried = self.retried
    totals.crashes = self.crashes
    totals.losses = self.losses
    totals.ooms = self.ooms
    totals.retracted = self.retracted
    totals.given_back = self.given_back
    totals.doers = self.doer_count
    totals.askers = self.asker_count - self.away_count
    totals.decisions = self.decisions


cdef int scheduler_validate(Scheduler* self) noexcept nogil:
    return validate(self)
