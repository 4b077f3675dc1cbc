# SPDX-License-Identifier: BSD-3-Clause
"""Messages become facts: the incoming half of the desk."""
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from covey.broker.desk cimport Desk
from covey.wire.bale cimport Bale

# A message from `route` (port first); the bale's ownership passes. `allowed` has 1 << role for each role that a
# newcomer may take here.
cdef void arrivals_receive(
    Desk* self, const uint8_t* route, size_t route_size, int allowed, Bale* bale, double now) noexcept nogil
# The keeper saw a slot's process end; `token` is what ran there, or NO_TASK, or UNKNOWN_TASK. `starved`: of memory.
cdef void arrivals_slot_died(
    Desk* self, uint32_t pid, uint64_t token, bint starved, const char* report, double now) noexcept nogil
# The tasks of slots whose last words have had their time, and of nodes that were given up, go to others.
cdef void arrivals_judge_the_dead(Desk* self, double now) noexcept nogil
# The socket knows no such route any more.
cdef void arrivals_unreachable(Desk* self, int32_t peer, double now) noexcept nogil
# A connection that we dialled was cut.
cdef void arrivals_cut_off(Desk* self, int32_t peer, double now) noexcept nogil
# Takes in what was put aside while doers could say what they hold, once that is over.
cdef void arrivals_settle(Desk* self, double now) noexcept nogil
