# SPDX-License-Identifier: BSD-3-Clause
"""Links that end and begin again: what was under way is found, and not begun a second time.

    asker's link ends ─► its running tasks stay (absent), their outcomes wait (kept)
    a link begins     ─► the doer says which those are: HELD
    asker, on HELD    ─► a task of that name waits here? it goes to that doer; else it may come yet (claims)
    doer, on TASKS    ─► runs already: adopted; is done: here is its outcome; else: a task like any other

Why apart from arrivals: these are the rare days. Only askers that are loops themselves come back, and only one whose link
broke without a BYE is waited for.

May not know: sockets. Guarantees: what is here of one session (see peers.pxd) is told to that one alone and given to that
one alone; outcomes that nobody fetches are forgotten after `keep_for`, or sooner if they take more than an asker's credit;
what is booked of a running task goes with the task; a name that is claimed wrongly costs nothing but that the task runs.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from covey.broker.desk cimport Desk
from covey.broker.peers cimport Peer
from covey.broker.scheduler cimport Verdict
from covey.wire.bale cimport Bale
from covey.wire.protocol cimport HeldRecord, TaskRecord

# The link of an asker, whose row goes away next, has broken.
cdef void returns_on_asker_away(Desk* self, const Peer* row, double now) noexcept nogil
# The accepted outcome at `offset` is of one who is away, or has no link any more.
cdef void returns_keep(
    Desk* self, const Verdict* verdict, uint64_t token, Bale* bale, uint32_t offset, double now) noexcept nogil
# A new asker is told what is here for it under names. After its WELCOME.
cdef void returns_tell_held(Desk* self, int32_t peer, double now) noexcept nogil
cdef void returns_on_held(Desk* self, int32_t peer, const HeldRecord* records, uint32_t count, double now) noexcept nogil
# Whether nothing more need be done for a task that has come: it runs here, or is done.
cdef bint returns_meet(Desk* self, Peer* row, int32_t peer, const TaskRecord* task) noexcept nogil
# The same for a task that has become a row: if a doer has claimed it, it goes there.
cdef void returns_claim(Desk* self, int32_t task, const TaskRecord* record, double now) noexcept nogil
# Whether the message was put aside until `settled_at`; it is held. Not if that would be more than an asker's credit.
cdef bint returns_defer(Desk* self, int32_t peer, Bale* bale, double now) noexcept nogil
# The oldest message that was put aside, if it is time; the caller drops the bale. -1: none.
cdef int32_t returns_next_deferred(Desk* self, Bale** bale, double now) noexcept nogil
# Forgets what is due; when it wants to be called again (infinity: never).
cdef double returns_purge(Desk* self, double now) noexcept nogil
