# SPDX-License-Identifier: BSD-3-Clause
"""Between loops: what a broker or a node says to the brokers above and the nodes below it.

Why: a loop that has doers is itself a doer for those who ask it. So it greets, says what it offers (the places of its own
doers, and again whenever that changes), gives signs of life, and notices when those of others change.

May not know: sockets and dialling; a farewell names the port whose connection the loop is to end. Guarantees: an asker is
told a new offer before it can be refused for the old one; two nodes of one name are never here at once.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t

from covey.broker.desk cimport Desk
from covey.broker.peers cimport Peer
from covey.wire.protocol cimport CreditRecord, WelcomeRecord

# A link that we dialled stands: its row, and HELLO; -1: no memory.
cdef int32_t relays_greet(Desk* self, const uint8_t* route, size_t size, int role, double now) noexcept nogil
cdef void relays_on_welcome(Desk* self, int32_t peer, const WelcomeRecord* welcome, const char* name, double now) noexcept nogil
cdef void relays_on_credit(Desk* self, int32_t peer, const CreditRecord* credit, double now) noexcept nogil
# The peer becomes an asker, or a doer with these places (a number of each kind, at any address); -1: no memory.
cdef int relays_join_asker(Desk* self, int32_t peer, double now) noexcept nogil
cdef int relays_join_doer(
    Desk* self, int32_t peer, const void* places, uint32_t window, int32_t device, double now) noexcept nogil
# Whether a node of this name is here already.
cdef bint relays_knows(Desk* self, const char* name, uint32_t length) noexcept nogil
cdef void relays_name(Peer* row, const char* name, uint32_t length) noexcept nogil
# What is due by now: a new offer, signs of life.
cdef void relays_tell(Desk* self, double now) noexcept nogil
# A loop that asks us is told what it may have here now.
cdef void relays_tell_credit(Desk* self, int32_t peer) noexcept nogil
# The node gets nothing more; what waits there is asked back. STOP follows when it holds nothing.
cdef void relays_drain(Desk* self, int32_t peer, double now) noexcept nogil
# One of its places holds nothing more.
cdef void relays_on_drained(Desk* self, int32_t doer) noexcept nogil
# Every loop above is told that we want to leave; how many there are.
cdef uint32_t relays_leave(Desk* self) noexcept nogil
# When the next sign of life is due; infinity while nobody needs one.
cdef double relays_next_time(const Desk* self) noexcept nogil
# What we do for others, for a HELLO, a WELCOME or a CREDIT: copies the places there, and returns the window.
cdef uint32_t relays_offer(const Desk* self, void* places) noexcept nogil
