# SPDX-License-Identifier: BSD-3-Clause
"""See solitude.pxd, the contents page."""
from libc.stdint cimport uint8_t, uint32_t

from covey.broker.doers cimport doer_ask, doer_settle
from covey.broker.tables cimport (
    ALONE, ASKED, CONDEMNED, CROWDED, DRAINING, EMPTYING, KINDS, QUEUED, RELAYS, DoerRow)


cdef void _keep(Scheduler* self, int solitude) noexcept nogil:
    cdef uint32_t i
    self.solitude = <uint8_t> solitude
    for i in range(self.doer_used):
        if self.doers[i].alive and not self.doers[i].marks & RELAYS:
            doer_settle(self, <int32_t> i, False)


cdef void _empty(Scheduler* self) noexcept nogil:
    cdef uint32_t i
    cdef int32_t at
    cdef int kind
    for kind in range(KINDS):
        # What is kept for a suspect may not be had by it now.
        if self.pools[kind].reserved >= 0 and not self.doers[self.pools[kind].reserved].marks & RELAYS:
            self.pools[kind].reserved = -1
    for i in range(self.doer_used):
        if not self.doers[i].alive or self.doers[i].marks & RELAYS:
            continue
        at = self.doers[i].tail
        while at >= 0 and self.tasks[at].state == QUEUED:
            if not self.tasks[at].marks & ASKED:
                doer_ask(self, at)
            at = self.tasks[at].prev
    _keep(self, EMPTYING)


cdef inline bint _may_have(const DoerRow* row) noexcept nogil:
    return row.alive and row.capacity > 0 and not row.marks & (RELAYS | DRAINING | CONDEMNED)


# The first hungry task that a slot may have now; one whose kind of slot is gone, or whose asker is held, keeps nobody waiting.
cdef int32_t _first(const Scheduler* self) noexcept nogil:
    cdef uint8_t kinds = 0
    cdef int32_t task = self.hungry.head
    cdef uint32_t i
    for i in range(self.doer_used):
        if _may_have(&self.doers[i]):
            kinds |= <uint8_t> (1 << self.doers[i].kind)
    while task >= 0 and (not self.tasks[task].needs & kinds or self.askers[self.tasks[task].asker].held):
        task = self.tasks[task].next
    return task


cdef void solitude_end(Scheduler* self) noexcept nogil:
    if self.loner < 0 and (self.solitude == ALONE or _first(self) < 0):
        _keep(self, CROWDED)


cdef int32_t solitude_seek(Scheduler* self, int32_t* doer) noexcept nogil:
    cdef int32_t task
    cdef uint32_t i
    if self.solitude == ALONE:
        return -1
    task = _first(self)
    if task < 0:
        return -1
    if self.solitude == CROWDED:
        _empty(self)
    doer[0] = -1
    for i in range(self.doer_used):
        if not self.doers[i].alive or self.doers[i].marks & RELAYS:
            continue
        if self.doers[i].assigned:
            return -1
        if doer[0] < 0 and _may_have(&self.doers[i]) and self.tasks[task].needs >> self.doers[i].kind & 1:
            doer[0] = <int32_t> i
    return task


cdef void solitude_begin(Scheduler* self, int32_t task) noexcept nogil:
    self.loner = task
    self.solitude = ALONE
