# SPDX-License-Identifier: BSD-3-Clause
"""Letters of large frames, cut into pieces for the way between machines, and put together again.

Why: before a stranger has proved anything, the largest frame is the only bound on what it makes a socket hold; so
sockets between machines take small frames only, and what is larger travels as a PIECES message (see the protocol).

Guarantees: cutting copies nothing; joining copies once, and gives NULL for pieces that do not make what was announced.
"""
from covey.link.post cimport Letter
from covey.wire.bale cimport Bale

# Whether a frame of it is too large to travel whole.
cdef bint letter_is_large(const Letter* self) noexcept nogil
# The same message as a letter of pieces; takes over `self`. NULL: no memory, and `self` is as it was.
cdef Letter* letter_cut(Letter* self) noexcept nogil
# The message that a PIECES message (already checked by wire_check) carries. NULL: it does not fit together, or no memory.
cdef Bale* pieces_join(Bale* pieces) noexcept nogil
