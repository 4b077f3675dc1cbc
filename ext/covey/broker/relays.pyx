# SPDX-License-Identifier: BSD-3-Clause
"""See relays.pxd, the contents page."""
from libc.math cimport INFINITY
from libc.stdint cimport uint8_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memcpy, memset, strlen

from covey.broker.desk cimport desk_farewell, desk_port_of
from covey.broker.peers cimport (
    ASKING, DOING, GREETING, HOST_MAX, peers_add, peers_record, peers_tell)
from covey.broker.returns cimport returns_tell_held
from covey.broker.scheduler cimport (
    LEFT_PLANNED, scheduler_capacity, scheduler_load, scheduler_on_asker_joined, scheduler_on_asker_trusted,
    scheduler_on_byte_room, scheduler_on_doer_joined, scheduler_on_doer_left,
    scheduler_on_doer_resized, scheduler_on_drain)
from covey.wire.protocol cimport (
    BEAT, CREDIT, DOER, GPU, HELLO, LEAVING, MAX_CAPACITY, RESOURCES, STOP, CreditRecord, HelloRecord)

# Seconds before a node that was refused is asked again: whoever refused it has not changed his mind at once.
cdef double REFUSED_PATIENCE = 3.0


cdef int _note_index(int32_t** table, uint32_t* room, int32_t index, int32_t peer) noexcept nogil:
    cdef int32_t* grown
    cdef uint32_t wanted = room[0] if room[0] else 16
    while wanted <= <uint32_t> index:
        wanted *= 2
    if wanted != room[0]:
        grown = <int32_t*> realloc(table[0], wanted * sizeof(int32_t))
        if grown == NULL:
            return -1
        table[0] = grown
        room[0] = wanted
    table[0][index] = peer
    return 0


cdef void relays_name(Peer* row, const char* name, uint32_t length) noexcept nogil:
    length = min(length, <uint32_t> HOST_MAX - 1)
    memcpy(row.host, name, length)
    row.host[length] = 0


cdef bint relays_knows(Desk* self, const char* name, uint32_t length) noexcept nogil:
    cdef Peer* row
    cdef uint32_t i
    for i in range(self.peers.room):
        row = &self.peers.rows[i]
        if row.state == DOING and row.relays and strlen(row.host) == length and memcmp(row.host, name, length) == 0:
            return True
    return False


cdef int relays_join_asker(Desk* self, int32_t peer, double now) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    row.index = scheduler_on_asker_joined(self.scheduler, 1.0, now)
    if row.index < 0 or _note_index(&self.asker_peers, &self.asker_room, row.index, peer) < 0:
        return -1
    if row.relays:
        scheduler_on_asker_trusted(self.scheduler, row.index)
    row.state = ASKING
    self.above += row.relays
    return 0


cdef int _join_kind(
        Desk* self, int32_t peer, int kind, uint32_t capacity, uint32_t window, int32_t device, double now) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    # Only a slot on a GPU shares one; a loop below keeps that to itself.
    cdef int32_t doer = scheduler_on_doer_joined(
        self.scheduler, kind, capacity, window, row.relays, -1 if kind != GPU or row.relays else device, now)
    if doer < 0:
        return -1
    if _note_index(&self.doer_peers, &self.doer_room, doer, peer) < 0:
        scheduler_on_doer_left(self.scheduler, doer, LEFT_PLANNED, now)
        return -1
    row.places[kind] = doer
    row.capacity[kind] = capacity
    if row.index < 0:
        row.index = doer
    return 0


cdef int relays_join_doer(
        Desk* self, int32_t peer, const void* places, uint32_t window, int32_t device, double now) noexcept nogil:
    cdef uint32_t capacity[RESOURCES]
    cdef int kind
    memcpy(capacity, places, sizeof(capacity))
    self.peers.rows[peer].state = DOING
    self.offer_is_old = True
    for kind in range(RESOURCES):
        if capacity[kind] and _join_kind(self, peer, kind, capacity[kind], window, device, now) < 0:
            return -1
    return 0


