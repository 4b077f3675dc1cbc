# SPDX-License-Identifier: BSD-3-Clause
"""Waiting work and whose turn it is: lanes inside an asker, fair shares between askers.

Why: priority orders one asker's own tasks; between askers it must not count, or one of them
starves the rest. So each asker has lanes by priority, and for each kind of doer the askers with
something that it may do stand in a heap by the work they were given there over their weight
(start-time fair queuing: who comes, or comes back, starts where the one served last stands, neither
behind nor with a claim to the past). One heap for each kind, whatever the tasks need besides: so
whoever competes for a doer competes in one place.

An asker's own tasks go by priority; of equals, those go first that fewer kinds of doers may do, and
of these the oldest: else a GPU would be taken by what any doer could have done.

May not know: doers. Guarantees: O(log askers) a task, O(1) with one asker.
"""
from libc.stdint cimport int32_t, uint32_t

from covey.broker.tables cimport Scheduler

# The task waits in its lane: at the end, or at the front because it was there before. -1 when memory is out.
cdef int share_add(Scheduler* self, int32_t task, bint front) noexcept nogil
cdef void share_remove(Scheduler* self, int32_t task) noexcept nogil
# The task whose turn it is at doers of this kind, or -1.
cdef int32_t share_first(Scheduler* self, int kind) noexcept nogil
# How many tasks wait that doers of this kind may do, suspects not counted.
cdef uint32_t share_waiting(const Scheduler* self, int kind) noexcept nogil
# What it was given there (or, negative, not given after all), in ticks. For a task in no lane.
cdef void share_charge(Scheduler* self, int32_t asker, int kind, double ticks) noexcept nogil
# While it is held it has no turn anywhere, whatever waits for it.
cdef void share_hold(Scheduler* self, int32_t asker, bint held) noexcept nogil
