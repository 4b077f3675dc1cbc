# SPDX-License-Identifier: BSD-3-Clause
"""A user's settings as the numbers that a scheduler works with.

Why: a loop, a board and a test's desk are all made of them, and a setting that one of them forgot would be chance there.

May not know: what a limit is for. Guarantees: every limit is set; needs the GIL, and is done once.
"""
from libc.stdint cimport uint64_t
from covey.broker.orders cimport Limits

# `seed`: of the chance in the pauses before a task is tried again. Raises what a value that is no number raises.
cdef Limits limits_of(object settings, uint64_t seed) except *
