# SPDX-License-Identifier: BSD-3-Clause
"""A desk behind a lock, and the doors of it that Python uses; whoever moves its messages derives from it."""
from cpython.pythread cimport PyThread_type_lock

from covey.broker.desk cimport Desk
from covey.link.wake cimport Wake

# For home, where whoever gets in may be anything.
cdef enum:
    EVERY_ROLE = 6                      # 1 << ASKER | 1 << DOER

cdef class Broker:
    cdef PyThread_type_lock lock
    cdef Desk desk
    cdef Wake loop_wake                 # rung when the loop must look again
    cdef Wake errand_wake               # rung when the keeper has something to do
    cdef Wake news_wake                 # rung when somebody came, left or was refused
    cdef bint stopping
    cdef double press_again             # when the memory wants to be looked at again

    cdef void _take(self) noexcept nogil
    # Under the lock: what follows from what came in.
    cdef void _pump(self, double now) noexcept nogil
    cdef double _next_time(self, double now) noexcept nogil
