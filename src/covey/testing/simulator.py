# SPDX-License-Identifier: BSD-3-Clause
"""A whole flock in one thread and no time: the real scheduler, doers that only pretend, and a clock turned by hand.

Why: an hour of ten thousand slots, their deaths and the delays between them, is seconds here, and the same seed gives
the same hour again. What is simulated is everything but the decisions: a Link to each slot, steady as TCP is, which
may be cut; slots that run tasks one after the other, crash, are replaced, and say what they kept once the link is
whole; and a broker that wakes up when it asked to. A slot that was given up meanwhile says what it kept over a link
that is as bad as can be.

    submit ──delay──▶ Board ──orders──▶ Link ──▶ slots ──outcomes──▶ Link ──▶ Board ──▶ Report

Guarantees: no wall clock, no thread, no randomness but the seed's.
"""
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from covey.broker.board import Board
from covey.broker.records import Leaving, OrderKind, OrderRecord, Ruling
from covey.settings import Settings
from covey.testing.clock import Clock
from covey.testing.link import Link

VALUE, ERROR, CANCELLED, LOST = 1, 2, 3, 6
ONCE = 2


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, as mean seconds between two of a kind at one slot (0: never)."""

    crash_every: float = 0.0        # the slot dies, seen at once, and is replaced
    silence_every: float = 0.0      # its link is cut
    silence_for: float = 7.5        # mean seconds until that is whole again; over the lease it has been given up
    drain_every: float = 0.0        # it is asked to leave
    respawn: float = 0.03           # until a new slot is there
    # How likely one message is lost, doubled or overtaken: on a steady link it is late instead; what one who was given
    # up has to say meets all of it.
    loss: float = 0.0
    doubling: float = 0.0
    reordering: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What an hour of simulation came to."""

    makespan: float                             # when the last task was done
    delivered: dict[tuple[int, int], int]       # how often each (asker, ticket) was told its end
    statuses: dict[tuple[int, int], int]        # with which status
    finished: dict[tuple[int, int], float]      # and when
    begun: dict[tuple[int, int], int]           # how often each was begun at slots
    # How often a slot crashed under each; and was given up with it, or crashed and ran nothing while it was to come. Of
    # a slot of several that crashed, and of one that was given up, nobody can tell what had begun there: then it is all
    # that it may have had.
    crashed: dict[tuple[int, int], int]
    lost: dict[tuple[int, int], int]
    runs: int                                   # tasks begun at slots, repeats included
    busy: float                                 # seconds that slots ran tasks
    counts: Counter[str]                        # orders by kind, deaths, late outcomes, what links did


