# SPDX-License-Identifier: BSD-3-Clause
"""What a loop does when more messages are in memory than it was allowed.

Why: memory belongs to all who share a broker, and the one who fills it should be the one who waits.

    up to 70 %      nothing: each asker sends what there are places for
    above           what is large is written out (see spill.pxd), what is middling is made fit for that as it comes; of
                    a large task, more comes as the disk takes it, unless its asker has less than its share here
    above 90 %      no more credit: an asker that has its share begins to send nothing more, and who has less may come up
                    to it. Until it is 80 % again. Where nothing can be written: from 70 % on, and
                    until something could be written

May not know: sockets. Guarantees: an asker with nothing here may always send one task, however large, and what has begun to
come always comes to its end; results are always taken in, so work goes on; while nothing is too much, a turn costs one comparison.
"""
from libc.stdint cimport int32_t, uint64_t

from covey.broker.desk cimport Desk
from covey.wire.bale cimport Bale

# So many bytes of messages may be in memory, from now on.
cdef void pressure_allow(Desk* self, uint64_t bytes) noexcept nogil
# To be called each turn; when it wants to be called again (infinity: not before something comes).
cdef double pressure_look(Desk* self, double now) noexcept nogil
# Pieces of so many bytes have come, and its peer may be told so, now or later.
cdef void pressure_taken(Desk* self, int32_t peer, uint64_t bytes) noexcept nogil
# What is to be kept of a message that has come: itself, or a copy that can be written out. The caller's, as the message was.
cdef Bale* pressure_fit(const Desk* self, Bale* bale) noexcept nogil
