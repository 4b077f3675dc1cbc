# SPDX-License-Identifier: BSD-3-Clause
"""See inquiries.pxd, the contents page."""
from covey.broker.desk cimport ANSWERED, ASKED_US, Errand, desk_add_errand
from covey.broker.peers cimport ASKING, DOING, Peer, peers_tell
from covey.wire.protocol cimport ANSWER, MAX_QUERIES, QUERY, Header, QueryRecord

# Letters that a peer has not fetched: one that asks and never listens must not fill our memory.
cdef enum:
    OUTBOX_MAX = 64


cdef void _hand_out(Desk* self, int kind, int32_t peer, Bale* bale) noexcept nogil:
    cdef Errand* errand = desk_add_errand(self, kind, 0, bale)
    if errand != NULL:
        errand.peer = peer
        errand.birth = self.peers.rows[peer].birth
        errand.serial = (<QueryRecord*> (bale.frames[0].data + sizeof(Header))).serial


cdef void inquiries_on_query(Desk* self, int32_t peer, Bale* bale) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    if row.inquiries >= MAX_QUERIES or row.outbox.length >= OUTBOX_MAX:
        return
    row.inquiries += 1
    _hand_out(self, ASKED_US, peer, bale)


cdef void inquiries_on_answer(Desk* self, int32_t peer, Bale* bale) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    if row.inquiries == 0:
        row.faults += 1
        self.malformed += 1
        return
    row.inquiries -= 1
    _hand_out(self, ANSWERED, peer, bale)


cdef inline bint _is(const Desk* self, int32_t peer, uint32_t birth, int state) noexcept nogil:
    return (
        0 <= peer and <uint32_t> peer < self.peers.room
        and self.peers.rows[peer].birth == birth and self.peers.rows[peer].state == state)


cdef void _tell(Desk* self, int32_t peer, int kind, uint32_t serial, const char* text, uint32_t length) noexcept nogil:
    cdef QueryRecord record
    record.serial = serial
    record.length = length
    peers_tell(&self.peers, peer, kind, &record, sizeof(record), text, length)


cdef uint32_t inquiries_ask(Desk* self, int32_t peer, uint32_t birth, const char* text, uint32_t length) noexcept nogil:
    if not _is(self, peer, birth, DOING) or not self.peers.rows[peer].relays:
        return 0
    if self.peers.rows[peer].inquiries >= MAX_QUERIES:
        return 0
    self.peers.rows[peer].inquiries += 1
    self.questions += 1
    if self.questions == 0:
        # 0 says that nobody was asked.
        self.questions = 1
    _tell(self, peer, QUERY, self.questions, text, length)
    return self.questions


cdef void inquiries_answer(
        Desk* self, int32_t peer, uint32_t birth, uint32_t serial, const char* text, uint32_t length) noexcept nogil:
    if not _is(self, peer, birth, ASKING) or self.peers.rows[peer].inquiries == 0:
        return
    self.peers.rows[peer].inquiries -= 1
    _tell(self, peer, ANSWER, serial, text, length)