@dataclass(slots=True)
class _Slot:
    doer: int                       # its number at the board; -1 once it left
    kind: int
    capacity: int
    window: int
    link: Link[Any]                 # near: the broker's end, which is told facts; far: the slot's, which is told orders
    queue: deque[tuple[int, float]] = field(default_factory=deque)
    running: dict[int, float] = field(default_factory=dict)     # token: when it ends
    given: set[int] = field(default_factory=set)    # tokens that it may have, as far as can be known at the broker
    kept: list[tuple[int, int, float]] = field(default_factory=list)     # outcomes of the time in which it was cut off
    dead: bool = False


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
        self.clock = Clock()
        self._slots: dict[int, _Slot] = {}
        self._durations: dict[tuple[int, int], float] = {}
        self._raises: dict[tuple[int, int], float] = {}
        self._keys: dict[int, tuple[int, int]] = {}
        self._begun: Counter[tuple[int, int]] = Counter()
        self._crashed: Counter[tuple[int, int]] = Counter()
        self._lost: Counter[tuple[int, int]] = Counter()
        self._unfinished: set[tuple[int, int]] = set()
        self._tickets: Counter[int] = Counter()
        self._delivered: Counter[tuple[int, int]] = Counter()
        self._statuses: dict[tuple[int, int], int] = {}
        self._finished: dict[tuple[int, int], float] = {}
        self._counts: Counter[str] = Counter()
        self._runs = 0
        self._busy = 0.0
        self._wake_at = float("inf")
        self._gone: set[int] = set()

    # The stage.

    def add_asker(self, weight: float = 1.0) -> int:
        return self.board.asker_joined(self.clock.now, weight)

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
            self._unfinished.add((asker, ticket))
            number = ticket if function is None else function
            self._at(at + self.delay, lambda ticket=ticket, number=number: self._take_in(  # type: ignore[misc]
                asker, ticket, function=number, priority=priority, timeout_ms=timeout_ms, flags=ONCE if once else 0,
                retries=retries, retry_wait_ms=retry_wait_ms))

    def cancel(self, asker: int, ticket: int, *, at: float, force: bool = False) -> None:
        """The asker does not want it any more; `force`: not even if it runs."""
        self._at(at + self.delay, lambda: self.board.cancel(asker, ticket, self.clock.now, force=force))

    def lose_asker(self, asker: int, *, at: float) -> None:
        """A client that dies: nobody is told what becomes of its tasks."""
        def left() -> None:
            self._unfinished = {task for task in self._unfinished if task[0] != asker}
            self._gone.add(asker)
            self.board.asker_left(asker, self.clock.now)
        self._at(at + self.delay, left)

    def run(self, until: float = float("inf")) -> Report:
        """Runs until every task has its end, or until that time."""
        # What arrives together is read together, as the loop does.
        while (self._unfinished or until < float("inf")) and self.clock.step(until):
            self._decide()
        return Report(
            max(self._finished.values(), default=0.0), dict(self._delivered), self._statuses, self._finished,
            dict(self._begun), dict(self._crashed), dict(self._lost), self._runs, self._busy, self._counts)

    def _at(self, when: float, action: Callable[[], object]) -> None:
        self.clock.at(when, action)

    # The broker's side.

    def _take_in(self, asker: int, ticket: int, **how: int) -> None:
        if asker in self._gone:
            return
        taken = self.board.task(asker, ticket, self.clock.now, cargo=ticket + 1, **how)
        assert taken >= 0, taken

    def _decide(self) -> None:
        self.board.decide(self.clock.now)
        for order in self.board.orders():
            self._carry_out(order)
        if self.checking:
            assert self.board.validate() == 0, self.board.validate()
        when = self.board.next_time(self.clock.now)
        if when < self._wake_at or self._wake_at <= self.clock.now:
            self._wake_at = when
            if when < float("inf"):
                self._at(max(when, self.clock.now), lambda: None)

    def _carry_out(self, order: OrderRecord) -> None:
        self._counts[order.kind.name] += 1
        if order.kind is OrderKind.END:
            # -1: to nobody, because whoever asked has left.
            if order.asker >= 0:
                self._deliver(order.asker, order.ticket, order.status)
        elif order.kind is OrderKind.BLAME or order.doer not in self._slots:
            return
        elif order.kind is OrderKind.DISMISS:
            slot = self._slots[order.doer]
            why = Leaving.LOST if order.status == LOST else Leaving.PLANNED
            if why is Leaving.LOST:
                self._lost.update(self._keys[token] for token in slot.given)
            self._at(self.clock.now, lambda: self._leave(slot, why))
        else:
            if order.kind is OrderKind.ASSIGN:
                self._keys[order.token] = order.asker, order.ticket
                self._slots[order.doer].given.add(order.token)
            self._slots[order.doer].link.near.send(order)

    def _deliver(self, asker: int, ticket: int, status: int) -> None:
        assert asker not in self._gone, "somebody who left is told of a task"
        self._delivered[asker, ticket] += 1
        self._statuses[asker, ticket] = status
        self._finished[asker, ticket] = self.clock.now
        self._unfinished.discard((asker, ticket))

    # The slots' side.

    def _join(self, kind: int, capacity: int, window: int) -> None:
        link = self._link(steady=True)
        slot = _Slot(self.board.doer_joined(self.clock.now, kind, capacity, window), kind, capacity, window, link)
        link.far.on_message = lambda order: self._obey(slot, order)
        link.near.on_message = lambda fact: fact() if slot.doer >= 0 else None
        self._slots[slot.doer] = slot
        for every, happens in (
            (self.faults.crash_every, self._crash), (self.faults.silence_every, self._fall_silent),
            (self.faults.drain_every, self._drain),
        ):
            if every:
                when = self.clock.now + self.random.expovariate(1 / every)
                self._at(when, lambda happens=happens: happens(slot))     # type: ignore[misc]
        if self.settings.lease < float("inf"):
            self._beat(slot)

    def _link(self, *, steady: bool) -> Link[Any]:
        faults = self.faults
        link: Link[Any] = Link(
            self.clock, seed=self.random, delay=self.delay, jitter=self.jitter, loss=faults.loss,
            doubling=faults.doubling, reordering=faults.reordering, steady=steady)
        link.counts = self._counts
        return link

    def _beat(self, slot: _Slot) -> None:
        if slot.doer >= 0 and not slot.dead:
            slot.link.far.send(lambda: self.board.heard(slot.doer, self.clock.now))
            self._at(self.clock.now + self.settings.beat_every, lambda: self._beat(slot))

    def _leave(self, slot: _Slot, why: Leaving) -> None:
        if slot.doer >= 0:
            self.board.doer_left(slot.doer, why, self.clock.now)
            del self._slots[slot.doer]
            slot.doer = -1
            # What is under way to it comes never: its connection is no more.
            slot.link.near.on_message = lambda _: None
            self._at(self.clock.now + self.faults.respawn, lambda: self._join(slot.kind, slot.capacity, slot.window))

    def _crash(self, slot: _Slot) -> None:
        if slot.dead or slot.doer < 0:
            return
        slot.dead = True
        self._counts["crash"] += 1
        running = list(slot.running)

        def seen() -> None:
            # What it had begun is known from its last words, as the node reads them; of one that runs several, not all.
            for token in running:
                self.board.started(slot.doer, token, self.clock.now)
            mark = running[0] if running and slot.capacity == 1 else 0
            self.board.died_under(slot.doer, mark, self.clock.now)
            # As the loop judges: of a slot of one it is known what it ran. If that was nothing, what is on its way to
            # it is not blamed for a crash; if it is over by now, nobody is for anything.
            if slot.capacity == 1 and not mark:
                self._lost.update(self._keys[token] for token in slot.given)
                self._leave(slot, Leaving.IDLE)
            elif slot.capacity == 1 and not self.board.find(mark):
                self._leave(slot, Leaving.PLANNED)
            else:
                under = {mark} if slot.capacity == 1 else slot.given
                self._crashed.update(self._keys[token] for token in under)
                self._leave(slot, Leaving.CRASHED)
        slot.link.far.send(seen)

    def _fall_silent(self, slot: _Slot) -> None:
        if slot.dead or slot.doer < 0:
            return
        self._counts["silence"] += 1
        slot.link.cut()
        self._at(self.clock.now + self.random.expovariate(1 / self.faults.silence_for), lambda: self._mend(slot))

    def _mend(self, slot: _Slot) -> None:
        if slot.doer >= 0:
            slot.link.restore()
            return
        if slot.dead:
            return
        # It has been given up. It comes back as another, and what it kept is said between two sessions, where nothing
        # keeps messages in order.
        again = self._link(steady=False)
        again.near.on_message = lambda fact: fact()
        for token, status, duration in slot.kept:
            again.far.send(partial(self._outcome, -1, token, status, duration))

    def _drain(self, slot: _Slot) -> None:
        if slot.doer >= 0 and not slot.dead and not slot.link.is_cut:
            self._counts["drain"] += 1
            self.board.drain(slot.doer, self.clock.now)

    def _obey(self, slot: _Slot, order: OrderRecord) -> None:
        if slot.dead:
            return
        if order.kind is OrderKind.ASSIGN:
            slot.queue.append((order.token, self._durations[order.asker, order.ticket]))
            self._begin(slot)
        elif order.kind is OrderKind.TAKE_BACK:
            here = [entry for entry in slot.queue if entry[0] == order.token]
            for entry in here:
                slot.queue.remove(entry)
            slot.link.far.send(lambda: self._given_back(slot, order.token, bool(here)))
        elif order.kind is OrderKind.REVOKE:
            slot.queue = deque(entry for entry in slot.queue if entry[0] != order.token)
        elif order.kind is OrderKind.KILL:
            slot.dead = True
            slot.link.far.send(lambda: self._leave(slot, Leaving.KILLED))

    def _given_back(self, slot: _Slot, token: int, here: bool) -> None:
        if here:
            slot.given.discard(token)
        self.board.given_back(slot.doer, token, here, self.clock.now)

    def _begin(self, slot: _Slot) -> None:
        while slot.queue and len(slot.running) < slot.capacity:
            token, duration = slot.queue.popleft()
            slot.running[token] = self.clock.now + duration
            self._begun[self._keys[token]] += 1
            self._runs += 1
            self._busy += duration
            self._at(self.clock.now + duration, lambda token=token, duration=duration: self._finish(  # type: ignore[misc]
                slot, token, duration))

    def _finish(self, slot: _Slot, token: int, duration: float) -> None:
        if slot.dead:
            return
        del slot.running[token]
        raises = self._raises[self._keys[token]]
        status = ERROR if raises and self.random.random() < raises else VALUE
        if slot.link.is_cut:
            slot.kept.append((token, status, duration))
        slot.link.far.send(lambda: self._report(slot, token, status, duration))
        self._begin(slot)

    def _report(self, slot: _Slot, token: int, status: int, duration: float) -> None:
        slot.given.discard(token)
        self._outcome(slot.doer, token, status, duration)

    def _outcome(self, doer: int, token: int, status: int, duration: float) -> None:
        verdict = self.board.outcome(doer, token, self.clock.now, status=status, run_us=int(duration * 1e6))
        if verdict.ruling is Ruling.ACCEPTED:
            self._deliver(verdict.asker, verdict.ticket, status)
        else:
            self._counts["again" if verdict.ruling is Ruling.AGAIN else "late"] += 1
