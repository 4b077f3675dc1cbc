# SPDX-License-Identifier: BSD-3-Clause
"""What the tasks of a slot have started and left running.

Why: a process that goes into the background twice is in no group of its slot, and nobody's child any more;
but it still has the environment that the slot was started with, and there stands the slot's mark.

May not know: slots, tasks. Guarantees: only processes that have the mark, or are of the group, are killed, and never the
one that calls; where there is no /proc none is found. Whoever takes the mark out of the environment of what he starts, and
leaves the group, has hidden it on purpose.
"""

# Kills those whose environment began with `mark` in it, and those of the `groups` but their leaders. How many.
cdef int kin_kill(const char* mark, const int* groups, int count) noexcept nogil
# The node is gone: nobody is left to read a result. Ends this process with its group and, unless the mark is NULL, all that
# have it.
cdef void kin_die(const char* mark) noexcept nogil
# Does so when the node's end of the pipe is closed; for a thread of its own. Returns only if somebody has closed ours.
cdef void kin_guard(int lifeline, const char* mark) noexcept nogil
