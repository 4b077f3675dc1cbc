# SPDX-License-Identifier: BSD-3-Clause
"""The scheduler with a Python face: each fact a method, each order a record.

Why: the tests, the simulator and the benchmark drive the very code that the loop drives, with no socket
and a clock of their own. Nothing in covey's own line uses this.

May not know: any rule. Guarantees: a cargo here is a number, never looked at; `feed` and `spin` run whole
batches in C, so that what they cost is the scheduler and not Python.
"""
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from covey.broker.limits cimport limits_of
from covey.broker.scheduler cimport (
    ACCEPTED, ASSIGN, Cargo, Limits, Order, Scheduler, Totals, Verdict, scheduler_capacity, scheduler_decide, scheduler_find,
    scheduler_free, scheduler_may_starve, scheduler_new, scheduler_next_order, scheduler_next_time, scheduler_on_adopted,
    scheduler_on_asker_away, scheduler_on_asker_held, scheduler_on_asker_joined, scheduler_on_asker_left,
    scheduler_on_byte_room, scheduler_on_cancel, scheduler_on_claimed, scheduler_on_died_under, scheduler_on_doer_joined,
    scheduler_on_doer_left, scheduler_on_doer_resized, scheduler_on_drain, scheduler_on_function_forgotten,
    scheduler_on_given_back, scheduler_on_heard, scheduler_on_outcome, scheduler_on_retract, scheduler_on_started,
    scheduler_on_task, scheduler_totals, scheduler_validate)
from covey.wire.protocol cimport NEEDS_CPU, RESOURCES, VALUE

from covey.broker.records import BoardTotals, OrderKind, OrderRecord, Ruling, VerdictRecord
from covey.settings import Settings


# A task at a doer, while `spin` plays the doers.
cdef struct Flight:
    uint64_t token
    int32_t doer


