# SPDX-License-Identifier: BSD-3-Clause
"""The client's end of its link, with futures for holders; line.pyx says why it is apart."""
from libc.stdint cimport uint64_t

from covey.link.asker cimport Asker
from covey.client.futures cimport FutureCore
from covey.wire.bale cimport Bale
from covey.wire.protocol cimport OutcomeRecord

cdef class Line:
    cdef Asker end
    cdef readonly object refusal        # the exception that a new task gets; None: tasks are taken
    cdef bint failed                    # and nothing that was taken will be done either
    cdef object idle                    # Event: nothing is unfinished
    cdef object room                    # Event: the backlog has come down
    cdef unsigned long long backlog     # bytes of parcels that may wait here before submit does
    cdef unsigned long attendant        # the thread that sets futures; it must never wait for itself
    cdef object welcomed                # Event: the broker has answered
    cdef object show                    # client/output.show
    cdef object started                 # told of each future whose task is said to run; None: nobody is
    cdef Py_ssize_t live                # futures whose outcome is still to come
    cdef bint settling                  # the I/O thread has outcomes in hand
    cdef dict notes                     # ticket → who hears what its task writes, or what it wrote before
    cdef int settle(self) except -1
    cdef int wait_room(self) except -1
    cdef int on_outcomes(self, Bale* bale) except -1
    cdef int on_started(self, Bale* bale) except -1
    cdef int on_output(self, Bale* bale) except -1
    cdef int on_note(self, Bale* bale) except -1
    cdef int on_text(self, uint64_t ticket, bytes text) except -1
    cdef int listen(self, uint64_t ticket, object hear) except -1
    cdef str task_of(self, uint64_t ticket)
    cdef int on_refusal(self, int kind, Bale* bale) except -1
    cdef int finish(self, FutureCore future, const OutcomeRecord* record, Bale* bale) except -1
