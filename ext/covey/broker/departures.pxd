# SPDX-License-Identifier: BSD-3-Clause
"""The scheduler's orders become letters: the outgoing half of the desk."""
from libc.stdint cimport int32_t, uint64_t

from covey.broker.desk cimport Desk

# Empties the scheduler's list of orders.
cdef void departures_carry_out(Desk* self, double now) noexcept nogil
# The outcome of a task that has no value, with a line for each attempt: those that were made from here, then `more`, whole
# lines, then one for each time that it `raised`.
cdef void departures_end(
    Desk* self, int32_t asker, uint64_t ticket, int status, int attempt, int raised, const unsigned char* more,
    size_t more_size) noexcept nogil
