# SPDX-License-Identifier: BSD-3-Clause
"""Notes that came to a slot for tasks that are there, until they are read.

Why apart: a slot's end moves tasks and outcomes; few tasks ever read a note, and those pay for it alone.

May not know: sockets, which tasks there are. Guarantees: what was not read is freed with its task; no descriptor is
used before somebody waits. Not locked: the owner's lock is held, save while waiting for the bell.
"""
from libc.stdint cimport uint64_t
from covey.link.wake cimport Wake
from covey.wire.bale cimport Bale

cdef struct Notes:
    Bale* first                     # oldest first; one record each
    Wake bell                       # rung when there is something to look at
    bint listens                    # the bell was made

cdef uint64_t notes_ticket(const Bale* note) noexcept nogil
# Ownership passes.
cdef void notes_keep(Notes* self, Bale* note) noexcept nogil
# The oldest for this task, which is the caller's from then on; NULL: there is none.
cdef Bale* notes_take(Notes* self, uint64_t ticket) noexcept nogil
# Those for one task, or with 0 all.
cdef void notes_drop(Notes* self, uint64_t ticket) noexcept nogil
cdef void notes_ring(Notes* self) noexcept nogil
cdef void notes_free(Notes* self) noexcept nogil
