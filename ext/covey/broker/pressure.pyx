# SPDX-License-Identifier: BSD-3-Clause
"""See pressure.pxd, the contents page."""
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t

from covey.broker.peers cimport ASKING, Peer, peers_record
from covey.broker.relays cimport relays_tell_credit
from covey.broker.scheduler cimport scheduler_bytes_of
from covey.wire.bale cimport bale_drop
from covey.wire.protocol cimport TAKEN, TakenRecord
from covey.wire.spill cimport held_now, large_copy, spill_above, spill_has_place, spill_is_behind

# A share is never less: small tasks go on.
cdef enum:
    LEAST_SHARE = 1048576

# How soon it is looked again whether there is room: a disk writes some MB in that time.
cdef double SOON = 0.02


cdef void pressure_allow(Desk* self, uint64_t bytes) noexcept nogil:
    self.allowed = bytes
    self.press_at = bytes // 10 * 7
    spill_above(self.press_at)


cdef uint64_t _share(const Desk* self) noexcept nogil:
    """Of tasks, and as much again of results; there is always one for who comes next."""
    cdef uint32_t askers = 1
    cdef uint32_t i
    for i in range(self.peers.room):
        askers += self.peers.rows[i].state == ASKING
    return max(self.press_at // (2 * askers), <uint64_t> LEAST_SHARE)


cdef void _say_taken(Desk* self, int32_t peer, uint64_t bytes) noexcept nogil:
    cdef TakenRecord* taken = <TakenRecord*> peers_record(&self.peers, peer, TAKEN, sizeof(TakenRecord))
    if taken != NULL:
        taken.bytes = bytes


cdef bint _is_over(const Desk* self, const Peer* row) noexcept nogil:
    return scheduler_bytes_of(self.scheduler, row.index) + row.pieces.come > _share(self)


cdef bint _waits() noexcept nogil:
    """Whether more should not come now: the disk is behind, or does not take anything."""
    return spill_is_behind() or not spill_has_place()


cdef void pressure_taken(Desk* self, int32_t peer, uint64_t bytes) noexcept nogil:
    cdef Peer* row = &self.peers.rows[peer]
    if self.pressed and row.state == ASKING and _waits() and _is_over(self, row):
        row.owed += bytes
    else:
        _say_taken(self, peer, bytes)


cdef void _tell(Desk* self) noexcept nogil:
    cdef Peer* row
    cdef uint32_t i
    for i in range(self.peers.room):
        row = &self.peers.rows[i]
        if row.state == ASKING and row.relays:
            relays_tell_credit(self, <int32_t> i)


cdef void _pay(Desk* self) noexcept nogil:
    """Who waits for a word that his pieces have come, and need not."""
    cdef bint waits = self.pressed and _waits()
    # Where nothing can be written, what has begun to come must come to its end, or nobody's would: one asker's at a time.
    cdef bint one = waits and not spill_has_place()
    cdef Peer* row
    cdef uint64_t owed
    cdef uint32_t i
    for i in range(self.peers.room):
        row = &self.peers.rows[i]
        if row.owed and (one or not waits or not _is_over(self, row)):
            one = False
            owed = row.owed
            row.owed = 0
            _say_taken(self, <int32_t> i, owed)


cdef double pressure_look(Desk* self, double now) noexcept nogil:
    cdef uint64_t held = held_now()
    cdef uint64_t high
    if held <= self.press_at and not self.pressed:
        return INFINITY
    self.pressed = held > self.press_at
    self.outbox_most = self.outbox_bytes
    if self.pressed:
        self.outbox_most = min(self.outbox_bytes, _share(self))
        spill_above(self.press_at)
    if spill_has_place():
        high = self.allowed // 10 * (8 if self.tight else 9)
    else:
        # Once it was too much, each keeps to its share: given free, all would send at once what has waited.
        high = 0 if self.tight else self.press_at
    if self.tight != (held > high):
        self.tight = not self.tight
        self.loop_credit = _share(self) if self.tight else ~<uint64_t> 0
        _tell(self)
    _pay(self)
    return now + SOON if self.pressed else INFINITY


cdef Bale* pressure_fit(const Desk* self, Bale* bale) noexcept nogil:
    cdef Bale* copy
    if not self.pressed:
        return bale
    copy = large_copy(bale)
    if copy == NULL:
        return bale
    bale_drop(bale)
    return copy
