# SPDX-License-Identifier: BSD-3-Clause
"""The scheduler's memory: rows of tasks, doers, askers and functions, and the lists they stand in.

Why: a million queued tasks must cost their rows and a hash, no more; so everything is an array of
plain structs that grows by doubling, rows name each other by index (an array may move), and a row
that goes away is used again.

May not know: what a good decision is. Lists here have an order, but no meaning.

    a task stands in   a lane of its asker (shares)     WAITING
                       the suspects of its needs        SUSPECT
                       the hungry                       SUSPECT
                       the list of those that rest      RESTING
                       the queue of a doer (doers)      RUNNING or GHOST, then QUEUED behind them
    a doer stands in   one of its pool's places         EMPTY, PARTLY, LONE, DEEP, or NOWHERE
                       its pool's laden doers           if something waits there that may be asked back

Guarantees: no pointer into a table outlives the next `*_new`. Nothing here is freed twice: a FREE
row is in the free list and nowhere else.
"""
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from covey.broker.orders cimport Cargo, Limits, Order
from covey.wire.protocol cimport NEEDS_LAST, ONCE, RESOURCES, SPLITTABLE, WHOLE_SHARE

# Estimates are whole ticks, so that sums of them can be taken apart again without error. A tick is 100 ns,
# which puts the longest estimate at three and a half minutes: to all rules here that is the same as for ever.
cdef enum:
    TICKS_A_SECOND = 10000000
    LONGEST = 0x7fffffff
    KINDS = RESOURCES           # of doers; anonymous, so that C counts to it as an int
    MASKS = NEEDS_LAST + 1      # of kinds that a task may need; none of them is 0

# State of a task.
cdef enum:
    FREE = 0
    WAITING = 1
    SUSPECT = 2                 # waits for a doer of its own, because slots died under it, or for its whole machine
    RESTING = 3                 # raised, and is not to be tried again yet; the agenda has an entry for it
    QUEUED = 4                  # at a doer, believed to wait there
    RUNNING = 5                 # at a doer, believed to run
    GHOST = 6                   # believed to run, but nobody wants it: it only holds its place

# Marks of a task.
cdef enum:
    ASKED = 1                   # a TAKE_BACK is not answered yet
    CONFIRMED = 2               # the doer said itself that it runs
    TIMED = 4                   # the agenda has an entry for this attempt
    SPLITS = 16                 # the task's SPLITTABLE flag; stays whatever doer has it
    WANTED = 8                  # its asker wants it back, and has no answer yet; such a task is ASKED
    SINGLE = 32                 # the task's ONCE flag; stays, too
    BEGUN = 64                  # SINGLE, and its doer has begun it, or nobody can tell, whatever it is believed to do there
    HUNGRY = 128                # memory ran out under it: it is to run alone on its machine; stays, too
    STAYS = 16 | 32 | 128       # the marks that are the task's and not the attempt's

# Marks of a doer.
cdef enum:
    DRAINING = 1                # gets nothing new; DISMISS when it holds nothing
    DISMISSED = 2               # was told so
    CONDEMNED = 4               # is killed or given up; gets nothing new, and nobody waits for its end
    STALLED = 8                 # nothing moved for too long: nothing new until something does
    SOLO = 16                   # holds a suspect, and nothing beside or behind it
    KEEPING = 32                # said no to a TAKE_BACK: not asked again before something moves there
    RELAYS = 64                 # a loop itself: time limits, kills and crashes are seen and judged there
    SHRUNK = 128                # holds more than its window: that became smaller, or it claimed what it has

# How a doer's places are counted.
cdef enum:
    WHOLLY = 0                  # each task takes one
    BY_SHARE = 1                # a loop's GPUs: a task takes its share of one
    BY_DEVICE = 2               # a slot on a GPU that has others: one task at a time, and the shares of all on it are bounded

# Whether the machine is kept for one task.
cdef enum:
    CROWDED = 0                 # no
    EMPTYING = 1                # no slot of ours gets anything, because all of them are to be idle
    ALONE = 2                   # one has a task that memory ran out under, the others still get nothing

# Place of a doer.
cdef enum:
    NOWHERE = 0                 # may get nothing now
    EMPTY = 1                   # holds nothing
    PARTLY = 2                  # holds less than it can run at once
    LONE = 3                    # busy, nothing waits there
    DEEP = 4                    # busy, something waits there, and more may
    SLICED = 5                  # has less than a whole GPU left, and nothing waits there
    PLACES = 6

