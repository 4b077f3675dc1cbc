# SPDX-License-Identifier: BSD-3-Clause
"""What is said to the scheduler and what it says: the records that cross its border.

Why apart from scheduler.pxd: the tables are made of these records, and scheduler.pxd hands out the
tables, so they stand one step below both. `scheduler.pxd` passes every name on; cimport from there.

May not know: tables, sockets, clocks. Plain values only; what a pointer points to is never looked at.
"""
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from covey.wire.protocol cimport RESOURCES

# What a task carries for the caller. Opaque here.
cdef struct Cargo:
    void* bale                  # the message the parcel came in; owned by the caller
    uint32_t offset
    uint32_t length             # bytes of it all, for credit; 4 GiB and more count as one less

# The settings, taken once. Seconds unless the name says otherwise.
cdef struct Limits:
    double quantum              # estimated work to keep queued at a doer, so that it never waits for us
    double relay_quantum        # the same, for each place of a doer that is a loop: behind a network, perhaps
    double lone_above           # tasks estimated longer than this are never queued behind another
    double retract_after        # what waits at a doer longer than this may be taken back for an idle one
    double lease                # a doer silent for longer is given up
    double pause                # a gap between two ticks longer than this was ours: leases are extended by it
    double first_guess          # estimate for a function never measured
    uint32_t crash_limit        # slots that may die under a task
    uint32_t loss_limit         # doers that may be lost under a task
    uint32_t credit_tasks       # an asker may have so many tasks unfinished
    uint64_t credit_bytes       # and so many bytes
    uint32_t oom_limit          # times that a task is tried again after memory ran out under it
    uint32_t slots_per_gpu      # tasks that a loop is believed to run at once on a GPU, however little each takes
    double retry_wait_limit     # a task that raised rests no longer than this, or than its first rest at most
    uint64_t seed               # of how long each rests

# Why a doer left.
cdef enum Leaving:
    LEFT_PLANNED = 0            # its tasks go back, nobody is blamed
    LEFT_CRASHED = 1            # the slot died: what ran is blamed, what waited is not
    LEFT_LOST = 2               # the machine or the link is gone: loss count of what ran
    LEFT_KILLED = 3             # we killed it (timeout, forced cancel): only the task meant is concerned
    LEFT_OOM = 4                # memory ran out, and the slot was ended for it: what ran is tried again, alone on its machine
    LEFT_IDLE = 5               # the slot died and ran nothing: loss count of what was to run there, which may have ended it by coming

# What on_task says of a task that it does not take.
cdef enum Refusal:
    DUPLICATE = -1              # the asker has an unfinished task of that ticket
    OVER_CREDIT = -2
    NO_MEMORY = -3
    NO_SUCH = -4                # unknown asker, doer, function or kind

# What on_outcome says.
cdef enum Ruling:
    STALE = 0                   # nobody waits for it (cancelled, already done, or never ours): drop it
    ACCEPTED = 1                # pass it to the asker; the row is gone, its cargo is yours to free
    AGAIN = 2                   # an ERROR with retries left: the task waits again, or rests first; drop it

cdef struct Verdict:
    uint8_t ruling
    uint8_t raised              # how often it was tried again here because it raised; valid for what ends without a value
    int32_t asker               # valid for ACCEPTED
    uint64_t ticket             # the asker's ticket; valid for ACCEPTED
    Cargo cargo                 # valid for ACCEPTED

cdef enum OrderKind:
    ASSIGN = 1                  # give `token` to `doer`: cargo (still owned by the row), function, …
    TAKE_BACK = 2               # ask `doer` to give `token` back unless it runs
    REVOKE = 3                  # tell `doer` that the outcome of `token` is no longer wanted; no answer
    KILL = 4                    # kill `doer`: `token` must stop now
    BLAME = 5                   # `doer` died under `token` (attempt in `attempt`): note who and how, for END
    END = 6                     # the task ended here: tell `asker` (-1: nobody) `status` of `ticket`; free `cargo`
    DISMISS = 7                 # `doer` is drained and holds nothing (or, status LOST, was silent for too long, and what
                                # it held has been taken from it): let it go, then say scheduler_on_doer_left
    GIVE_BACK = 8               # answer to a retract: tell `asker` (-1: nobody) whether it has `ticket` back (`status`: 1
                                # or 0). With 1 the row is gone: free `cargo`, which is empty otherwise

cdef struct Order:
    int32_t kind
    int32_t doer
    int32_t asker
    int32_t function
    uint64_t token              # lease: row index | row generation | attempt
    uint64_t ticket             # the asker's
    Cargo cargo
    uint32_t timeout_ms
    uint8_t status              # of an END; of a GIVE_BACK: 1 or 0
    uint8_t why                 # of a BLAME: a Leaving
    uint8_t attempt             # from 1, as people count; an outcome brings its own
    uint8_t flags               # of the TaskRecord
    uint8_t crashes
    uint8_t needs
    uint8_t retries
    uint8_t raised              # how often it was tried again because it raised
    int16_t priority
    uint16_t share

# A frozen count of everything; what statistics() shows.
cdef struct Totals:
    uint64_t waiting
    uint64_t assigned           # at doers, running or queued there
    uint64_t running            # of those, the ones believed to run
    uint64_t accepted           # outcomes passed on, ever
    uint64_t ended              # tasks ended here, ever (cancelled, poisoned, timed out, lost …)
    uint64_t stale              # outcomes dropped, ever
    uint64_t retried            # attempts that raised and were tried again, ever
    uint64_t crashes            # doers that died while a task ran there, ever
    uint64_t losses             # attempts that were lost with their doer, ever
    uint64_t retracted
    uint64_t given_back         # tasks that their asker got back, ever
    uint64_t doers
    uint64_t askers
    uint64_t decisions          # assignments, ever
    uint64_t capacity[RESOURCES]    # tasks of each kind that are run at once, by doers that may get any
    uint64_t ooms
