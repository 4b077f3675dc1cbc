# SPDX-License-Identifier: BSD-3-Clause
"""Who is on which route, and what waits to be sent to whom.

Why: a ROUTER socket knows routes, the scheduler knows numbers; a peer row ties them together and owns
the batches and letters that are on their way to that peer. Letters to one peer keep their order.
Not thread-safe. Ownership: a row owns everything it points to; `peer_remove` ends it.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from covey.broker.catalogue cimport Catalogue
from covey.link.pieces cimport Pieces
from covey.link.post cimport Letter, LetterQueue
from covey.link.transit cimport Transit
from covey.wire.bale cimport Bale
from covey.wire.buffer cimport Buffer
from covey.wire.protocol cimport RESOURCES

cdef enum:
    ROUTE_MAX = 16
    HOST_MAX = 256
    NOBODY_HERE = -1

cdef extern from *:
    """
    #define DIALLED_US (1ULL << 63)
    """
    const uint64_t DIALLED_US

cdef enum PeerState:
    VACANT = 0
    ASKING = 1
    DOING = 2
    DYING = 3                       # its process is dead; what it sent before is still taken in
    STRANGER = 4                    # has not said who it is
    GREETING = 5                    # we dialled it and said HELLO; it has not answered

cdef struct Peer:
    uint8_t state
    uint8_t route[ROUTE_MAX]        # two bytes for the port, then the socket's own route
    size_t route_size
    int32_t index                   # its asker number in the scheduler, or the first of its doer numbers
    int32_t places[RESOURCES]       # its doer number for each kind of place; -1: none
    uint32_t capacity[RESOURCES]
    uint8_t allowed                 # 1 << role for each that its key opens
    uint8_t role                    # GREETING: what we are for it
    bint relays                     # a broker or a node, not a slot or a client itself
    # Of a loop that asks: what it can have again on another link. Of one that dialled us: the number that it said, which
    # nobody else knows, and DIALLED_US; of one that we dialled: the port, the same for whoever answers there. 0: nothing.
    uint64_t session
    uint32_t pid
    uint32_t number                 # of a slot
    char host[HOST_MAX]             # of a slot and a client; of a node or broker its name
    uint32_t faults                 # malformed messages so far
    uint32_t birth                  # how often the row was used, to know one that has become another's
    uint32_t inquiries              # questions without an answer: of an asker to us, or ours to a doer
    bint held                       # an asker that does not take its results: see desk_weigh
    bint draining                   # a doer that is to leave when it has nothing more
    uint8_t dismissed               # 1 << kind for each of its places that holds nothing more
    double judged_at                # DYING: when its tasks are given to others
    uint64_t died_under             # DYING: the token of the task that ran there
    bint lost                       # DYING: the socket cannot reach it, and nobody has said why
    bint silent                     # a node that was given up
    bint killed                     # we had it killed: nobody there is to blame for its death
    bint starved                    # DYING: it was ended because memory ran out
    char* report                    # DYING: how it died, as a line of an outcome says it
    Buffer batch                    # records of `batch_kind` not yet made a letter
    uint32_t batch_count
    int batch_kind
    LetterQueue outbox
    Transit transit                 # to it, in pieces
    Pieces pieces                   # from it
    uint64_t owed                   # bytes of pieces that have come, and it was not told yet
    bint touched
    int32_t next_touched            # in the list of peers that have something to send
    Catalogue functions             # asker: its number → our index
    uint8_t* known                  # doer: whether it has our function
    uint32_t known_room
    int32_t next                    # in its bucket, or in the free list

cdef struct PeerTable:
    Peer* rows
    uint32_t room
    int32_t vacant
    int32_t* buckets
    uint32_t mask
    int32_t touched

cdef int peers_init(PeerTable* self) noexcept nogil
cdef void peers_free(PeerTable* self) noexcept nogil
cdef int32_t peers_find(PeerTable* self, const uint8_t* route, size_t size) noexcept nogil
# -1 when memory is out or the route is too long.
cdef int32_t peers_add(PeerTable* self, const uint8_t* route, size_t size) noexcept nogil
cdef void peers_remove(PeerTable* self, int32_t peer) noexcept nogil
# Adds a record of `kind` to the peer's batch; a batch of another kind, or a full one, becomes a letter first.
cdef unsigned char* peers_record(PeerTable* self, int32_t peer, int kind, size_t size) noexcept nogil
# Makes a letter of the batch, if it holds anything.
cdef void peers_close_batch(PeerTable* self, int32_t peer, int flags, Bale* bale) noexcept nogil
cdef void peers_post(PeerTable* self, int32_t peer, Letter* letter) noexcept nogil
cdef void peers_touch(PeerTable* self, int32_t peer) noexcept nogil
# A peer with something to send, its batch closed; -1 when there is none. Untouches it.
cdef int32_t peers_next_touched(PeerTable* self) noexcept nogil
# A one-record message without payload of its own.
cdef void peers_tell(
    PeerTable* self, int32_t peer, int kind, const void* record, size_t size, const char* text,
    uint32_t length) noexcept nogil
