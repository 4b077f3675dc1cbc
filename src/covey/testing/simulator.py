# SPDX-License-Identifier: BSD-3-Clause
"""A whole flock in one thread and no time: the real scheduler, doers that only pretend, and a clock turned by hand.

Why: an hour of ten thousand slots, their deaths and the delays between them, is seconds here, and the same seed gives
the same hour again. What is simulated is everything but the decisions: links with a delay (in order, each way), slots
that run tasks one after the other, crash, fall silent and are replaced, and a broker that wakes up when it asked to.

    submit ──delay──▶ Board ──orders, delay──▶ slots ──outcomes, delay──▶ Board ──▶ Report

Guarantees: no wall clock, no thread, no randomness but the seed's.
"""
import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from covey.broker.board import Board
from covey.broker.records import Leaving, OrderKind, OrderRecord, Ruling
from covey.settings import Settings

VALUE, ERROR = 1, 2
ONCE = 2


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, as mean seconds between two of a kind at one slot (0: never)."""

    crash_every: float = 0.0        # the slot dies, seen at once, and is replaced
    silence_every: float = 0.0      # it is cut off: seen when its lease runs out; its outcomes come late
    drain_every: float = 0.0        # it is asked to leave
    respawn: float = 0.03           # until a new slot is there


@dataclass(frozen=True, slots=True)
class Report:
    """What an hour of simulation came to."""

    makespan: float                             # when the last task was done
    delivered: dict[tuple[int, int], int]       # how often each (asker, ticket) was told its end
    statuses: dict[tuple[int, int], int]        # with which status
    finished: dict[tuple[int, int], float]      # and when
    begun: dict[tuple[int, int], int]           # how often each was begun at slots
    runs: int                                   # tasks begun at slots, repeats included
    busy: float                                 # seconds that slots ran tasks
    counts: Counter[str]                        # orders by kind, deaths, late outcomes


@dataclass(slots=True)
class _Slot:
    doer: int                       # its number at the board; -1 once it left
    kind: int
    capacity: int
    queue: deque[tuple[int, float]] = field(default_factory=deque)
    running: dict[int, float] = field(default_factory=dict)     # token: when it ends
    silent: bool = False
    stopping: bool = False
    dead: bool = False
    said: float = 0.0               # when its last message arrives, so that none overtakes another
    told: float = 0.0


class Simulator:
    """A flock to be.

    >>> simulator = Simulator(seed=1)
    >>> simulator.add_slots(2)
    >>> asker = simulator.add_asker()
    >>> simulator.submit(asker, [0.010, 0.010])
    >>> round(simulator.run().makespan, 4)
    0.0109
    """

    def __init__(
        self, *, seed: int, settings: Settings | None = None, delay: float = 0.0003, jitter: float = 0.0,
        faults: Faults | None = None, checking: bool = False,
    ) -> None:
        """`delay` is a message's way between two processes; `checking` derives every invariant after every step."""
        settings = settings or Settings()
        self.settings = replace(settings, credit_tasks=1 << 30, credit_bytes=1 << 60)
        self.random = random.Random(seed)
        self.delay = delay
        self.jitter = jitter
        self.faults = faults or Faults()
        self.checking = checking
        self.board = Board(self.settings)
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._counter = 0
        self._slots: dict[int, _Slot] = {}
        self._durations: dict[tuple[int, int], float] = {}
        self._raises: dict[tuple[int, int], float] = {}
        self._keys: dict[int, tuple[int, int]] = {}
        self._begun: Counter[tuple[int, int]] = Counter()
        self._unfinished = 0
        self._tickets: Counter[int] = Counter()
        self._delivered: Counter[tuple[int, int]] = Counter()
        self._statuses: dict[tuple[int, int], int] = {}
        self._finished: dict[tuple[int, int], float] = {}
        self._counts: Counter[str] = Counter()
        self._runs = 0
        self._busy = 0.0
        self._wake_at = float("inf")

    # The stage.

    def add_asker(self, weight: float = 1.0) -> int:
        return self.board.asker_joined(self.now, weight)

    def add_slots(self, count: int, *, kind: int = 0, capacity: int = 1, window: int = 1024) -> None:
        for _ in range(count):
            self._join(kind, capacity, window)

    def submit(
        self, asker: int, durations: Iterable[float], *, at: float = 0.0, function: int | None = 0,
        priority: int = 0, timeout_ms: int = 0, once: bool = False, raises: float = 0.0, retries: int = 0,
        retry_wait_ms: int = 0,
    ) -> None:
        """Tasks that will take so long. All of one function, or (None) of a function each. `raises`: how likely is it
        that an attempt ends with an error? `once`: they must not begin twice."""
        for duration in durations:
            ticket = self._tickets[asker]
            self._tickets[asker] += 1
            self._durations[asker, ticket] = duration
            self._raises[asker, ticket] = raises
            self._unfinished += 1
            number = ticket if function is None else function
            self._at(at + self.delay, lambda ticket=ticket, number=number: self._take_in(  # type: ignore[misc]
                asker, ticket, function=number, priority=priority, timeout_ms=timeout_ms, flags=ONCE if once else 0,
                retries=retries, retry_wait_ms=retry_wait_ms))

    def run(self, until: float = float("inf")) -> Report:
        """Runs until every task has its end, or until that time."""
        while self._agenda and (self._unfinished or until < float("inf")):
            when = self._agenda[0][0]
            if when > until:
                break
            self.now = when
            # What arrives together is read together, as the loop does.
            while self._agenda and self._agenda[0][0] == when:
                heapq.heappop(self._agenda)[2]()
            self._decide()
        return Report(
            max(self._finished.values(), default=0.0), dict(self._delivered), self._statuses, self._finished,
            dict(self._begun), self._runs, self._busy, self._counts)

    # The clock.

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._counter += 1
        heapq.heappush(self._agenda, (when, self._counter, action))

    def _way(self) -> float:
        return self.delay + (self.random.expovariate(1 / self.jitter) if self.jitter else 0.0)

    # The broker's side.

    def _take_in(self, asker: int, ticket: int, **how: int) -> None:
        taken = self.board.task(asker, ticket, self.now, cargo=ticket + 1, **how)
        assert taken >= 0, taken

    def _decide(self) -> None:
        self.board.decide(self.now)
        for order in self.board.orders():
            self._carry_out(order)
        if self.checking:
            assert self.board.validate() == 0, self.board.validate()
        when = self.board.next_time(self.now)
        if when < self._wake_at or self._wake_at <= self.now:
            self._wake_at = when
            if when < float("inf"):
                self._at(max(when, self.now), lambda: None)

    def _carry_out(self, order: OrderRecord) -> None:
        self._counts[order.kind.name] += 1
        if order.kind is OrderKind.END:
            self._deliver(order.asker, order.ticket, order.status)
        elif order.kind is not OrderKind.BLAME and order.doer in self._slots:
            slot = self._slots[order.doer]
            slot.told = max(slot.told, self.now + self._way())
            self._at(slot.told, lambda: self._obey(slot, order))

    def _deliver(self, asker: int, ticket: int, status: int) -> None:
        self._delivered[asker, ticket] += 1
        self._statuses[asker, ticket] = status
        self._finished[asker, ticket] = self.now
        self._unfinished -= 1

    # The slots' side.

    def _join(self, kind: int, capacity: int, window: int) -> None:
        slot = _Slot(self.board.doer_joined(self.now, kind, capacity, window), kind, capacity)
        self._slots[slot.doer] = slot
        for every, happens in (
            (self.faults.crash_every, self._crash), (self.faults.silence_every, self._fall_silent),
            (self.faults.drain_every, self._drain),
        ):
            if every:
                when = self.now + self.random.expovariate(1 / every)
                self._at(when, lambda happens=happens: happens(slot, window))     # type: ignore[misc]
        if self.settings.lease < float("inf"):
            self._beat(slot)

    def _beat(self, slot: _Slot) -> None:
        if slot.doer >= 0 and not slot.dead:
            self._say(slot, lambda: self.board.heard(slot.doer, self.now))
            self._at(self.now + self.settings.beat_every, lambda: self._beat(slot))

    def _say(self, slot: _Slot, fact: Callable[[], object]) -> None:
        if not slot.dead and not slot.silent:
            slot.said = max(slot.said, self.now + self._way())
            self._at(slot.said, lambda: slot.doer >= 0 and fact())     # type: ignore[arg-type]

    def _leave(self, slot: _Slot, why: Leaving) -> None:
        if slot.doer >= 0:
            self.board.doer_left(slot.doer, why, self.now)
            del self._slots[slot.doer]
            slot.doer = -1

    def _crash(self, slot: _Slot, window: int) -> None:
        if slot.dead or slot.doer < 0:
            return
        slot.dead = True
        self._counts["crash"] += 1
        running = list(slot.running)

        def seen() -> None:
            # What it had begun is known from its last words, as the node reads them; of one that runs several, not all.
            for token in running:
                self.board.started(slot.doer, token, self.now)
            mark = running[0] if running and slot.capacity == 1 else 0
            self.board.died_under(slot.doer, mark, self.now)
            self._leave(slot, Leaving.CRASHED)
        self._at(max(slot.said, self.now + self.delay), lambda: seen() if slot.doer >= 0 else None)
        self._at(self.now + self.faults.respawn, lambda: self._join(slot.kind, slot.capacity, window))

    def _fall_silent(self, slot: _Slot, window: int) -> None:
        if slot.dead or slot.doer < 0:
            return
        slot.silent = True
        self._counts["silence"] += 1
        self._at(self.now + self.faults.respawn, lambda: self._join(slot.kind, slot.capacity, window))

    def _drain(self, slot: _Slot, window: int) -> None:
        if slot.doer >= 0 and not slot.dead and not slot.silent:
            self._counts["drain"] += 1
            self.board.drain(slot.doer, self.now)
            self._at(self.now + self.faults.respawn, lambda: self._join(slot.kind, slot.capacity, window))

    def _obey(self, slot: _Slot, order: OrderRecord) -> None:
        if slot.dead:
            return
        if order.kind is OrderKind.ASSIGN:
            self._keys[order.token] = order.asker, order.ticket
            slot.queue.append((order.token, self._durations[order.asker, order.ticket]))
            self._begin(slot)
        elif order.kind is OrderKind.TAKE_BACK:
            here = [entry for entry in slot.queue if entry[0] == order.token]
            for entry in here:
                slot.queue.remove(entry)
            self._say(slot, lambda: self.board.given_back(slot.doer, order.token, bool(here), self.now))
        elif order.kind is OrderKind.REVOKE:
            slot.queue = deque(entry for entry in slot.queue if entry[0] != order.token)
        elif order.kind is OrderKind.KILL:
            slot.dead = True
            self._at(self.now + self.delay, lambda: self._leave(slot, Leaving.KILLED))
            window = 1024
            self._at(self.now + self.faults.respawn, lambda: self._join(slot.kind, slot.capacity, window))
        elif slot.silent:
            # Dismissed because nobody heard of it. What it did meanwhile arrives when the link is mended.
            self._at(self.now, lambda: self._leave(slot, Leaving.LOST))
        else:
            slot.stopping = True
            self._at(self.now, lambda: self._leave(slot, Leaving.PLANNED))

    def _begin(self, slot: _Slot) -> None:
        while slot.queue and len(slot.running) < slot.capacity:
            token, duration = slot.queue.popleft()
            slot.running[token] = self.now + duration
            self._begun[self._keys[token]] += 1
            self._runs += 1
            self._busy += duration
            self._at(self.now + duration, lambda token=token, duration=duration: self._finish(  # type: ignore[misc]
                slot, token, duration))

    def _finish(self, slot: _Slot, token: int, duration: float) -> None:
        if slot.dead:
            return
        del slot.running[token]
        raises = self._raises[self._keys[token]]
        status = ERROR if raises and self.random.random() < raises else VALUE
        if slot.silent:
            late = self.now + self.settings.lease * 1.5
            self._at(late, lambda: self._outcome(slot.doer, token, status, duration))
        else:
            slot.said = max(slot.said, self.now + self._way())
            self._at(slot.said, lambda: self._outcome(slot.doer, token, status, duration))
        self._begin(slot)

    def _outcome(self, doer: int, token: int, status: int, duration: float) -> None:
        verdict = self.board.outcome(doer, token, self.now, status=status, run_us=int(duration * 1e6))
        if verdict.ruling is Ruling.ACCEPTED:
            self._deliver(verdict.asker, verdict.ticket, status)
        else:
            self._counts["again" if verdict.ruling is Ruling.AGAIN else "late"] += 1
