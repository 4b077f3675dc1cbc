# SPDX-License-Identifier: BSD-3-Clause
"""Which doer gets which task: the contents page of the scheduler.

Why: every decision of covey is taken here, and nowhere else. Facts come in as function calls,
orders go out through a list that the caller empties; `now` (seconds, monotonic) is an argument.

May not know: sockets, clocks, pickles, frames. What a task carries is `Cargo`, which is kept and
handed back, never looked at.

Guarantees: a task is in exactly one place; it ends exactly once; every row that goes away gives its
cargo back exactly once (in the Verdict of an accepted outcome, in an END or in a GIVE_BACK); a doer never
holds more than its window; an asker's credit is what it was told. `scheduler_validate` re-derives
all of this. Not thread-safe: one thread at a time, and none of it needs the GIL.
"""
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from covey.broker.orders cimport (
    AGAIN, ACCEPTED, ASSIGN, BLAME, DISMISS, DUPLICATE, END, GIVE_BACK, KILL, LEFT_CRASHED, LEFT_IDLE, LEFT_KILLED, LEFT_LOST, LEFT_OOM,
    LEFT_PLANNED, NO_MEMORY, NO_SUCH, OVER_CREDIT, REVOKE, STALE, TAKE_BACK,
    Cargo, Leaving, Limits, Order, OrderKind, Refusal, Ruling, Totals, Verdict)
from covey.broker.tables cimport Scheduler

cdef Scheduler* scheduler_new(const Limits* limits) noexcept nogil
cdef void scheduler_free(Scheduler* self) noexcept nogil

# Facts. Each returns 0 or an index, or a negative number for a fact that cannot be.
cdef int32_t scheduler_on_asker_joined(Scheduler* self, double weight, double now) noexcept nogil
# A loop: with its bytes it goes by `byte_room`, which one task may pass, so nothing of it is refused for them.
cdef int scheduler_on_asker_trusted(Scheduler* self, int32_t asker) noexcept nogil
# Its waiting tasks END to nobody, its running ones are revoked.
cdef int scheduler_on_asker_left(Scheduler* self, int32_t asker, double now) noexcept nogil
# While it is held, nothing of what waits for it is given to anybody.
cdef int scheduler_on_asker_held(Scheduler* self, int32_t asker, bint held) noexcept nogil
# The link to it has ended, and another may come that asks for the same tasks. What waits ENDs to nobody, what is believed
# to run goes on and stays its own until it is adopted or ends; its number is free when it has nothing more.
cdef int scheduler_on_asker_away(Scheduler* self, int32_t asker, double now) noexcept nogil
# A task of one who is away is this asker's from now on, under this ticket. -1: it is not, and nothing has changed.
cdef int scheduler_on_adopted(Scheduler* self, uint64_t token, int32_t asker, uint64_t ticket) noexcept nogil
# A task that waits goes to this doer and nowhere else, because that one has it already. -1: it does not wait, or may not
# go there.
cdef int scheduler_on_claimed(Scheduler* self, int32_t task, int32_t doer, double now) noexcept nogil
# `relays`: it is a loop itself. Then no time limit is kept and no crash counted here for what it has (both are seen and
# judged there), what it calls an error is tried again only after a rest, and KILL asks it to stop that task, by force; it lives on.
# `device`: it is a slot on that GPU (-1: none), of which all tasks on it share one; it runs one at a time, has no other
# behind it, and keeps its size.
cdef int32_t scheduler_on_doer_joined(
    Scheduler* self, int kind, uint32_t capacity, uint32_t window, bint relays, int32_t device, double now) noexcept nogil
# It runs so many at once from now on, and may have so many. It keeps what it has; with a capacity of 0 it gets nothing.
cdef int scheduler_on_doer_resized(
    Scheduler* self, int32_t doer, uint32_t capacity, uint32_t window, double now) noexcept nogil
# It gets nothing more once it has so many bytes; if it has nothing, it may still get one task, however large.
cdef int scheduler_on_byte_room(Scheduler* self, int32_t doer, uint64_t bytes) noexcept nogil
# Of an asker's unfinished tasks.
cdef uint64_t scheduler_bytes_of(const Scheduler* self, int32_t asker) noexcept nogil
cdef int scheduler_on_doer_left(Scheduler* self, int32_t doer, int why, double now) noexcept nogil
# A slot is dead, and will be said to have left; by its mark it died under that attempt. That has begun, and what it was
# given later has not. If it does not hold it (0), nobody can tell what has begun there.
cdef int scheduler_on_died_under(Scheduler* self, int32_t doer, uint64_t token, double now) noexcept nogil
# No new tasks; what waits there is asked back; DISMISS when it holds nothing.
cdef int scheduler_on_drain(Scheduler* self, int32_t doer, double now) noexcept nogil
cdef int scheduler_on_heard(Scheduler* self, int32_t doer, double now) noexcept nogil
# A function number is an index that the caller keeps dense; its measured duration lives here.
cdef int scheduler_on_function_forgotten(Scheduler* self, int32_t function) noexcept nogil
# `needs`: a mask of the kinds of doers that will do, 1 << kind each.
cdef int32_t scheduler_on_task(
    Scheduler* self, int32_t asker, uint64_t ticket, int32_t function, int needs, uint16_t share, int16_t priority,
    uint8_t flags, uint8_t retries, uint8_t crashes, uint8_t attempts, uint32_t timeout_ms, uint32_t retry_wait_ms,
    const Cargo* cargo, double now) noexcept nogil
