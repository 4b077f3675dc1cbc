# SPDX-License-Identifier: BSD-3-Clause
"""Large bales, and where their bytes go when memory is short: to files, and back by themselves.

Why: a shared broker holds the arguments of every task until its outcome is there, and outcomes until they are taken. Few of
these bytes are looked at again soon. So a large bale has memory of its own, whole pages, and what lies there for long can be
written to a nameless file that is then mapped in place of the pages: every pointer stays as it is, whoever reads, reads, and
nobody need know. A thread of its own writes (`spill_serve`), because a disk may take its time.

    large_new ─→ large_fill ─→ … whole       in memory, counted as held
         the thread, while more is held than may be:  a chunk ─→ file ─→ mapped where it lay: counted as spilled
    bale_drop ─→ the mapping goes, and the nameless file with it

May not know: peers, tasks. Guarantees: what the loop writes into a message (the heads of its records) never goes; bytes are
let go only once the disk has them; a disk that is full or away changes nothing but `stuck`. Process-wide, because memory is;
safe from any thread. Without `spill_begin` it only counts.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from covey.wire.bale cimport Bale

cdef enum:
    COUNTED = 16384                 # smaller messages and heads are not counted: what is said of them is their number
    WORTH_IT = 65536                # less is not moved, written or mapped on its own

# So many bytes of messages more, or fewer, are in memory. For those of at least COUNTED bytes.
cdef void held_add(int64_t size) noexcept nogil
# Bytes in memory, and bytes in files instead.
cdef uint64_t held_now() noexcept nogil
cdef uint64_t spilled_now() noexcept nogil

# A bale of frames of these sizes (64 bits each, not aligned), with nothing in them; the caller's. Memory is taken as it is
# filled. NULL: no memory.
cdef Bale* large_new(const void* sizes, uint32_t count) noexcept nogil
# Its frames have their bytes up to this address, as they lie in memory one behind the other, and keep them, but for what
# stands in the first of them before its first 4 KiB or, with more than one record, all of it.
cdef void large_fill(Bale* bale, const unsigned char* end) noexcept nogil
# The same message in a bale of that kind; NULL: it is not worth it, or there is no memory.
cdef Bale* large_copy(const Bale* bale) noexcept nogil

# Whether there is a place for what is too much. Not `stuck`: the last thing that was tried worked.
cdef bint spill_has_place() noexcept nogil
# Whether more is held than may be, and the thread has yet to write what can be written.
cdef bint spill_is_behind() noexcept nogil
# More than this is too much; the thread is told to look.
cdef void spill_above(uint64_t bytes) noexcept nogil
