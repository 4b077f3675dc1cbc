# SPDX-License-Identifier: BSD-3-Clause
"""See peers.pxd, the contents page."""
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from covey.broker.catalogue cimport catalogue_free
from covey.link.pieces cimport pieces_clear
from covey.link.post cimport head_close, head_open, letter_of, queue_clear, queue_put
from covey.link.transit cimport transit_clear
from covey.wire.bale cimport bale_drop
from covey.wire.buffer cimport buffer_free, buffer_init, buffer_put, buffer_reserve
from covey.wire.protocol cimport BATCH_BYTES, MAX_RECORDS, RESOURCES


cdef uint32_t _hash(const uint8_t* route, size_t size) noexcept nogil:
    cdef uint32_t value = 2166136261
    cdef size_t i
    for i in range(size):
        value = (value ^ route[i]) * 16777619
    return value


cdef int peers_init(PeerTable* self) noexcept nogil:
    cdef uint32_t i
    memset(self, 0, sizeof(PeerTable))
    self.vacant = self.touched = NOBODY_HERE
    self.mask = 1023
    self.buckets = <int32_t*> calloc(self.mask + 1, sizeof(int32_t))
    if self.buckets == NULL:
        return -1
    for i in range(self.mask + 1):
        self.buckets[i] = NOBODY_HERE
    return 0


cdef void _clear(Peer* peer) noexcept nogil:
    queue_clear(&peer.outbox)
    transit_clear(&peer.transit)
    pieces_clear(&peer.pieces)
    buffer_free(&peer.batch)
    catalogue_free(&peer.functions)
    free(peer.known)
    free(peer.report)
    peer.known = NULL
    peer.report = NULL


cdef void peers_free(PeerTable* self) noexcept nogil:
    cdef uint32_t i
    for i in range(self.room):
        if self.rows[i].state != VACANT:
            _clear(&self.rows[i])
    free(self.rows)
    free(self.buckets)
    memset(self, 0, sizeof(PeerTable))


cdef int32_t peers_find(PeerTable* self, const uint8_t* route, size_t size) noexcept nogil:
    cdef int32_t at = self.buckets[_hash(route, size) & self.mask]
    while at >= 0:
        if self.rows[at].route_size == size and memcmp(self.rows[at].route, route, size) == 0:
            return at
        at = self.rows[at].next
    return NOBODY_HERE


cdef int32_t peers_add(PeerTable* self, const uint8_t* route, size_t size) noexcept nogil:
    cdef uint32_t room
    cdef uint32_t bucket
    cdef uint32_t birth
    cdef int32_t at
    cdef int i
    cdef Peer* rows
    if size > ROUTE_MAX:
        return NOBODY_HERE
    if self.vacant < 0:
        room = self.room * 2 if self.room else 16
        rows = <Peer*> realloc(self.rows, room * sizeof(Peer))
        if rows == NULL:
            return NOBODY_HERE
        self.rows = rows
        for at in range(<int32_t> room - 1, <int32_t> self.room - 1, -1):
            memset(&rows[at], 0, sizeof(Peer))
            rows[at].next = self.vacant
            self.vacant = at
        self.room = room
    at = self.vacant
    self.vacant = self.rows[at].next
    birth = self.rows[at].birth + 1
    memset(&self.rows[at], 0, sizeof(Peer))
    self.rows[at].birth = birth
    buffer_init(&self.rows[at].batch)
    memcpy(self.rows[at].route, route, size)
    self.rows[at].route_size = size
    self.rows[at].index = -1
    for i in range(RESOURCES):
        self.rows[at].places[i] = -1
    self.rows[at].state = STRANGER
    bucket = _hash(route, size) & self.mask
    self.rows[at].next = self.buckets[bucket]
    self.buckets[bucket] = at
    return at


cdef void peers_remove(PeerTable* self, int32_t peer) noexcept nogil:
    cdef Peer* row = &self.rows[peer]
    cdef int32_t* link = &self.buckets[_hash(row.route, row.route_size) & self.mask]
    while link[0] != peer:
        link = &self.rows[link[0]].next
    link[0] = row.next
    if row.touched:
        link = &self.touched
        while link[0] != peer:
            link = &self.rows[link[0]].next_touched
        link[0] = row.next_touched
    _clear(row)
    row.state = VACANT
    row.next = self.vacant
    self.vacant = peer


cdef void peers_touch(PeerTable* self, int32_t peer) noexcept nogil:
    cdef Peer* row = &self.rows[peer]
    if not row.touched:
        row.touched = True
        row.next_touched = self.touched
        self.touched = peer


cdef int32_t peers_next_touched(PeerTable* self) noexcept nogil:
    cdef int32_t peer = self.touched
    if peer >= 0:
        # While it counts as touched: the letter that this makes must not put it into the list a second time.
        peers_close_batch(self, peer, 0, NULL)
        self.touched = self.rows[peer].next_touched
        self.rows[peer].touched = False
    return peer


cdef void peers_post(PeerTable* self, int32_t peer, Letter* letter) noexcept nogil:
    if letter != NULL:
        queue_put(&self.rows[peer].outbox, letter)
        peers_touch(self, peer)


cdef void peers_close_batch(PeerTable* self, int32_t peer, int flags, Bale* bale) noexcept nogil:
    cdef Peer* row = &self.rows[peer]
    cdef Letter* letter
    if row.batch_count == 0:
        return
    head_close(&row.batch, row.batch_kind, row.batch_count, flags)
    row.batch_count = 0
    letter = letter_of(&row.batch)
    if letter == NULL:
        bale_drop(bale)
        return
    letter.bale = bale
    letter.first = 1
    peers_post(self, peer, letter)


cdef unsigned char* peers_record(PeerTable* self, int32_t peer, int kind, size_t size) noexcept nogil:
    cdef Peer* row = &self.rows[peer]
    cdef unsigned char* at
    if row.batch_count and (
            row.batch_kind != kind or row.batch_count == MAX_RECORDS or row.batch.used + size > BATCH_BYTES):
        peers_close_batch(self, peer, 0, NULL)
    if row.batch_count == 0:
        if head_open(&row.batch) < 0:
            return NULL
        row.batch_kind = kind
        peers_touch(self, peer)
    at = buffer_reserve(&row.batch, size)
    if at != NULL:
        row.batch.used += size
        row.batch_count += 1
    return at


cdef void peers_tell(
    PeerTable* self, int32_t peer, int kind, const void* record, size_t size, const char* text,
    uint32_t length) noexcept nogil:
    cdef Buffer head
    peers_close_batch(self, peer, 0, NULL)
    buffer_init(&head)
    if head_open(&head) < 0 or buffer_put(&head, record, size) < 0 or buffer_put(&head, text, length) < 0:
        buffer_free(&head)
        return
    head_close(&head, kind, 1 if size else 0, 0)
    peers_post(self, peer, letter_of(&head))