# Two lines of cache hold three rows; the neighbours of a lane are neighbours in memory.
cdef struct TaskRow:
    uint64_t ticket
    Cargo cargo
    double start                # RUNNING, GHOST: since when it is believed to run
    int32_t chain               # next row of its ticket bucket; FREE: next free row
    int32_t next
    int32_t prev
    int32_t asker               # -1 for a GHOST
    int32_t doer                # -1 unless at a doer
    int32_t function
    uint32_t birth              # 24 bits; how often the row was used
    uint32_t cost               # ticks it was estimated at when it was assigned
    uint32_t timeout_ms
    int16_t priority
    uint8_t state
    uint8_t marks
    uint8_t attempt             # 0 before the first; of the token, and never the same twice
    uint8_t tries               # of it, those that may have begun, and those before it came here; as people count
    uint8_t retries             # left; what else is known of them stands in a TryRow
    uint8_t crashes
    uint8_t losses
    uint8_t needs               # mask of the kinds of doers that will do; never 0
    uint16_t share              # of a GPU, as in TaskRecord

# Of a task that came with retries, or under which memory ran out, beside its row: most tasks have neither, and should not
# be larger for them.
cdef struct TryRow:
    uint32_t birth              # of the task's row; another one's is out of date
    uint32_t wait_ms            # as in TaskRecord
    uint8_t raised              # how many retries were used
    uint8_t hunger              # times that memory ran out under it

cdef struct List:
    int32_t head                # -1: empty
    int32_t tail
    uint32_t length

cdef struct Link:
    int32_t next
    int32_t prev

# The queue of a doer: first what runs (RUNNING, GHOST), then what waits (QUEUED) from `upcoming` on.
# running <= capacity, and something waits only if running == capacity; that is so with a capacity of 0, too. BY_SHARE,
# units and running are both bounded, and what waits first does not fit. BY_DEVICE, nothing waits, and capacity is 1.
cdef struct DoerRow:
    int32_t head
    int32_t tail
    int32_t upcoming            # first QUEUED task; -1: none
    uint32_t assigned           # rows in the queue
    uint32_t running            # of those, RUNNING or GHOST
    uint32_t capacity
    uint32_t window
    uint8_t place
    uint8_t laden               # whether it is in its pool's list of these
    uint8_t marks
    uint8_t kind
    uint64_t backlog            # sum of the costs of the queue
    uint64_t room               # ticks of backlog it may have: quantum times capacity
    double heard                # on the clock that pauses do not move
    double progress             # when something last began or ended here
    uint32_t asked              # rows of the queue that are ASKED
    uint32_t singles            # and that are SINGLE; a slot has one at most, with nothing behind it
    uint32_t ghosts
    uint32_t birth
    uint8_t alive               # else: in the free list, linked through `head`
    uint8_t upcoming_needs      # all needs of what waits here, or'ed; bits of what is gone may stay
    uint8_t counting            # WHOLLY, BY_SHARE, BY_DEVICE
    int32_t device              # -1 unless BY_DEVICE
    uint64_t units              # BY_SHARE: sum of the shares of what runs; at most capacity times WHOLE_SHARE
    uint64_t most               # BY_SHARE: running is at most this, because the GPUs there have no more slots
    uint64_t bytes              # of the cargoes of the queue
    uint64_t byte_room          # with so many bytes it gets nothing more; with nothing, it may get one task of any size

# The tasks of one asker and one priority, oldest first.
cdef struct Lane:
    int32_t head
    int32_t tail
    int32_t priority

# An asker among those who want doers of one kind.
cdef struct Turn:
    double virtual              # ticks it was given there, over its weight
    int32_t spot                # in the pool's heap; -1 while it has nothing that such a doer may do

# What one asker wants with the same needs. Its lanes are sorted, the most urgent last, and the last has a task if any has.
cdef struct Share:
    uint32_t waiting
    uint32_t lane_count
    uint32_t lane_room
    Lane* lanes

cdef struct AskerRow:
    Turn turns[KINDS]
    Share shares[MASKS]
    double stride               # 1 / weight
    uint64_t bytes              # of its unfinished tasks
    uint64_t byte_credit        # at most so many, unless it is one task
    uint32_t unfinished
    uint32_t assigned           # of those, at doers
    int32_t chain               # next free row
    uint16_t wanted             # a bit for each mask in whose lanes something waits
    uint8_t alive
    uint8_t held                # has no turn for now
    uint8_t away                # its link has ended; it has nothing but what is believed to run

cdef struct FunctionRow:
    double mean                 # ticks
    uint32_t cost               # the same, rounded and bounded; 0: never measured
    uint32_t count

# The doers of one kind, and whose turn it is there.
cdef struct Pool:
    List places[PLACES]
    List laden                  # the one without progress for longest first
    int32_t* heap               # askers with something waiting, the least served one first
    uint32_t heap_length
    int32_t reserved            # a doer that gets nothing until it is empty, for a suspect; -1
    int32_t runner              # the DEEP doer that is being given a run of tasks; -1
    uint32_t run_left
    uint64_t capacity           # sum over the doers that may get something at all
    double virtual              # of the turn served last: where newcomers start

