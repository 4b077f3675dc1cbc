# SPDX-License-Identifier: BSD-3-Clause
"""See leavers.pxd, the contents page."""
from libc.stdint cimport int32_t, uint8_t, uint32_t

from covey.broker.endings cimport task_end, task_revoke, task_withdraw
from covey.broker.orders cimport END, GIVE_BACK
from covey.broker.tables cimport MASKS, QUEUED, WANTED, AskerRow, asker_free, task_free
from covey.wire.protocol cimport CANCELLED


cdef void _forget_those_of(Scheduler* self, int32_t at, int32_t asker) noexcept nogil:
    """`at`: the first of a list that is not one asker's alone."""
    cdef int32_t following
    while at >= 0:
        following = self.tasks[at].next
        if self.tasks[at].asker == asker:
            task_withdraw(self, at)
            task_end(self, at, CANCELLED, True)
            task_free(self, at)
        at = following


cdef void _forget_what_waits(Scheduler* self, int32_t asker) noexcept nogil:
    cdef AskerRow* row = &self.askers[asker]
    cdef int32_t at
    cdef uint32_t i
    cdef int mask
    # What was said to it and is not handed out yet is said to nobody: its number may soon be another's.
    for i in range(self.order_head, self.order_tail):
        if self.orders[i].asker == asker and (self.orders[i].kind == END or self.orders[i].kind == GIVE_BACK):
            self.orders[i].asker = -1
    for mask in range(MASKS):
        while row.shares[mask].waiting:
            # An empty lane may stand before the last one, never behind it.
            at = row.shares[mask].lanes[row.shares[mask].lane_count - 1].head
            task_withdraw(self, at)
            task_end(self, at, CANCELLED, True)
            task_free(self, at)
        _forget_those_of(self, self.lines[mask].suspects.head, asker)
    _forget_those_of(self, self.resting.head, asker)
    _forget_those_of(self, self.hungry.head, asker)


cdef void _forget_what_is_out(Scheduler* self, int32_t asker, bint all, double now) noexcept nogil:
    cdef int32_t at, following
    cdef uint32_t i
    for i in range(self.doer_used):
        if self.askers[asker].assigned == 0:
            break
        if not self.doers[i].alive:
            continue
        at = self.doers[i].head
        while at >= 0:
            following = self.tasks[at].next
            if self.tasks[at].asker == asker:
                if all or self.tasks[at].state == QUEUED:
                    task_end(self, at, CANCELLED, True)
                    task_revoke(self, at, now)
                else:
                    # It is not wanted back any more, and nobody waits to be told.
                    self.tasks[at].marks &= <uint8_t> ~WANTED
            at = following


cdef void asker_forget(Scheduler* self, int32_t asker, bint all, double now) noexcept nogil:
    _forget_what_waits(self, asker)
    _forget_what_is_out(self, asker, all, now)


cdef void askers_let_go(Scheduler* self) noexcept nogil:
    cdef uint32_t i
    for i in range(self.asker_used):
        if self.askers[i].alive and self.askers[i].away and self.askers[i].unfinished == 0:
            self.away_count -= 1
            asker_free(self, <int32_t> i)
