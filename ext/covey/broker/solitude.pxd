# SPDX-License-Identifier: BSD-3-Clause
"""One task alone on its machine.

Why: a task under which memory ran out may have been its neighbours' victim. Alone it gets all that the machine has; if
that is not enough, nothing here ever will be, and its caller can be told so.

No slot of ours gets anything until all of them are idle, then one gets the task, and the others nothing before that has
ended. Then everybody else has a turn, though others wait to be alone: nobody who needs little waits for more than one of
those who need much, nor one of those for more than what runs already. Slots of other machines are not concerned. For a
task whose asker is held nobody waits; and for one that was cancelled and runs on, not for ever: it may never end, and
everybody would stand still for what nobody wants.

May not know: why memory ran out, and how much there is.
"""
from libc.stdint cimport int32_t

from covey.broker.tables cimport Scheduler

# If the loner has ended, or nobody is left who may be alone here: the slots may get something again.
cdef void solitude_end(Scheduler* self, double now) noexcept nogil
# Keeps the machine for the first that may be alone here. The task, once all of our slots are idle, and in `doer` one that
# may have it; else -1.
cdef int32_t solitude_seek(Scheduler* self, int32_t* doer, double now) noexcept nogil
# The doer has it now, and is alone.
cdef void solitude_begin(Scheduler* self, int32_t task) noexcept nogil
# When it has waited long enough for what was cancelled; infinity: it does not wait.
cdef double solitude_next_time(const Scheduler* self, double now) noexcept nogil
