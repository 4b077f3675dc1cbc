# SPDX-License-Identifier: BSD-3-Clause
"""See returns.pxd, the contents page."""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from covey.broker.desk cimport Deferred, desk_name_of
from covey.broker.names cimport Book, Entry, book_drop, book_find, book_keep, book_purge, book_put, book_shrink
from covey.broker.peers cimport ASKING, DIALLED_US, DOING, Peer, peers_close_batch, peers_post, peers_record
from covey.broker.scheduler cimport (
    Cargo, scheduler_next_task, scheduler_on_adopted, scheduler_on_asker_away, scheduler_on_cancel,
    scheduler_on_claimed)
from covey.link.post cimport letter_of_bale
from covey.wire.bale cimport Bale, bale_drop, bale_hold, bale_size
from covey.wire.protocol cimport (
    ATTENDED, HELD, NEEDS_JOURNAL, OUTCOMES, RESOURCES, HeldRecord, Header, OutcomeRecord, TaskRecord)

# So long a doer's word that it has a task is believed. Longer than an asker takes to come back and ask again.
cdef double CLAIM = 60.0

cdef enum:
    CLAIMS_MAX = 262144             # more are not noted: such tasks run


cdef inline TaskRecord* _record_of(const Cargo* cargo) noexcept nogil:
    return <TaskRecord*> ((<Bale*> cargo.bale).frames[0].data + cargo.offset - sizeof(TaskRecord))


cdef void returns_on_asker_away(Desk* self, const Peer* row, double now) noexcept nogil:
    cdef Cargo cargo
    cdef uint64_t token = 0
    cdef uint64_t ticket = 0
    cdef TaskRecord* record
    cdef Entry* entry
    cdef int32_t asker = row.index
    cdef int32_t task = scheduler_next_task(self.scheduler, -1, asker, &cargo, &token, &ticket)
    while task >= 0:
        if _record_of(&cargo).flags & ATTENDED:
            scheduler_on_cancel(self.scheduler, asker, ticket, False, now)
        task = scheduler_next_task(self.scheduler, task, asker, &cargo, &token, &ticket)
    scheduler_on_asker_away(self.scheduler, asker, now)
    task = scheduler_next_task(self.scheduler, -1, asker, &cargo, &token, &ticket)
    while task >= 0:
        record = _record_of(&cargo)
        # It goes with the task: desk_cargo_done.
        entry = book_put(&self.absent, record.name, INFINITY) if record.name else NULL
        if entry != NULL:
            entry.token = token
            entry.session = row.session
        task = scheduler_next_task(self.scheduler, task, asker, &cargo, &token, &ticket)


