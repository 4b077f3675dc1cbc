# SPDX-License-Identifier: BSD-3-Clause
"""Tasks under their names: what is to be found again after a link has ended and another has begun.

Why: a ticket means something on one link, a token to one loop. A task that runs for an hour should survive the end of a
broker or of a connection, so it has a name that all loops on its way know (TaskRecord), and three things are looked up by it:

    absent    its asker's link has ended while it ran: the token it runs under here
    kept      it ended after that: its outcome
    claims    a doer has said that it has it: that doer's peer

May not know: the scheduler, what an outcome says. Guarantees: a name is in a book once; a book frees what it holds of a bale
when the entry goes; looking into an empty book costs one comparison. Not thread-safe.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from covey.wire.bale cimport Bale

cdef struct Entry:
    uint64_t name               # 0: nothing here
    uint64_t session            # absent, kept: of its asker, see peers.pxd
    uint64_t token              # absent
    Bale* bale                  # kept: the message it came in, held; else NULL
    uint32_t offset             # of its OutcomeRecord in the first frame
    int32_t peer                # claims: the row, as of which birth
    uint32_t birth
    double until                # it is forgotten then; infinity: never by itself

cdef struct Book:
    Entry* entries              # linear probing, at most half full
    uint32_t room
    uint32_t count
    uint64_t bytes              # of the messages that it holds
    double soonest              # nothing need be forgotten before this

cdef void book_free(Book* self) noexcept nogil
# NULL: unknown. Valid until the book changes.
cdef Entry* book_find(const Book* self, uint64_t name) noexcept nogil
# A zeroed entry of that name, in place of an older one; NULL when memory is out.
cdef Entry* book_put(Book* self, uint64_t name, double until) noexcept nogil
# The outcome at this offset of a message; the message is held.
cdef int book_keep(Book* self, uint64_t name, uint64_t session, Bale* bale, uint32_t offset, double until) noexcept nogil
cdef void book_drop(Book* self, uint64_t name) noexcept nogil
# Forgets what is due, at most a second late; says when it wants to be called again (infinity: never).
cdef double book_purge(Book* self, double now) noexcept nogil
# If it holds more than so many bytes, forgets what is due soonest: some more than must be, so that it is not asked for each.
cdef void book_shrink(Book* self, uint64_t bytes) noexcept nogil
