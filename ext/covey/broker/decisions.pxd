# SPDX-License-Identifier: BSD-3-Clause
"""The decisions: what is given to whom, what is taken back, whose time is up.

Why each rule, in the order they are applied:
  * A suspect (slots died under it) gets a doer of its own, so that its next crash blames nobody else.
  * A task under which memory ran out gets its whole machine, in its turn (solitude).
  * A doer with a place free takes whatever is next, the warmest first. Places of CPUs are given before those of
    GPUs, so that what any doer may do leaves the GPUs to what needs them; what only prefers a GPU gets one while
    nobody waits who has no other choice.
  * A busy one may get more, so that it never waits for us: as much as it can do in `quantum`, or one task
    of at most `lone_above`. Never behind one where nothing has moved for `retract_after`.
  * What waits at such a doer while another is idle, and nothing waits here, is asked back: the newest
    half at a time, of what the idle one may do, and none of it goes there again before something moves there.
  * If the task whose turn it is at a kind of doers fits at none of them, no other is tried: it would be overtaken
    for ever.

None of it looks through doers or tasks: the work for a decision does not grow with either.
"""
from libc.stdint cimport int32_t

from covey.broker.tables cimport Scheduler

cdef void decisions_take(Scheduler* self, double now) noexcept nogil
cdef double decisions_next_time(Scheduler* self, double now) noexcept nogil
# A task that waits goes to this doer, whatever else waits. -1: no memory.
cdef int decisions_give(Scheduler* self, int32_t task, int32_t doer, double now) noexcept nogil
