# SPDX-License-Identifier: BSD-3-Clause
"""What a doer holds, and where it stands because of that.

Why: nobody tells us when a task begins (a message a task would cost more than the task), so it is
inferred here: what is given to a doer with a place free begins at once, and when one ends the next
begins. A STARTED from the doer corrects that.

Each doer stands in one of the lists of its pool, so that the next doer for a task is found without
looking at any other. Every function here that changes what a doer holds leaves it standing where it
stood; `doer_settle`, once per fact, puts that right.

May not know: askers' shares, or whether a decision was good.
"""
from libc.stdint cimport int32_t, uint32_t

from covey.broker.tables cimport Scheduler

# The task, in no list now, joins the end of the doer's queue. The caller has checked the window.
cdef void doer_take(Scheduler* self, int32_t doer, int32_t task, double now) noexcept nogil
# The task leaves the queue it is in; what waited behind it may begin.
cdef void doer_drop(Scheduler* self, int32_t task, double now) noexcept nogil
# A RUNNING task is nobody's any more but goes on running. The caller has told its asker.
cdef void doer_haunt(Scheduler* self, int32_t task) noexcept nogil
# What waited has ended, so something before it must have, too: if there are ghosts, the oldest was it.
cdef void doer_lay_ghost(Scheduler* self, int32_t doer, double now) noexcept nogil
# Nobody can tell what has begun there: of tasks that may not begin twice that is remembered.
cdef void doer_begin_all(Scheduler* self, int32_t doer) noexcept nogil
# Whether it runs several at once, and one of these only as we believe: it would be the next to be found waiting there.
cdef bint doer_doubts(const Scheduler* self, int32_t doer) noexcept nogil
# The doer says itself that the task runs.
cdef void doer_confirm(Scheduler* self, int32_t task, double now) noexcept nogil
# How many tasks it runs at once, and how many it may hold: now. It keeps what it has: what it is now believed not to run
# waits there again, and what waited may begin.
cdef void doer_resize(Scheduler* self, int32_t doer, uint32_t capacity, uint32_t window, double now) noexcept nogil
# A doer that has just come is a slot on that device, which there is.
cdef void doer_join_device(Scheduler* self, int32_t doer, int32_t device) noexcept nogil
# Puts all slots of a device where they belong: what is left of it changed.
cdef void doer_settle_device(Scheduler* self, int32_t device) noexcept nogil
# DRAINING or CONDEMNED: it gets nothing more, and counts no more.
cdef void doer_bar(Scheduler* self, int32_t doer, int mark) noexcept nogil
# TAKE_BACK for a task that is not ASKED. -1 when memory is out.
cdef int doer_ask(Scheduler* self, int32_t task) noexcept nogil
cdef void doer_answered(Scheduler* self, int32_t task) noexcept nogil
# Puts the doer where it belongs; `moved` if something there began or ended. Says DISMISS if it is time.
cdef void doer_settle(Scheduler* self, int32_t doer, bint moved) noexcept nogil
# Takes the doer out of every list and sum, for ever.
cdef void doer_unlist(Scheduler* self, int32_t doer) noexcept nogil
