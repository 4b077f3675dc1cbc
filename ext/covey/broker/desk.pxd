# SPDX-License-Identifier: BSD-3-Clause
"""Between the frames and the scheduler: what the desk keeps.

Why: messages become facts and orders become messages here, so that the scheduler knows no frame and
the loop knows no task. The same desk serves the native loop and the one on pyzmq.

May not know: sockets, clocks, what a parcel says.

Guarantees: a message that the protocol does not allow changes nothing and counts against its peer; a
function's body is sent to a doer once, ahead of its first task; every ticket that was taken in gets
one outcome unless its asker left. The two halves of the work are `arrivals` (messages in) and `departures`
(messages out). Not thread-safe: the loop's lock is around every call.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from covey.broker.bodies cimport BodyTable
from covey.broker.names cimport Book
from covey.broker.peers cimport Peer, PeerTable
from covey.broker.scheduler cimport Cargo, Limits, Scheduler
from covey.wire.bale cimport Bale
from covey.wire.protocol cimport RESOURCES

cdef struct Blame:
    Blame* next
    int32_t asker
    uint64_t ticket
    char* line                      # owned

cdef enum ErrandKind:
    KILL_SLOT = 1
    SETUP_BROKE = 2
    LEAVE = 3                       # an asker with the right to it said STOP
    ASKED_US = 4                    # an asker wants to know something
    ANSWERED = 5                    # a doer answers what we asked
    SHARE_SOUGHT = 6                # a task came that takes less of a GPU than any before
    WORK_BEGAN = 7                  # a slot got a task, after the keeper had asked to be told

cdef struct Errand:                 # for the keeper
    Errand* next
    int kind
    uint32_t pid                    # SHARE_SOUGHT: no pid, but how much it takes
    Bale* bale                      # SETUP_BROKE: its frame 1 is the sealed error; of a question or answer: the message
    int32_t peer                    # ASKED_US, ANSWERED: who, as of which birth of its row, and the question's number
    uint32_t birth
    uint32_t serial

# A connection that the loop is to end: the desk has forgotten who was there.
cdef struct Farewell:
    Farewell* next
    uint32_t port
    double patience                 # seconds before it may be dialled again
    char text[200]

cdef enum:
    FIRST_DIAL = 2                  # ports below are the loop's own: home and gate
    FAULTS_MAX = 10                 # malformed messages from a peer before it is cut off
    NO_TASK = 0                     # for a slot's death: none ran
    UNKNOWN_TASK = 1                # for a slot's death: nobody can tell what ran

# A message of tasks that waits until the doers have said what they hold.
cdef struct Deferred:
    Deferred* next
    Bale* bale
    int32_t peer                    # from whom, as of which birth of its row
    uint32_t birth

cdef struct Desk:
    Scheduler* scheduler            # owned
    PeerTable peers
    BodyTable bodies
    double lease
    double beat_every
    double next_beat
    char name[256]                  # ours, for other loops and for people
    uint16_t python
    uint32_t pid
    uint32_t above                  # askers that are loops: who need signs of life and offers
    uint32_t offered[RESOURCES]     # the places of all our doers, as others were told
    bint offer_is_old
    uint16_t least_share            # the least that any task so far took of a GPU
    bint news                       # somebody came, left or was refused
    Farewell* farewells
    uint32_t credit_tasks
    uint64_t credit_bytes
    uint64_t allowed                # bytes of messages that may be in memory, see pressure.pxd
    uint64_t press_at               # 70 % of it
    bint pressed                    # more than that is there, as of the last look
    bint tight                      # no more credit is given
    uint64_t loop_credit            # bytes that a loop which asks us may have unfinished now
    uint64_t outbox_most            # as outbox_bytes, or less for now
    uint64_t outbox_bytes           # results that may wait for one asker to take them
    int32_t* asker_peers            # scheduler's asker number → peer
    uint32_t asker_room
    int32_t* doer_peers
    uint32_t doer_room
    int32_t* whose                  # scratch: the asker of each record of a message
    Blame* blames
    Errand* errands
    uint64_t name_base              # of the names that we give
    uint64_t session                # said to loops that we dial, so that we can have again what is ours; a secret
    Book absent                     # tasks of askers who are away, see names.pxd
    Book kept
    Book claims
    double keep_for                 # seconds for which an outcome waits for its asker
    double settled_at               # until then, what may have begun elsewhere waits for the claims of doers
    Deferred* deferred
    Deferred* deferred_last
    uint64_t deferred_bytes
    uint64_t adopted                # tasks that went on or were done already when they were asked for again, ever
    uint32_t dying
    bint silent                     # some node was given up and is not forgotten yet
    bint closing
    bint awaited                    # the keeper wants to be told when a slot gets a task
    bint shared                     # many use this loop: only who was dialled by it may end it
    uint32_t questions              # of ours, so far
    uint64_t turned_away            # HELLOs refused
    char turned_why[256]            # who was refused last, and why, for people
    uint64_t malformed
    uint64_t bodies_sent
    uint64_t messages_in
    uint64_t messages_out

cdef int desk_init(Desk* self, const Limits* limits) noexcept nogil
cdef void desk_free(Desk* self) noexcept nogil
# Every slot is told to finish and leave, and so is every one that comes.
cdef void desk_stop_slots(Desk* self) noexcept nogil
# The nodes below are told the same; the rest of the flock stays.
cdef void desk_stop_nodes(Desk* self) noexcept nogil
# Every asker and every node is told that we leave.
cdef void desk_say_bye(Desk* self) noexcept nogil
# The port of a route.
cdef uint32_t desk_port_of(const Peer* row) noexcept nogil
# The connection of a peer is to be ended by the loop, for this reason; the row is left to the caller.
cdef void desk_farewell(Desk* self, int32_t peer, const char* why, double patience) noexcept nogil
cdef Farewell* desk_next_farewell(Desk* self) noexcept nogil
# What the keeper is to do next, or NULL. The caller ends it with desk_errand_done.
cdef Errand* desk_next_errand(Desk* self) noexcept nogil
cdef void desk_errand_done(Errand* errand) noexcept nogil

# Whether an asker takes its results. While more than `outbox_most` wait for it, nothing more of what it asked is begun. True:
# it may go on, so there may be something to decide.
cdef bint desk_weigh(Desk* self, int32_t peer) noexcept nogil

# For the two halves of the desk, arrivals and departures.
# The errand, to be filled in; NULL: no memory.
cdef Errand* desk_add_errand(Desk* self, int kind, uint32_t pid, Bale* bale) noexcept nogil
cdef void desk_kill(Desk* self, int32_t doer) noexcept nogil
# The row that carried it is gone: so are its share of the bale and of the function's body.
cdef void desk_cargo_done(Desk* self, const Cargo* cargo) noexcept nogil
# The name of a task: the one it came with, or else one of ours. `token`: any of its attempts.
cdef uint64_t desk_name_of(const Desk* self, const Cargo* cargo, uint64_t token) noexcept nogil
cdef void desk_release_body(Desk* self, int32_t body, uint32_t askers, uint32_t tasks) noexcept nogil
cdef void desk_forget_blames(Desk* self, int32_t asker, uint64_t ticket) noexcept nogil
cdef void desk_forget_blames_of(Desk* self, int32_t asker) noexcept nogil