cdef void returns_keep(
        Desk* self, const Verdict* verdict, uint64_t token, Bale* bale, uint32_t offset, double now) noexcept nogil:
    cdef Entry* entry = book_find(&self.absent, _record_of(&verdict.cargo).name)
    if entry == NULL:
        return
    book_keep(&self.kept, entry.name, entry.session, bale, offset, now + self.keep_for)
    book_shrink(&self.kept, min(self.credit_bytes, self.allowed // 8))


cdef void _say_held(Desk* self, int32_t peer, const Book* book, uint64_t session) noexcept nogil:
    """What is booked of a session."""
    cdef HeldRecord* record
    cdef uint32_t i
    for i in range(book.room):
        if book.entries[i].name == 0 or book.entries[i].session != session:
            continue
        record = <HeldRecord*> peers_record(&self.peers, peer, HELD, sizeof(HeldRecord))
        if record != NULL:
            record.name = book.entries[i].name


cdef inline bint _hears_claims(const Peer* row) noexcept nogil:
    """Whether it gives us the tasks of many, and so may know the names of all. Who comes to our door may not: by the names
    of others' tasks it could have their results. Its own meet here what is claimed, when it brings them."""
    return row.state == ASKING and row.relays and row.session != 0 and not row.session & DIALLED_US


cdef void returns_tell_held(Desk* self, int32_t peer, double now) noexcept nogil:
    cdef const Peer* row = &self.peers.rows[peer]
    if row.session == 0:
        return
    _say_held(self, peer, &self.absent, row.session)
    _say_held(self, peer, &self.kept, row.session)
    if _hears_claims(row):
        # What those below us hold can be had through us.
        _say_held(self, peer, &self.claims, 0)


cdef int32_t _place_for(const Peer* row, int needs) noexcept nogil:
    cdef int kind
    for kind in range(RESOURCES):
        if row.places[kind] >= 0 and needs >> kind & 1:
            return row.places[kind]
    return -1


cdef void returns_on_held(Desk* self, int32_t peer, const HeldRecord* records, uint32_t count, double now) noexcept nogil:
    cdef Entry* entry
    cdef Cargo cargo
    cdef HeldRecord* record
    cdef uint64_t token = 0
    cdef uint64_t ticket = 0
    cdef uint32_t i, k
    cdef int32_t task
    for i in range(count):
        entry = NULL
        if records[i].name and self.claims.count < CLAIMS_MAX:
            entry = book_put(&self.claims, records[i].name, now + CLAIM)
        if entry != NULL:
            entry.peer = peer
            entry.birth = self.peers.rows[peer].birth
    task = scheduler_next_task(self.scheduler, -1, -1, &cargo, &token, &ticket)
    while task >= 0 and self.claims.count:
        entry = book_find(&self.claims, desk_name_of(self, &cargo, token))
        if entry != NULL and entry.peer == peer:
            if scheduler_on_claimed(self.scheduler, task, _place_for(&self.peers.rows[peer], _record_of(&cargo).needs), now) == 0:
                self.adopted += 1
            book_drop(&self.claims, entry.name)
        task = scheduler_next_task(self.scheduler, task, -1, &cargo, &token, &ticket)
    for k in range(self.peers.room):
        if not _hears_claims(&self.peers.rows[k]):
            continue
        for i in range(count):
            if book_find(&self.claims, records[i].name) != NULL:
                record = <HeldRecord*> peers_record(&self.peers, <int32_t> k, HELD, sizeof(HeldRecord))
                if record != NULL:
                    record.name = records[i].name


cdef void _hand_over(Desk* self, int32_t peer, uint64_t ticket, const Entry* entry) noexcept nogil:
    cdef unsigned char* at = entry.bale.frames[0].data + entry.offset
    cdef OutcomeRecord* outcome = <OutcomeRecord*> at
    cdef size_t size = sizeof(OutcomeRecord) + outcome.length
    cdef unsigned char* copy
    outcome.ticket = ticket
    if entry.bale.count > 1:
        # It is alone in its message, and the frames behind are its own.
        peers_close_batch(&self.peers, peer, 0, NULL)
        peers_post(&self.peers, peer, letter_of_bale(entry.bale))
        return
    copy = peers_record(&self.peers, peer, OUTCOMES, size)
    if copy != NULL:
        memcpy(copy, at, size)


cdef bint returns_meet(Desk* self, Peer* row, int32_t peer, const TaskRecord* task) noexcept nogil:
    cdef Entry* entry = book_find(&self.kept, task.name)
    cdef bint met
    if entry != NULL and entry.session == row.session:
        _hand_over(self, peer, task.ticket, entry)
        book_drop(&self.kept, task.name)
        self.adopted += 1
        return True
    entry = book_find(&self.absent, task.name)
    if entry == NULL or entry.session != row.session:
        return False
    met = scheduler_on_adopted(self.scheduler, entry.token, row.index, task.ticket) == 0
    book_drop(&self.absent, task.name)
    self.adopted += met
    return met


cdef void returns_claim(Desk* self, int32_t task, const TaskRecord* record, double now) noexcept nogil:
    cdef Entry* entry = book_find(&self.claims, record.name)
    cdef Peer* row
    if entry == NULL:
        return
    row = &self.peers.rows[entry.peer]
    if row.state == DOING and row.birth == entry.birth:
        if scheduler_on_claimed(self.scheduler, task, _place_for(row, record.needs), now) == 0:
            self.adopted += 1
    book_drop(&self.claims, record.name)


cdef bint returns_defer(Desk* self, int32_t peer, Bale* bale, double now) noexcept nogil:
    cdef unsigned char* at = bale.frames[0].data + sizeof(Header)
    cdef unsigned char* end = bale.frames[0].data + bale.frames[0].size
    cdef Deferred* deferred
    cdef uint64_t size = bale_size(bale)
    if self.deferred_bytes + size > self.credit_bytes:
        return False
    # What a journal is asked for has not begun anywhere else: that one's journal is this one, or it is gone.
    while at < end and (not (<TaskRecord*> at).attempts or (<TaskRecord*> at).needs == NEEDS_JOURNAL):
        at += sizeof(TaskRecord) + (<TaskRecord*> at).length
    if at >= end:
        return False
    deferred = <Deferred*> calloc(1, sizeof(Deferred))
    if deferred == NULL:
        return False
    deferred.bale = bale
    deferred.peer = peer
    deferred.birth = self.peers.rows[peer].birth
    bale_hold(bale)
    self.deferred_bytes += size
    if self.deferred == NULL:
        self.deferred = deferred
    else:
        self.deferred_last.next = deferred
    self.deferred_last = deferred
    return True


cdef int32_t returns_next_deferred(Desk* self, Bale** bale, double now) noexcept nogil:
    cdef Deferred* deferred
    cdef int32_t peer
    while self.deferred != NULL and now >= self.settled_at:
        deferred = self.deferred
        self.deferred = deferred.next
        peer = deferred.peer
        bale[0] = deferred.bale
        self.deferred_bytes -= bale_size(deferred.bale)
        if self.peers.rows[peer].state == ASKING and self.peers.rows[peer].birth == deferred.birth:
            free(deferred)
            return peer
        bale_drop(deferred.bale)
        free(deferred)
    return -1


cdef double returns_purge(Desk* self, double now) noexcept nogil:
    cdef double when = self.settled_at if self.deferred != NULL else INFINITY
    return min(when, min(book_purge(&self.kept, now), book_purge(&self.claims, now)))
