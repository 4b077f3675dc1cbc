# SPDX-License-Identifier: BSD-3-Clause
"""A tree of loops in one thread and no time: broker over brokers over nodes over slots, each with the real scheduler.

Why: that loops stack is the one idea behind machines, so what a stack of them does must be seen without any: tasks that
pass three tables, are asked back from two of them, and sit in a branch that is lost. Between two levels there are
messages with a delay, in order each way, and nothing else; a level tells the one above what it can run, whenever that
changes.

With `whole=False` one branch of each level is simulated and its siblings are plain doers that run as many tasks at once
as there are slots below them: a million slots then take three tables, which see what they would see in the whole tree.

May not know: any rule. Guarantees: no wall clock, no thread, no randomness at all.
"""
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from covey.broker.board import Board
from covey.broker.records import Leaving, OrderKind, OrderRecord, Ruling
from covey.settings import Settings
from covey.testing.clock import Clock

VALUE, CANCELLED = 1, 3


@dataclass(frozen=True, slots=True)
class TreeReport:
    """What became of all tasks, and what each level did for that."""

    makespan: float
    delivered: dict[int, int]           # how often each task was told its end
    decisions: list[int]                # of all loops of a level, the topmost first
    runs: int                           # tasks begun at slots, repeats included
    counts: Counter[str]                # orders by kind


@dataclass(slots=True)
class _Plain:
    """A slot, or a whole branch that is not simulated."""

    capacity: int
    queue: deque[int] = field(default_factory=deque)
    running: set[int] = field(default_factory=set)


class _Loop:
    """A broker or a node: a board, what is below it, and (by number) what it is to the one above."""

    def __init__(self, settings: Settings, level: int, above: "_Loop | None") -> None:
        self.board = Board(settings)
        self.asker = self.board.asker_joined(0.0)
        self.level = level
        self.above = above
        self.number = -1
        self.told = 0
        self.below: dict[int, _Loop | _Plain] = {}
        self.durations: dict[int, float] = {}
        self.wake_at = math.inf
        if above is not None:
            self.number = above.board.doer_joined(0.0, capacity=0, relays=True)
            above.below[self.number] = self


