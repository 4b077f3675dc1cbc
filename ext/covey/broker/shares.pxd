# SPDX-License-Identifier: BSD-3-Clause
"""Waiting work and whose turn it is: lanes inside an asker, fair shares between askers.

Why: priority orders one asker's own tasks; between askers it must not count, or one of them
starves the rest. So each asker has lanes by priority, and the askers with something waiting stand in
a heap by the work they were given over their weight (start-time fair queuing: who comes, or comes
back, starts where the one served last stands, neither behind nor with a claim to the past).

May not know: doers. Guarantees: O(log askers) a task, O(1) with one asker.
"""
from libc.stdint cimport int32_t, uint32_t

from covey.broker.tables cimport Scheduler

# The task waits in its lane: at the end, or at the front because it was there before. -1 when memory is out.
cdef int share_add(Scheduler* self, int32_t task, bint front) noexcept nogil
cdef void share_remove(Scheduler* self, int32_t task) noexcept nogil
# The task whose turn it is, or -1.
cdef int32_t share_first(Scheduler* self, int resource) noexcept nogil
# What it was given (or, negative, not given after all), in ticks. For a task in no lane.
cdef void share_charge(Scheduler* self, int32_t asker, int resource, double ticks) noexcept nogil
