# SPDX-License-Identifier: BSD-3-Clause
"""The compiled core of a future; futures.pyx says why."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum FutureState:
    PENDING = 0
    RUNNING = 1
    CANCELLED = 2
    CANCELLED_AND_NOTIFIED = 3
    FINISHED = 4

cdef class FutureCore:
    cdef uint8_t state
    cdef uint8_t tries                  # the attempt whose outcome this is
    cdef uint32_t run_us                # measured in the slot
    cdef uint64_t ticket                # its high half is what people call the task by
    cdef object value                   # result or None
    cdef object error                   # exception or None
    cdef object condition               # None until somebody must wait
    cdef object waiters                 # list, None until asked for
    cdef object callbacks               # list, None until asked for
    cdef object exchange                # who can flush and cancel; None when done
    cdef object entry                   # the function, for the label

    cdef object make_condition(self)
    cdef int wait_done(self, object timeout) except -1

# A future without any of the above but these; the cheapest object that is a concurrent.futures.Future.
cdef FutureCore future_new(object exchange, object entry)
# Ends it, exactly once; a future that was cancelled stays so. Runs its callbacks in this thread.
cdef int future_finish(FutureCore self, object value, object error) except -1
cdef int future_run(FutureCore self) except -1
