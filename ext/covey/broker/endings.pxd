# SPDX-License-Identifier: BSD-3-Clause
"""How a task leaves where it is: back to waiting, or for good.

Why in one file: "ends exactly once, and gives its cargo back exactly once" is easy to see when
there is one door out. `task_end` is the only place that writes an END, `task_say_no` and
`task_give_back` the only ones that answer an asker who wants a task back, and `task_part` the only one
after which an asker does not have the task any more.

May not know: which doer is chosen for what.
"""
from libc.stdint cimport int32_t

from covey.broker.tables cimport Scheduler

# From the asker's books and the ticket hash, with a no if it was wanted back; the row stays.
cdef void task_part(Scheduler* self, int32_t task) noexcept nogil
# END to its asker (or, with `mute`, to nobody) with its cargo, and the asker has it no more; the row stays.
cdef void task_end(Scheduler* self, int32_t task, int status, bint mute) noexcept nogil
# To its asker: no, it is not given back. The row stays.
cdef void task_say_no(Scheduler* self, int32_t task) noexcept nogil
# The same to one who was waiting for that answer.
cdef void task_keep(Scheduler* self, int32_t task) noexcept nogil
# A task in no list goes back to its asker, with its cargo; its row is free.
cdef void task_give_back(Scheduler* self, int32_t task) noexcept nogil
# A task that waits or rests goes out of its lane, the suspects, or those that rest.
cdef void task_withdraw(Scheduler* self, int32_t task) noexcept nogil
# A task in no list waits: in its lane, or among the suspects. -1 when memory is out.
cdef int task_wait(Scheduler* self, int32_t task, bint front) noexcept nogil
# A task in no list, that raised and has retries left, rests; or waits again, if it has no rest.
cdef void task_rest(Scheduler* self, int32_t task, double now) noexcept nogil
# A task in no list waits again, before the others of its lane.
cdef void task_return(Scheduler* self, int32_t task) noexcept nogil
# The same for one that never began at the doer of that kind, for which its asker was charged; or it goes back to who
# wants it.
cdef void task_unrun(Scheduler* self, int32_t task, int kind, bint wanted) noexcept nogil
# A task at a doer that its asker has parted with: REVOKE. It becomes a ghost, or its row is free.
cdef void task_revoke(Scheduler* self, int32_t task, double now) noexcept nogil
# A task at a doer must stop now: END with `status`, and KILL. It runs, or may at a doer that is a loop.
cdef void task_stop(Scheduler* self, int32_t task, int status, double now) noexcept nogil
# All that a doer holds ends or waits again, as `why` (a Leaving) says.
cdef void doer_unload(Scheduler* self, int32_t doer, int why, double now) noexcept nogil