# A GPU with one slot or several on it.
cdef struct Device:
    List doers
    uint32_t units              # sum of the shares of what runs there, ghosts included; at most WHOLE_SHARE
    uint32_t able               # doers that may get something: they count as one place, because one whole task fits

# All tasks of the same needs.
cdef struct Line:
    List suspects
    uint32_t waiting            # in lanes
    uint32_t asked              # TAKE_BACKs not answered

# Kind of a Due.
cdef enum:
    TIMEOUT = 0                 # index: a task
    LEASE = 1                   # index: a doer
    REST = 2                    # index: a task that rests

cdef struct Due:
    double when
    int32_t index
    uint32_t stamp              # birth and attempt, to know a row that has become another's
    uint32_t kind

cdef struct Scheduler:
    Limits limits
    uint32_t lone_cost          # lone_above and first_guess in ticks
    uint32_t first_cost
    TaskRow* tasks
    uint32_t task_room
    uint32_t task_used          # rows ever used; those above are untouched memory
    int32_t task_free
    uint32_t task_count
    TryRow* tries               # by the number of the task
    uint32_t try_room
    # The ticket hash: buckets below `low + split`, with split < low (see tickets.pyx).
    int32_t* buckets
    uint32_t bucket_low
    uint32_t bucket_split
    DoerRow* doers
    Link* place_links
    Link* laden_links
    Link* device_links
    uint32_t doer_room
    uint32_t doer_used
    int32_t doer_free
    uint32_t doer_count
    Device* devices
    uint32_t device_room
    AskerRow* askers
    uint32_t asker_room
    uint32_t asker_used
    int32_t asker_free
    uint32_t asker_count
    uint32_t away_count         # of those, the ones that are away
    FunctionRow* functions
    uint32_t function_room
    Pool pools[KINDS]
    Line lines[MASKS]
    List resting
    uint16_t wanted             # a bit for each mask in whose lanes something waits
    uint16_t suspected          # and in whose suspects
    List hungry                 # what is to run alone on this machine, because memory ran out under it
    int32_t loner               # of those, the one that a slot has now; -1
    uint8_t solitude            # CROWDED, EMPTYING, ALONE
    double haunted_from         # since when that may wait for what was cancelled; infinity: it does not
    # The agenda: a binary heap; entries may be out of date, and are checked when they are due.
    Due* dues
    uint32_t due_room
    uint32_t due_count
    uint32_t timed              # rows marked TIMED
    Order* orders
    uint32_t order_room
    uint32_t order_head
    uint32_t order_tail
    double tick                 # when scheduler_decide was last called; negative: never
    double paused               # seconds that were ours, in all
    uint64_t accepted
    uint64_t ended
    uint64_t stale
    uint64_t retried
    uint64_t crashes
    uint64_t losses
    uint64_t retracted
    uint64_t given_back
    uint64_t ooms
    uint64_t decisions

cdef Scheduler* tables_new(const Limits* limits) noexcept nogil
cdef void tables_free(Scheduler* self) noexcept nogil
# Indexes of zeroed rows (a task's birth is counted on), or -1 when memory is out.
cdef int32_t task_new(Scheduler* self) noexcept nogil
cdef void task_free(Scheduler* self, int32_t task) noexcept nogil
# Notes down that the task has retries. -1 when memory is out.
cdef int try_note(Scheduler* self, int32_t task, uint32_t wait_ms) noexcept nogil
# Memory ran out under it once more; how often that makes. More than any limit when there is none left to count it.
cdef uint32_t hunger_grow(Scheduler* self, int32_t task) noexcept nogil
cdef int32_t doer_new(Scheduler* self) noexcept nogil
cdef void doer_free(Scheduler* self, int32_t doer) noexcept nogil
cdef int32_t asker_new(Scheduler* self) noexcept nogil
cdef void asker_free(Scheduler* self, int32_t asker) noexcept nogil
# The row of a function, made if need be; NULL when memory is out.
cdef FunctionRow* function_row(Scheduler* self, int32_t function) noexcept nogil
# The same of a device.
cdef Device* device_row(Scheduler* self, int32_t device) noexcept nogil
# Room for one more order, zeroed, at the end of the list. NULL when memory is out.
cdef Order* order_new(Scheduler* self, int kind) noexcept nogil

cdef inline uint64_t token_of(const TaskRow* row, int32_t task) noexcept nogil:
    return <uint64_t> <uint32_t> task | <uint64_t> row.birth << 32 | <uint64_t> row.attempt << 56

cdef inline uint8_t flags_of(const TaskRow* row) noexcept nogil:
    return (SPLITTABLE if row.marks & SPLITS else 0) | (ONCE if row.marks & SINGLE else 0)

