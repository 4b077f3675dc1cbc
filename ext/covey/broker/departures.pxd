# SPDX-License-Identifier: BSD-3-Clause
"""The scheduler's orders become letters: the outgoing half of the desk."""
from covey.broker.desk cimport Desk

# Empties the scheduler's list of orders.
cdef void departures_carry_out(Desk* self, double now) noexcept nogil
