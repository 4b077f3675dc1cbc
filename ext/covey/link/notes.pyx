# SPDX-License-Identifier: BSD-3-Clause
"""See notes.pxd, the contents page."""
from covey.link.wake cimport wake_free, wake_ring
from covey.wire.bale cimport bale_drop
from covey.wire.protocol cimport Header, NoteRecord


cdef uint64_t notes_ticket(const Bale* note) noexcept nogil:
    return (<NoteRecord*> (note.frames[0].data + sizeof(Header))).ticket


cdef void notes_keep(Notes* self, Bale* note) noexcept nogil:
    cdef Bale** at = &self.first
    while at[0] != NULL:
        at = &at[0].next
    note.next = NULL
    at[0] = note
    notes_ring(self)


cdef Bale* notes_take(Notes* self, uint64_t ticket) noexcept nogil:
    cdef Bale** at = &self.first
    cdef Bale* note
    while at[0] != NULL:
        note = at[0]
        if notes_ticket(note) == ticket:
            at[0] = note.next
            return note
        at = &note.next
    return NULL


cdef void notes_drop(Notes* self, uint64_t ticket) noexcept nogil:
    cdef Bale** at = &self.first
    cdef Bale* note
    while at[0] != NULL:
        note = at[0]
        if ticket == 0 or notes_ticket(note) == ticket:
            at[0] = note.next
            bale_drop(note)
        else:
            at = &note.next


cdef void notes_ring(Notes* self) noexcept nogil:
    if self.listens:
        wake_ring(&self.bell)


cdef void notes_free(Notes* self) noexcept nogil:
    notes_drop(self, 0)
    if self.listens:
        wake_free(&self.bell)
        self.listens = False