# The row that a token names, or -1 if it is another's by now.
cdef inline int32_t task_of(const Scheduler* self, uint64_t token) noexcept nogil:
    cdef uint32_t task = <uint32_t> token
    if task >= self.task_used:
        return -1
    if self.tasks[task].state == FREE or self.tasks[task].birth != (<uint32_t> (token >> 32) & 0xffffff):
        return -1
    return <int32_t> task

# Whether a doer gets nothing because the machine is kept for one task. What a loop has is on another machine.
cdef inline bint kept_out(const Scheduler* self, const DoerRow* row) noexcept nogil:
    return self.solitude != CROWDED and not row.marks & RELAYS

# What is known of the task beside its row; NULL if nothing is.
cdef inline TryRow* try_of(const Scheduler* self, int32_t task) noexcept nogil:
    if <uint32_t> task >= self.try_room or self.tries[task].birth != self.tasks[task].birth:
        return NULL
    return &self.tries[task]

# How often it was tried again because it raised.
cdef inline uint8_t raised_by(const Scheduler* self, int32_t task) noexcept nogil:
    cdef const TryRow* tries = try_of(self, task)
    return tries.raised if tries != NULL else 0

# How often memory ran out under it.
cdef inline uint32_t hunger_of(const Scheduler* self, int32_t task) noexcept nogil:
    cdef const TryRow* tries = try_of(self, task)
    return tries.hunger if tries != NULL else 0

# Whether it rests before it is tried again.
cdef inline bint has_rests(const Scheduler* self, int32_t task) noexcept nogil:
    cdef const TryRow* tries = try_of(self, task)
    return tries != NULL and tries.wait_ms > 0

# What a task takes of a GPU.
cdef inline uint32_t units_of(const TaskRow* row) noexcept nogil:
    return row.share if row.share else WHOLE_SHARE

# The masks that contain a kind, a bit for each.
cdef inline uint16_t served_by(int kind) noexcept nogil:
    return <uint16_t> (<uint64_t> 0x010000f000cc00aa >> (16 * kind))

# The clock that pauses do not move. A gap since the last tick that only a pause explains does not
# move it either, though only the next tick writes that down.
cdef inline double steady(const Scheduler* self, double now) noexcept nogil:
    if self.limits.pause > 0 and self.tick >= 0 and now - self.tick > self.limits.pause:
        return self.tick - self.paused
    return now - self.paused

cdef inline bint doer_known(const Scheduler* self, int32_t doer) noexcept nogil:
    return doer >= 0 and <uint32_t> doer < self.doer_used and self.doers[doer].alive != 0

cdef inline bint asker_known(const Scheduler* self, int32_t asker) noexcept nogil:
    return asker >= 0 and <uint32_t> asker < self.asker_used and self.askers[asker].alive != 0

# Lists of doers, through their own array of links: ten thousand of those stay in the cache.
cdef inline void links_push_back(Link* links, List* list, int32_t at) noexcept nogil:
    links[at].next = -1
    links[at].prev = list.tail
    if list.tail < 0:
        list.head = at
    else:
        links[list.tail].next = at
    list.tail = at
    list.length += 1

cdef inline void links_push_front(Link* links, List* list, int32_t at) noexcept nogil:
    links[at].prev = -1
    links[at].next = list.head
    if list.head < 0:
        list.tail = at
    else:
        links[list.head].prev = at
    list.head = at
    list.length += 1

cdef inline void links_remove(Link* links, List* list, int32_t at) noexcept nogil:
    cdef int32_t after = links[at].next
    cdef int32_t before = links[at].prev
    if before < 0:
        list.head = after
    else:
        links[before].next = after
    if after < 0:
        list.tail = before
    else:
        links[after].prev = before
    list.length -= 1

# Lists of tasks, through the links in their rows. `head` and `tail` are the list's.
cdef inline void tasks_push_back(TaskRow* tasks, int32_t* head, int32_t* tail, int32_t at) noexcept nogil:
    tasks[at].next = -1
    tasks[at].prev = tail[0]
    if tail[0] < 0:
        head[0] = at
    else:
        tasks[tail[0]].next = at
    tail[0] = at

cdef inline void tasks_push_front(TaskRow* tasks, int32_t* head, int32_t* tail, int32_t at) noexcept nogil:
    tasks[at].prev = -1
    tasks[at].next = head[0]
    if head[0] < 0:
        tail[0] = at
    else:
        tasks[head[0]].prev = at
    head[0] = at

cdef inline void tasks_remove(TaskRow* tasks, int32_t* head, int32_t* tail, int32_t at) noexcept nogil:
    cdef int32_t after = tasks[at].next
    cdef int32_t before = tasks[at].prev
    if before < 0:
        head[0] = after
    else:
        tasks[before].next = after
    if after < 0:
        tail[0] = before
    else:
        tasks[after].prev = before