cdef class Board:
    """A scheduler of one's own.

    >>> board = Board()
    >>> asker, doer = board.asker_joined(0.0), board.doer_joined(0.0)
    >>> board.task(asker, 7, 0.0)
    0
    >>> board.decide(0.0)
    >>> [(order.kind.name, order.doer, order.ticket) for order in board.orders()]
    [('ASSIGN', 0, 7)]
    """

    cdef Scheduler* scheduler
    cdef Flight* flights                # a ring of `flight_room`, a power of two
    cdef size_t flight_room
    cdef size_t flight_first
    cdef size_t flight_last             # counts on; modulo the room it is the place behind the last one
    cdef uint64_t next_ticket           # of `feed`

    def __cinit__(self, settings=None, uint64_t seed=0):
        cdef Limits limits = limits_of(Settings() if settings is None else settings, seed)
        self.scheduler = scheduler_new(&limits)
        if self.scheduler == NULL:
            raise MemoryError("no memory for a scheduler's tables")

    def __dealloc__(self):
        scheduler_free(self.scheduler)
        free(self.flights)

    def asker_joined(self, double now, double weight=1.0):
        return scheduler_on_asker_joined(self.scheduler, weight, now)

    def asker_left(self, int32_t asker, double now):
        return scheduler_on_asker_left(self.scheduler, asker, now)

    def asker_held(self, int32_t asker, bint held):
        return scheduler_on_asker_held(self.scheduler, asker, held)

    def asker_away(self, int32_t asker, double now):
        return scheduler_on_asker_away(self.scheduler, asker, now)

    def adopted(self, uint64_t token, int32_t asker, uint64_t ticket):
        return scheduler_on_adopted(self.scheduler, token, asker, ticket)

    def claimed(self, int32_t task, int32_t doer, double now):
        return scheduler_on_claimed(self.scheduler, task, doer, now)

    def doer_joined(self, double now, int kind=0, uint32_t capacity=1, uint32_t window=1024, *, bint relays=False,
                    int32_t device=-1):
        return scheduler_on_doer_joined(self.scheduler, kind, capacity, window, relays, device, now)

    def doer_resized(self, int32_t doer, uint32_t capacity, uint32_t window, double now):
        return scheduler_on_doer_resized(self.scheduler, doer, capacity, window, now)

    def byte_room(self, int32_t doer, uint64_t room):
        return scheduler_on_byte_room(self.scheduler, doer, room)

    def doer_left(self, int32_t doer, int why, double now):
        return scheduler_on_doer_left(self.scheduler, doer, why, now)

    def died_under(self, int32_t doer, uint64_t token, double now):
        return scheduler_on_died_under(self.scheduler, doer, token, now)

    def drain(self, int32_t doer, double now):
        return scheduler_on_drain(self.scheduler, doer, now)

    def heard(self, int32_t doer, double now):
        return scheduler_on_heard(self.scheduler, doer, now)

    def function_forgotten(self, int32_t function):
        return scheduler_on_function_forgotten(self.scheduler, function)

    def task(self, int32_t asker, uint64_t ticket, double now, *, int32_t function=0, int needs=NEEDS_CPU, uint16_t share=0,
             int16_t priority=0, uint8_t flags=0, uint8_t retries=0, uint8_t crashes=0, uint8_t attempts=0,
             uint32_t timeout_ms=0, uint32_t retry_wait_ms=0, size_t cargo=0, uint32_t length=0):
        """The task's row, or a Refusal."""
        cdef Cargo parcel
        parcel.bale = <void*> cargo
        parcel.offset = 0
        parcel.length = length
        return scheduler_on_task(
            self.scheduler, asker, ticket, function, needs, share, priority, flags, retries, crashes, attempts,
            timeout_ms, retry_wait_ms, &parcel, now)

    def started(self, int32_t doer, uint64_t token, double now):
        return scheduler_on_started(self.scheduler, doer, token, now)

    def outcome(self, int32_t doer, uint64_t token, double now, *, int status=VALUE, bint final=False, uint32_t run_us=0):
        cdef Verdict verdict = scheduler_on_outcome(self.scheduler, doer, token, status, final, run_us, now)
        return VerdictRecord(
            Ruling(verdict.ruling), verdict.asker, verdict.ticket, <size_t> verdict.cargo.bale)

    def given_back(self, int32_t doer, uint64_t token, bint given_back, double now):
        return scheduler_on_given_back(self.scheduler, doer, token, given_back, now)

    def cancel(self, int32_t asker, uint64_t ticket, double now, *, bint force=False):
        return scheduler_on_cancel(self.scheduler, asker, ticket, force, now)

    def retract(self, int32_t asker, uint64_t ticket, double now):
        return scheduler_on_retract(self.scheduler, asker, ticket, now)

    def find(self, uint64_t token):
        """Whose a token is: (asker, ticket), or None."""
        cdef int32_t asker = -1
        cdef uint64_t ticket = 0
        return (asker, ticket) if scheduler_find(self.scheduler, token, &asker, &ticket) else None

    def may_starve(self, uint64_t token):
        return scheduler_may_starve(self.scheduler, token)

    def decide(self, double now):
        scheduler_decide(self.scheduler, now)

    def next_time(self, double now):
        return scheduler_next_time(self.scheduler, now)

    def orders(self):
        """All orders since the last call, oldest first."""
        cdef Order order
        cdef list found = []
        while scheduler_next_order(self.scheduler, &order):
            found.append(OrderRecord(
                OrderKind(order.kind), order.doer, order.asker, order.function, order.token, order.ticket,
                <size_t> order.cargo.bale, order.cargo.length, order.timeout_ms, order.status, order.why, order.attempt,
                order.flags, order.crashes, order.needs, order.retries, order.raised, order.priority, order.share))
        return found

    def validate(self):
        """0, or the number of the first invariant that does not hold (validate.pxd lists them)."""
        return scheduler_validate(self.scheduler)

    def capacity(self, int kind):
        return scheduler_capacity(self.scheduler, kind)

    def totals(self):
        cdef Totals totals
        scheduler_totals(self.scheduler, &totals)
        return BoardTotals(
            totals.waiting, totals.assigned, totals.running, totals.accepted, totals.ended, totals.stale,
            totals.retried, totals.crashes, totals.losses, totals.retracted, totals.given_back, totals.doers,
            totals.askers, totals.decisions, tuple([totals.capacity[kind] for kind in range(RESOURCES)]), totals.ooms)

    def feed(self, int32_t asker, uint64_t count, double now, *, int32_t function=0, int needs=NEEDS_CPU):
        """Tasks with tickets that count up, until `count` are taken or one is refused; how many were taken."""
        cdef uint64_t taken = 0
        with nogil:
            while taken < count and self._feed_one(asker, function, needs, now):
                taken += 1
        return taken

    cdef bint _feed_one(self, int32_t asker, int32_t function, int needs, double now) noexcept nogil:
        cdef Cargo parcel
        cdef int32_t taken
        parcel.bale = NULL
        parcel.offset = 0
        parcel.length = 0
        taken = scheduler_on_task(
            self.scheduler, asker, self.next_ticket, function, needs, 0, 0, 0, 0, 0, 0, 0, 0, &parcel, now)
        self.next_ticket += taken >= 0
        return taken >= 0

    def spin(self, uint64_t count, double now, *, int32_t asker=-1, uint32_t run_us=1000, uint32_t batch=64):
        """Plays doers that finish in the order in which they were given tasks, until `count` outcomes are in.

        Each task ran `run_us`; `batch` outcomes come at a time, and for each of them `asker` (if any) sends
        another task, so that as many go on waiting. Returns the time it is then: that of doers all busy, each with
        as many tasks as it may run at once.
        """
        cdef uint64_t done = 0
        cdef uint32_t _i
        cdef Order order
        cdef Flight* flight
        cdef Verdict verdict
        cdef Totals totals
        cdef double step
        cdef uint64_t places
        scheduler_totals(self.scheduler, &totals)
        places = totals.capacity[0] + totals.capacity[1] + totals.capacity[2]
        step = run_us * 1e-6 / max(places, <uint64_t> 1)
        with nogil:
            while done < count:
                scheduler_decide(self.scheduler, now)
                while scheduler_next_order(self.scheduler, &order):
                    if order.kind == ASSIGN and not self._fly(&order):
                        break
                if self.flight_first == self.flight_last:
                    break
                for _i in range(batch):
                    if self.flight_first == self.flight_last:
                        break
                    flight = &self.flights[self.flight_first & (self.flight_room - 1)]
                    self.flight_first += 1
                    now += step
                    verdict = scheduler_on_outcome(self.scheduler, flight.doer, flight.token, VALUE, False, run_us, now)
                    done += verdict.ruling == ACCEPTED
                    if asker >= 0:
                        self._feed_one(asker, 0, NEEDS_CPU, now)
        return now

    cdef bint _fly(self, const Order* order) noexcept nogil:
        cdef size_t room, i
        cdef Flight* bigger
        cdef Flight* flight
        if self.flight_last - self.flight_first == self.flight_room:
            room = self.flight_room * 2 if self.flight_room else 1024
            bigger = <Flight*> realloc(self.flights, room * sizeof(Flight))
            if bigger == NULL:
                return False
            # What was wrapped around moves behind what was not: with twice the room nothing is.
            for i in range(self.flight_first, self.flight_last):
                if self.flight_room and (i & (room - 1)) >= self.flight_room:
                    bigger[i & (room - 1)] = bigger[i & (self.flight_room - 1)]
            self.flights = bigger
            self.flight_room = room
        flight = &self.flights[self.flight_last & (self.flight_room - 1)]
        flight.token = order.token
        flight.doer = order.doer
        self.flight_last += 1
        return True