class Tree:
    """Loops over loops over slots.

    >>> tree = Tree((2, 2, 3))
    >>> tree.submit([0.01] * 24)
    >>> report = tree.run()
    >>> len(report.delivered), set(report.delivered.values())
    (24, {1})
    """

    def __init__(
        self, fan_out: Sequence[int], *, whole: bool = True, delay: float = 0.0005, settings: Settings | None = None,
        checking: bool = False,
    ) -> None:
        """`fan_out`: how many are below each of a level, the topmost first; the last ones are slots."""
        self.settings = replace(settings or Settings(lease=math.inf), credit_tasks=1 << 30, credit_bytes=1 << 60)
        self.delay = delay
        self.checking = checking
        self.clock = Clock()
        self.loops: list[_Loop] = []
        self._touched: dict[_Loop, None] = {}
        self._tasks = 0
        self._finished = 0.0
        self._runs = 0
        self._delivered: Counter[int] = Counter()
        self._counts: Counter[str] = Counter()
        self._levels = len(fan_out)
        self.top = self._grow(None, list(fan_out), whole)

    def submit(self, durations: Sequence[float], *, at: float = 0.0, timeout_ms: int = 0) -> None:
        """Tasks that take so long."""
        tickets = range(self._tasks, self._tasks + len(durations))
        self._tasks += len(durations)

        def arrive() -> None:
            for ticket, duration in zip(tickets, durations, strict=True):
                self._take_in(self.top, ticket, duration, timeout_ms)
        self.clock.at(at, arrive)

    def lose(self, loop: _Loop, *, at: float) -> None:
        """The whole branch is gone, with all that it has."""
        def gone() -> None:
            assert loop.above is not None
            del loop.above.below[loop.number]
            loop.above.board.doer_left(loop.number, Leaving.LOST, self.clock.now)
            self._touch(loop.above)
        self.clock.at(at, gone)

    def add_slots(self, loop: _Loop, count: int, *, at: float) -> None:
        """More slots at a node; those above learn of them."""
        def joined() -> None:
            self._add_plain(loop, count, 1)
            self._touch(loop)
        self.clock.at(at, joined)

    def drain_slots(self, loop: _Loop, *, at: float) -> None:
        """No slot of a node takes more; those above learn of it."""
        def drained() -> None:
            for doer in list(loop.below):
                loop.board.drain(doer, self.clock.now)
            self._touch(loop)
        self.clock.at(at, drained)

    def tell_capacities(self) -> None:
        """What would be told in the first moments, at once: each loop knows what it can run."""
        for loop in reversed(self.loops):
            if loop.above is not None:
                loop.told = loop.board.capacity(0)
                self._resize(loop.above, loop, loop.told)

    def run(self) -> TreeReport:
        """Runs until every task has its end."""
        # What arrives together is read together, as a loop does.
        while len(self._delivered) < self._tasks and self.clock.step():
            touched, self._touched = self._touched, {}
            for loop in touched:
                self._decide(loop)
        decisions = [0] * self._levels
        for loop in self.loops:
            decisions[loop.level] += loop.board.totals().decisions
        return TreeReport(self._finished, dict(self._delivered), decisions, self._runs, self._counts)

    def _touch(self, loop: _Loop) -> None:
        self._touched[loop] = None

    # The tree.

    def _grow(self, above: _Loop | None, fan_out: list[int], whole: bool) -> _Loop:
        loop = _Loop(self.settings, self._levels - len(fan_out), above)
        self.loops.append(loop)
        count, *below = fan_out
        if not below:
            self._add_plain(loop, count, 1)
        else:
            for _ in range(count if whole else 1):
                self._grow(loop, below, whole)
            if not whole:
                self._add_plain(loop, count - 1, math.prod(below))
        self.clock.at(0.0, lambda: self._touch(loop))
        return loop

    def _add_plain(self, loop: _Loop, count: int, capacity: int) -> None:
        for _ in range(count):
            doer = loop.board.doer_joined(
                self.clock.now, capacity=capacity, window=max(1024, 2 * capacity), relays=capacity > 1)
            loop.below[doer] = _Plain(capacity)

    # A loop.

    def _take_in(self, loop: _Loop, ticket: int, duration: float, timeout_ms: int) -> None:
        assert loop.board.task(loop.asker, ticket, self.clock.now, timeout_ms=timeout_ms) >= 0
        loop.durations[ticket] = duration
        self._touch(loop)

    def _decide(self, loop: _Loop) -> None:
        loop.board.decide(self.clock.now)
        for order in loop.board.orders():
            self._counts[order.kind.name] += 1
            self._carry_out(loop, order)
        if self.checking:
            assert loop.board.validate() == 0, loop.board.validate()
        if loop.above is not None and loop.told != loop.board.capacity(0):
            loop.told = loop.board.capacity(0)
            self._say(loop, lambda above, _, size=loop.told: self._resize(above, loop, size))     # type: ignore[misc]
        when = loop.board.next_time(self.clock.now)
        if when < loop.wake_at or loop.wake_at <= self.clock.now:
            loop.wake_at = when
            if when < math.inf:
                self.clock.at(when, lambda: self._touch(loop))

    def _resize(self, above: _Loop, loop: _Loop, size: int) -> None:
        above.board.doer_resized(loop.number, size, max(1024, 2 * size), self.clock.now)

    def _carry_out(self, loop: _Loop, order: OrderRecord) -> None:
        if order.kind is OrderKind.END or order.kind is OrderKind.GIVE_BACK:
            duration = loop.durations.pop(order.ticket, 0.0) if order.kind is OrderKind.END or order.status else 0.0
            if order.kind is OrderKind.GIVE_BACK:
                self._say(loop, lambda above, now: above.board.given_back(
                    loop.number, order.ticket, bool(order.status), now))
            else:
                self._answer(loop, order.ticket, order.status, duration)
        elif order.kind is OrderKind.DISMISS:
            self.clock.at(self.clock.now, lambda: self._let_go(loop, order.doer))
        elif order.kind is not OrderKind.BLAME and order.doer in loop.below:
            below = loop.below[order.doer]
            duration = loop.durations.get(order.ticket, 0.0)
            self.clock.at(self.clock.now + self.delay, lambda: self._obey(loop, below, order, duration))

    def _let_go(self, loop: _Loop, doer: int) -> None:
        if loop.below.pop(doer, None) is not None:
            loop.board.doer_left(doer, Leaving.PLANNED, self.clock.now)
            self._touch(loop)

    def _say(self, loop: _Loop, fact: Callable[[_Loop, float], object]) -> None:
        """To the one above, unless the branch is lost by the time that it arrives."""
        def arrive() -> None:
            if loop.above is not None and loop.above.below.get(loop.number) is loop:
                fact(loop.above, self.clock.now)
                self._touch(loop.above)
        self.clock.at(self.clock.now + self.delay, arrive)

    def _answer(self, loop: _Loop, ticket: int, status: int, duration: float) -> None:
        if loop.above is None:
            self._delivered[ticket] += 1
            self._finished = self.clock.now
        else:
            self._say(loop, lambda above, _: self._outcome(above, loop.number, ticket, status, duration))

    def _outcome(self, loop: _Loop, doer: int, token: int, status: int, duration: float) -> None:
        verdict = loop.board.outcome(doer, token, self.clock.now, status=status, run_us=int(duration * 1e6))
        if verdict.ruling is Ruling.ACCEPTED:
            del loop.durations[verdict.ticket]
            self._answer(loop, verdict.ticket, status, duration)
        self._touch(loop)

    # What is below a loop.

    def _obey(self, above: _Loop, below: "_Loop | _Plain", order: OrderRecord, duration: float) -> None:
        if above.below.get(order.doer) is not below:
            return
        if isinstance(below, _Loop):
            if order.kind is OrderKind.ASSIGN:
                self._take_in(below, order.token, duration, order.timeout_ms)
            elif order.kind is OrderKind.TAKE_BACK:
                below.board.retract(below.asker, order.token, self.clock.now)
            else:
                below.board.cancel(below.asker, order.token, self.clock.now, force=order.kind is OrderKind.KILL)
            self._touch(below)
        elif order.kind is OrderKind.ASSIGN:
            below.queue.append(order.token)
            self._begin(above, below, order.doer, {order.token: duration})
        elif order.kind is OrderKind.TAKE_BACK:
            gives = order.token in below.queue
            if gives:
                below.queue.remove(order.token)
            self.clock.at(self.clock.now + self.delay, lambda: self._given_back(above, below, order, gives))
        elif order.token in below.queue:
            below.queue.remove(order.token)

    def _given_back(self, above: _Loop, below: _Plain, order: OrderRecord, gives: bool) -> None:
        if above.below.get(order.doer) is below:
            above.board.given_back(order.doer, order.token, gives, self.clock.now)
            self._touch(above)

    def _begin(self, above: _Loop, plain: _Plain, doer: int, durations: dict[int, float]) -> None:
        while plain.queue and len(plain.running) < plain.capacity:
            token = plain.queue.popleft()
            found = above.board.find(token)
            duration = durations.get(token, above.durations.get(found[1], 0.0) if found else 0.0)
            plain.running.add(token)
            self._runs += 1
            self.clock.at(self.clock.now + duration, lambda token=token, duration=duration: self._finish(    # type: ignore[misc]
                above, plain, doer, token, duration))

    def _finish(self, above: _Loop, plain: _Plain, doer: int, token: int, duration: float) -> None:
        plain.running.remove(token)

        def arrive() -> None:
            if above.below.get(doer) is plain:
                self._outcome(above, doer, token, VALUE, duration)
        self.clock.at(self.clock.now + self.delay, arrive)
        self._begin(above, plain, doer, {})
