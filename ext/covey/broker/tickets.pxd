# SPDX-License-Identifier: BSD-3-Clause
"""The ticket hash: from an asker's own name for a task to its row.

Why a hash of its own: it costs four bytes a bucket and a link that the row has anyway, and dense
tickets (the low 32 bits count up) fall into neighbouring buckets, so walking a million tasks in
order walks memory in order.

It grows by one bucket with each task (linear hashing), so no single task ever pays for a rehash.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t

from covey.broker.tables cimport Scheduler

# The row of an unfinished task, or -1.
cdef int32_t ticket_find(const Scheduler* self, int32_t asker, uint64_t ticket) noexcept nogil
# Files the row under its asker and ticket; the caller has looked that it is not there.
cdef void ticket_add(Scheduler* self, int32_t task) noexcept nogil
cdef void ticket_remove(Scheduler* self, int32_t task) noexcept nogil
# How many rows are filed, by walking every chain; -1 if one is filed wrongly.
cdef int64_t ticket_count(const Scheduler* self) noexcept nogil
