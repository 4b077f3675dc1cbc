# SPDX-License-Identifier: BSD-3-Clause
"""How a task leaves where it is: back to waiting, or for good.

Why in one file: "ends exactly once, and gives its cargo back exactly once" is easy to see when
there is one door out. `task_end` is the only place that writes an END, and `task_part` the only one
after which an asker does not have the task any more.

May not know: which doer is chosen for what.
"""
from libc.stdint cimport int32_t

from covey.broker.tables cimport Scheduler

# From the asker's books and the ticket hash; the row stays.
cdef void task_part(Scheduler* self, int32_t task) noexcept nogil
# END to its asker (or, with `mute`, to nobody) with its cargo, and the asker has it no more; the row stays.
cdef void task_end(Scheduler* self, int32_t task, int status, bint mute) noexcept nogil
# A task that waits goes out of its lane or the suspects.
cdef void task_withdraw(Scheduler* self, int32_t task) noexcept nogil
# A task in no list waits: in its lane, or among the suspects. -1 when memory is out.
cdef int task_wait(Scheduler* self, int32_t task, bint front) noexcept nogil
# A task in no list waits again, before the others of its lane; `unrun` if its share was charged for nothing.
cdef void task_return(Scheduler* self, int32_t task, bint unrun) noexcept nogil
# A task at a doer that its asker has parted with: REVOKE. It becomes a ghost, or its row is free.
cdef void task_revoke(Scheduler* self, int32_t task, double now) noexcept nogil
# A RUNNING task must stop now: END with `status`, and KILL.
cdef void task_stop(Scheduler* self, int32_t task, int status, double now) noexcept nogil
# All that a doer holds ends or waits again, as `why` (a Leaving) says.
cdef void doer_unload(Scheduler* self, int32_t doer, int why, double now) noexcept nogil