cdef int scheduler_on_started(Scheduler* self, int32_t doer, uint64_t token, double now) noexcept nogil
# `final`: an ERROR that is not to be tried again.
cdef Verdict scheduler_on_outcome(
    Scheduler* self, int32_t doer, uint64_t token, int status, bint final, uint32_t run_us, double now) noexcept nogil
cdef int scheduler_on_given_back(Scheduler* self, int32_t doer, uint64_t token, bint given_back, double now) noexcept nogil
# Waiting: END with CANCELLED. At a doer: END with CANCELLED at once, and REVOKE (with `force` and if it runs: KILL).
# 1 if the task was known, else 0. What is believed to run keeps its doer's place until its outcome comes (STALE,
# whatever it says), it is given back after all (a TAKE_BACK goes before such a REVOKE), or the doer leaves. So a doer
# answers every task that it began with an outcome, revoked or not.
cdef int scheduler_on_cancel(Scheduler* self, int32_t asker, uint64_t ticket, bint force, double now) noexcept nogil
# The asker wants it back unless it has started. Answered by one GIVE_BACK: at once, or when the doer that has it answers
# or is gone. An asker that leaves is not answered; a task that ends meanwhile is not given back. 1 if it was known.
cdef int scheduler_on_retract(Scheduler* self, int32_t asker, uint64_t ticket, double now) noexcept nogil
# Whose a token is (for OUTPUT and STARTED): 1 and the asker and ticket, or 0.
cdef int scheduler_find(Scheduler* self, uint64_t token, int32_t* asker, uint64_t* ticket) noexcept nogil

# Whether what runs under the token would be tried again if memory ran out under it now.
cdef bint scheduler_may_starve(const Scheduler* self, uint64_t token) noexcept nogil

# The doer that has an asker's task now, or -1; `token` is the task's name there.
cdef int32_t scheduler_where(const Scheduler* self, int32_t asker, uint64_t ticket, uint64_t* token) noexcept nogil

# The doer that holds the task of a token, or -1.
cdef int32_t scheduler_doer_of(const Scheduler* self, uint64_t token) noexcept nogil

# The first task behind row `after` (-1: the first of all) that `asker` has at a doer (-1: that waits here), or -1.
cdef int32_t scheduler_next_task(
    const Scheduler* self, int32_t after, int32_t asker, Cargo* cargo, uint64_t* token, uint64_t* ticket) noexcept nogil

# Decisions, and with a claim the only place that writes an ASSIGN. Call after a batch of facts: assigns what can be assigned,
# judges leases and timeouts, takes back.
cdef void scheduler_decide(Scheduler* self, double now) noexcept nogil
# When scheduler_decide should be called again though nothing happened; infinity if never. With leases it is never
# further off than half of `pause` after the last time: only who looks often can tell a pause of its own.
cdef double scheduler_next_time(Scheduler* self, double now) noexcept nogil
# The oldest order not yet handed out, or 0. The order is a copy. Empty the list after each decide, before the next
# fact: an ASSIGN's cargo is the row's, and the next fact may end it.
cdef bint scheduler_next_order(Scheduler* self, Order* order) noexcept nogil

# Whether any task waits for a doer.
cdef bint scheduler_has_waiting(const Scheduler* self) noexcept nogil
# Tasks of a kind that are run at once here, by all doers that may get any.
cdef uint64_t scheduler_capacity(const Scheduler* self, int kind) noexcept nogil
# What a doer has: tasks believed to run there, and tasks that wait there. Those that nobody wants any more do not count.
cdef void scheduler_load(const Scheduler* self, int32_t doer, uint32_t* running, uint32_t* queued) noexcept nogil
cdef void scheduler_totals(Scheduler* self, Totals* totals) noexcept nogil
# 0, or the number of the first invariant that does not hold (see validate.pyx for what each says).
cdef int scheduler_validate(Scheduler* self) noexcept nogil