cdef int32_t relays_greet(Desk* self, const uint8_t* route, size_t size, int role, double now) noexcept nogil:
    cdef HelloRecord hello
    cdef int32_t peer = peers_add(&self.peers, route, size)
    if peer < 0:
        return -1
    self.peers.rows[peer].state = GREETING
    self.peers.rows[peer].role = <uint8_t> role
    self.peers.rows[peer].relays = True
    self.peers.rows[peer].session = desk_port_of(&self.peers.rows[peer])
    memset(&hello, 0, sizeof(hello))
    hello.role = <uint8_t> role
    hello.relays = 1
    hello.session = self.session
    hello.python = self.python
    hello.pid = self.pid
    hello.device = -1
    hello.length = <uint32_t> strlen(self.name)
    if role == DOER:
        hello.window = relays_offer(self, hello.capacity)
    peers_tell(&self.peers, peer, HELLO, &hello, sizeof(hello), self.name, hello.length)
    return peer


cdef void relays_tell_credit(Desk* self, int32_t peer) noexcept nogil:
    cdef CreditRecord* credit = <CreditRecord*> peers_record(&self.peers, peer, CREDIT, sizeof(CreditRecord))
    if credit != NULL:
        memset(credit, 0, sizeof(CreditRecord))
        credit.tasks = self.credit_tasks
        credit.bytes = self.loop_credit
        credit.window = relays_offer(self, credit.capacity)


