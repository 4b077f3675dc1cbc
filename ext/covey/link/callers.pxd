# SPDX-License-Identifier: BSD-3-Clause
"""Who called at a gate and never showed a key that could be read.

Why: libzmq's monitor says that a handshake failed, and then which descriptor was closed, and never whose it was; of what
is no ZeroMQ at all, such as a browser, it says only the second. People who are told that somebody was kept out want to
know from where.

May not know: sockets of ours. Guarantees: nothing is looked up or kept but the addresses of the last `RECENT` callers; an
address that is not known is empty, never somebody else's who called long ago. Nobody who was let in is counted; who came
and went while another was judged may be missed.
"""
from libc.stdint cimport uint32_t, uint64_t

from covey.link.zap cimport FROM_MAX

cdef enum:
    RECENT = 64

cdef struct Caller:
    int descriptor
    char address[FROM_MAX]
    uint64_t judged                 # of all, when it came: as many when it goes, and it never was itself

cdef struct Callers:
    Caller recent[RECENT]           # a ring
    uint32_t next                   # the place in it that is overwritten next
    bint failed                     # a handshake: the descriptor that is closed next is its caller's
    uint64_t judged                 # handshakes of which the end was told, well or not
    uint64_t broken_off             # those that failed, and callers that left without one

# Takes in an event of the gate's monitor, with its value. The address of one that was broken off, perhaps empty, once that
# is known; else NULL. It is good until the next call.
cdef const char* callers_hear(Callers* self, int event, int value) noexcept nogil
