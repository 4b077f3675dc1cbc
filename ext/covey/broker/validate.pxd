# SPDX-License-Identifier: BSD-3-Clause
"""Every invariant of the tables, derived again from nothing.

Why: the tables keep sums and memberships so that no decision has to look for anything; here they are
all counted anew. Slow on purpose, called after every step of every test.
"""
from covey.broker.tables cimport Scheduler

# 0, or the number of the first invariant that does not hold:
#    1  the task table: free list, count, states
#    2  every task that is not a ghost is filed under its asker and ticket, and nothing else is
#    3  lanes: sorted, linked both ways, of the right asker, resource and priority; the last has a task if any has
#    4  what waits is counted rightly, in the share and in the pool
#    5  the heap holds exactly the askers with something waiting, the least served first
#    6  suspects: linked both ways, of the right resource, counted
#    7  each task stands in exactly one place
#    8  queues of doers: what runs first, then what waits from `upcoming` on; something waits only behind a full doer
#    9  a doer's sums: assigned, running, ghosts, asked, backlog; never over its window
#   10  every doer stands where it belongs, in that list, once
#   11  the laden doers are in their list, once
#   12  an asker's sums: unfinished, assigned, bytes; credit
#   13  a pool's take-backs that are not answered
#   14  timed attempts are counted and in the agenda; the agenda is a heap
#   15  a solo doer holds one task, a reserved one is alive and waited for
#   16  a ghost has no asker, everything else has one that lives
cdef int validate(const Scheduler* self) noexcept nogil
