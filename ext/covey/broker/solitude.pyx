# SPDX-License-Identifier: BSD-3-Clause
"""See solitude.pxd, the contents page."""
from libc.math cimport INFINITY
from libc.stdint cimport uint8_t, uint32_t

from covey.broker.doers cimport doer_ask, doer_settle
from covey.broker.tables cimport (
    ALONE, ASKED, CONDEMNED, CROWDED, DRAINING, EMPTYING, GHOST, KINDS, QUEUED, RELAYS, DoerRow)

# Seconds for what was cancelled to come to its end, as most of it does. Arbitrary.
cdef double PATIENCE = 10.0


cdef void _keep(Scheduler* self, int solitude) noexcept nogil:
    cdef uint32_t i
    self.solitude = <uint8_t> solitude
    for i in range(self.doer_used):
        if self.doers[i].alive and not self.doers[i].marks & RELAYS:
            doer_settle(self, <int32_t> i, False)


cdef inline bint _patient(const Scheduler* self, double now) noexcept nogil:
    return now < self.haunted_from + PATIENCE


cdef void _empty(Scheduler* self, double now) noexcept nogil:
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
    self.haunted_from = now
    _keep(self, EMPTYING)


cdef inline bint _may_have(const DoerRow* row, bint patient) noexcept nogil:
    return row.alive and row.capacity > 0 and not row.marks & (RELAYS | DRAINING | CONDEMNED) and (patient or not row.ghosts)


# The first hungry task that a slot may have now; one whose kind of slot is gone, or whose asker is held, keeps nobody waiting.
cdef int32_t _first(const Scheduler* self, bint patient) noexcept nogil:
    cdef uint8_t kinds = 0
    cdef int32_t task = self.hungry.head
    cdef uint32_t i
    for i in range(self.doer_used):
        if _may_have(&self.doers[i], patient):
            kinds |= <uint8_t> (1 << self.doers[i].kind)
    while task >= 0 and (not self.tasks[task].needs & kinds or self.askers[self.tasks[task].asker].held):
        task = self.tasks[task].next
    return task


cdef void solitude_end(Scheduler* self, double now) noexcept nogil:
    if self.loner >= 0 and self.tasks[self.loner].state == GHOST:
        if self.haunted_from == INFINITY:
            self.haunted_from = now
        elif not _patient(self, now):
            self.loner = -1
    if self.loner < 0 and (self.solitude == ALONE or _first(self, _patient(self, now)) < 0):
        _keep(self, CROWDED)


cdef int32_t solitude_seek(Scheduler* self, int32_t* doer, double now) noexcept nogil:
    cdef int32_t task
    cdef uint32_t i
    cdef bint patient
    if self.solitude == ALONE:
        return -1
    patient = self.solitude == CROWDED or _patient(self, now)
    task = _first(self, patient)
    if task < 0:
        return -1
    if self.solitude == CROWDED:
        _empty(self, now)
    doer[0] = -1
    for i in range(self.doer_used):
        if not self.doers[i].alive or self.doers[i].marks & RELAYS:
            continue
        if self.doers[i].assigned > (0 if patient else self.doers[i].ghosts):
            return -1
        if doer[0] < 0 and _may_have(&self.doers[i], patient) and self.tasks[task].needs >> self.doers[i].kind & 1:
            doer[0] = <int32_t> i
    return task


cdef void solitude_begin(Scheduler* self, int32_t task) noexcept nogil:
    self.loner = task
    self.solitude = ALONE
    self.haunted_from = INFINITY


cdef double solitude_next_time(const Scheduler* self, double now) noexcept nogil:
    # Said once: later it waits for what is wanted, and that says itself when it ends.
    return self.haunted_from + PATIENCE if self.solitude and _patient(self, now) else INFINITY