cdef void _give_room(Desk* self, const Peer* row, uint64_t bytes) noexcept nogil:
    """What it may have is for all its places together."""
    cdef uint32_t kinds = 0
    cdef int kind
    for kind in range(RESOURCES):
        kinds += row.places[kind] >= 0
    for kind in range(RESOURCES):
        if row.places[kind] >= 0:
            scheduler_on_byte_room(self.scheduler, row.places[kind], bytes // kinds)


cdef void relays_on_welcome(Desk* self, int32_t peer, const WelcomeRecord* welcome, const char* name, double now) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    cdef uint32_t length = welcome.length
    cdef char why[200]
    row.pid = welcome.pid
    if row.role == DOER:
        relays_name(row, name, length)
        # What has joined us since our HELLO was told to those who had welcomed us by then.
        if relays_join_asker(self, peer, now) == 0:
            relays_tell_credit(self, peer)
            returns_tell_held(self, peer, now)
    elif relays_knows(self, name, length):
        snprintf(
            why, sizeof(why), "a node of its name is connected already: %.*s", <int> min(length, <uint32_t> sizeof(why)), name)
        desk_farewell(self, peer, why, REFUSED_PATIENCE)
    else:
        relays_name(row, name, length)
        relays_join_doer(self, peer, welcome.capacity, welcome.window, -1, now)
        _give_room(self, row, welcome.bytes)
    self.news = True


cdef void relays_on_credit(Desk* self, int32_t peer, const CreditRecord* credit, double now) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    cdef uint32_t capacity[RESOURCES]
    cdef uint32_t window = credit.window
    cdef int kind
    memcpy(capacity, credit.capacity, sizeof(capacity))
    self.offer_is_old = True
    self.news = True
    for kind in range(RESOURCES):
        if row.places[kind] >= 0:
            row.capacity[kind] = capacity[kind]
            scheduler_on_doer_resized(self.scheduler, row.places[kind], capacity[kind], window, now)
        elif capacity[kind]:
            if _join_kind(self, peer, kind, capacity[kind], window, -1, now) == 0 and row.draining:
                scheduler_on_drain(self.scheduler, row.places[kind], now)
    _give_room(self, row, credit.bytes)


cdef uint32_t relays_offer(const Desk* self, void* places) noexcept nogil:
    cdef uint32_t window = self.credit_tasks
    cdef int kind
    memcpy(places, self.offered, sizeof(self.offered))
    for kind in range(RESOURCES):
        window = max(window, self.offered[kind])
    return window


cdef void _offer_more(Desk* self, int kind, uint64_t places) noexcept nogil:
    """Each of our doers may say the most that there is; who is told more than that takes it for no message of ours."""
    self.offered[kind] = <uint32_t> min(self.offered[kind] + places, <uint64_t> MAX_CAPACITY)


cdef void _sum_up(Desk* self) noexcept nogil:
    cdef Peer* row
    cdef uint32_t running
    cdef uint32_t queued
    cdef uint32_t i
    cdef int kind
    memset(self.offered, 0, sizeof(self.offered))
    for i in range(self.peers.room):
        row = &self.peers.rows[i]
        if row.state != DOING:
            continue
        for kind in range(RESOURCES):
            if not row.draining:
                # GPUs and not the slots on them: whoever is above counts shares of whole ones, as we do.
                _offer_more(self, kind, row.capacity[kind] if kind != GPU else 0)
            elif row.places[kind] >= 0:
                # What still runs there counts above as running with us: without a place for it, one of our others
                # would be taken for its.
                scheduler_load(self.scheduler, row.places[kind], &running, &queued)
                _offer_more(self, kind, min(running, row.capacity[kind]))
    _offer_more(self, GPU, <uint64_t> scheduler_capacity(self.scheduler, GPU))


cdef void relays_tell(Desk* self, double now) noexcept nogil:
    cdef uint32_t before[RESOURCES]
    cdef Peer* row
    cdef uint32_t i
    cdef bint changed = False
    cdef bint beat = self.above > 0 and now >= self.next_beat
    if self.offer_is_old:
        self.offer_is_old = False
        memcpy(before, self.offered, sizeof(before))
        _sum_up(self)
        changed = memcmp(before, self.offered, sizeof(before)) != 0
    if beat:
        self.next_beat = now + self.beat_every
    if not changed and not beat:
        return
    for i in range(self.peers.room):
        row = &self.peers.rows[i]
        if row.state != ASKING or not row.relays:
            continue
        if changed:
            relays_tell_credit(self, <int32_t> i)
        elif row.outbox.head == NULL:
            peers_tell(&self.peers, <int32_t> i, BEAT, NULL, 0, NULL, 0)


cdef void _stop_if_drained(Desk* self, int32_t peer) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    cdef int kind
    for kind in range(RESOURCES):
        if row.places[kind] >= 0 and not row.dismissed & 1 << kind:
            return
    peers_tell(&self.peers, peer, STOP, NULL, 0, NULL, 0)


cdef void relays_drain(Desk* self, int32_t peer, double now) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    cdef int kind
    if row.draining:
        return
    row.draining = True
    self.offer_is_old = True
    self.news = True
    for kind in range(RESOURCES):
        if row.places[kind] >= 0:
            scheduler_on_drain(self.scheduler, row.places[kind], now)
    if row.index < 0:
        # It never had a place, so nobody will be dismissed from one.
        _stop_if_drained(self, peer)


cdef void relays_on_drained(Desk* self, int32_t doer) noexcept nogil:
    cdef int32_t peer = self.doer_peers[doer]
    cdef Peer* row = &self.peers.rows[peer]
    cdef int kind
    for kind in range(RESOURCES):
        if row.places[kind] == doer:
            row.dismissed |= <uint8_t> (1 << kind)
    _stop_if_drained(self, peer)


cdef uint32_t relays_leave(Desk* self) noexcept nogil:
    cdef uint32_t told = 0
    cdef uint32_t i
    for i in range(self.peers.room):
        if self.peers.rows[i].state == ASKING and self.peers.rows[i].relays:
            peers_tell(&self.peers, <int32_t> i, LEAVING, NULL, 0, NULL, 0)
            told += 1
    return told


cdef double relays_next_time(const Desk* self) noexcept nogil:
    return self.next_beat if self.above else INFINITY
