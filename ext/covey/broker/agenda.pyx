# SPDX-License-Identifier: BSD-3-Clause
"""See agenda.pxd, the contents page."""
from libc.stdlib cimport realloc

from covey.broker.tables cimport REST, RESTING, TIMED, TIMEOUT


cdef bint _good(const Scheduler* self, const Due* due) noexcept nogil:
    cdef const TaskRow* row
    if due.kind == TIMEOUT:
        row = &self.tasks[due.index]
        # TIMED goes when the attempt ends, and the stamp changes with the next.
        return (row.marks & TIMED) != 0 and task_stamp(row) == due.stamp
    if due.kind == REST:
        row = &self.tasks[due.index]
        return row.state == RESTING and task_stamp(row) == due.stamp
    return self.doers[due.index].alive != 0 and self.doers[due.index].birth == due.stamp


cdef void _rise(Due* dues, uint32_t at) noexcept nogil:
    cdef Due moving = dues[at]
    cdef uint32_t above
    while at > 0:
        above = (at - 1) >> 1
        if dues[above].when <= moving.when:
            break
        dues[at] = dues[above]
        at = above
    dues[at] = moving


cdef void _sink(Due* dues, uint32_t count, uint32_t at) noexcept nogil:
    cdef Due moving = dues[at]
    cdef uint32_t below
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and dues[below + 1].when < dues[below].when:
            below += 1
        if moving.when <= dues[below].when:
            break
        dues[at] = dues[below]
        at = below
    dues[at] = moving


cdef void _sweep(Scheduler* self) noexcept nogil:
    cdef uint32_t kept = 0
    cdef uint32_t i
    for i in range(self.due_count):
        if _good(self, &self.dues[i]):
            self.dues[kept] = self.dues[i]
            kept += 1
    self.due_count = kept
    i = kept >> 1
    while i > 0:
        i -= 1
        _sink(self.dues, kept, i)


cdef int agenda_put(Scheduler* self, double when, int kind, int32_t index, uint32_t stamp) noexcept nogil:
    cdef Due* bigger
    cdef Due* due
    # Sweeping only when more than half is out of date keeps its cost per entry flat.
    if self.due_count > 64 + 2 * (self.timed + self.resting.length + self.doer_count):
        _sweep(self)
    if self.due_count == self.due_room:
        bigger = <Due*> realloc(self.dues, (self.due_room * 2 + 64) * sizeof(Due))
        if bigger == NULL:
            return -1
        self.dues = bigger
        self.due_room = self.due_room * 2 + 64
    due = &self.dues[self.due_count]
    due.when = when
    due.kind = kind
    due.index = index
    due.stamp = stamp
    self.due_count += 1
    _rise(self.dues, self.due_count - 1)
    return 0


cdef Due* agenda_first(Scheduler* self) noexcept nogil:
    while self.due_count > 0:
        if _good(self, &self.dues[0]):
            return &self.dues[0]
        agenda_drop(self)
    return NULL


cdef void agenda_drop(Scheduler* self) noexcept nogil:
    self.due_count -= 1
    if self.due_count > 0:
        self.dues[0] = self.dues[self.due_count]
        _sink(self.dues, self.due_count, 0)
