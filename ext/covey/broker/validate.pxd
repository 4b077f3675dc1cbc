# SPDX-License-Identifier: BSD-3-Clause
"""Every invariant of the tables, derived again from nothing.

Why: the tables keep sums and memberships so that no decision has to look for anything; here they are
all counted anew. Slow on purpose, called after every step of every test.
"""
from covey.broker.tables cimport Scheduler

# 0, or the number of the first invariant that does not hold:
#    1  the task table: free list, count, states
#    2  every task that is not a ghost is filed under its asker and ticket, and nothing else is
#    3  lanes: sorted, linked both ways, of the right asker, needs and priority; the last has a task if any has
#    4  what waits is counted rightly, in the share and in the line, and what has none at all is known
#    5  a kind's heap holds exactly the askers with something that it may do, unless they are held, the least served first
#    6  suspects: linked both ways, of the right needs, counted; so are those that rest, and the agenda knows each once
#    7  each task stands in exactly one place
#    8  queues of doers: what runs first, then what waits from `upcoming` on; something waits only behind a full doer
#    9  a doer's sums: assigned, running, ghosts, asked, singles, backlog; never over its window, unless that was made smaller
#   10  every doer stands where it belongs, in that list, once
#   11  the laden doers are in their list, once; no need of what waits at a doer is unknown
#   12  an asker's sums: unfinished, assigned, bytes; credit
#   13  take-backs that are not answered, of each mask of needs
#   14  timed attempts are counted and in the agenda; the agenda is a heap; a loop's are not timed
#   15  a solo doer holds one task and is no loop, a reserved one is alive and may get something; no slot has two tasks that
#       may not begin twice
#   16  a ghost has no asker, everything else has one that lives
#   17  what is wanted back is asked back from a doer; what is at no doer has only marks that stay;
#       only a task that may not begin twice is BEGUN
#   18  a kind's capacity is the sum over the doers that may get something; a device counts once
#   19  the shares of what runs on a device, or at a loop's GPUs, are counted exactly, and are no more than there is
#   20  who is away has nothing but tasks at doers, none of them wanted back; they are counted
#   21  the hungry are linked both ways, counted, and all of them have hungered; who is alone is the only one wanted that a slot has
cdef int validate(const Scheduler* self) noexcept nogil
