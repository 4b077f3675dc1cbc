# SPDX-License-Identifier: BSD-3-Clause
"""The agenda: what falls due at a time, the earliest first.

Why a heap of reminders and not a queue of the things themselves: a doer's lease moves with every
message and most tasks have no timeout. So an entry only says when to look; what it finds then
decides, and a finished task's entry is thrown out when there are too many of those.

May not know: what is done about what is due.
"""
from libc.stdint cimport int32_t, uint32_t

from covey.broker.tables cimport Due, Scheduler, TaskRow

# 0, or -1 when memory is out.
cdef int agenda_put(Scheduler* self, double when, int kind, int32_t index, uint32_t stamp) noexcept nogil
# The earliest entry that is not out of date, or NULL; good until the agenda changes.
cdef Due* agenda_first(Scheduler* self) noexcept nogil
# Takes that entry out.
cdef void agenda_drop(Scheduler* self) noexcept nogil

cdef inline uint32_t task_stamp(const TaskRow* row) noexcept nogil:
    return row.birth | <uint32_t> row.attempt << 24
