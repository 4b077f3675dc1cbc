# SPDX-License-Identifier: BSD-3-Clause
"""Askers who leave, or whose link has ended: what becomes of what they asked for.

Why apart from the scheduler's facts: an asker has no list of its tasks (leaving is rare, and such a list would cost every
task), so whoever leaves is looked for everywhere; nothing else here looks through anything.

May not know: links, names. Guarantees: nothing is said to a number that may soon be another asker's.
"""
from libc.stdint cimport int32_t

from covey.broker.tables cimport Scheduler

# What waits ENDs to nobody; what is at doers is revoked, but with `all` False only what is believed to wait there.
cdef void asker_forget(Scheduler* self, int32_t asker, bint all, double now) noexcept nogil
# The numbers of those who are away and have nothing more are free.
cdef void askers_let_go(Scheduler* self) noexcept nogil
