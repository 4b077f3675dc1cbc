# SPDX-License-Identifier: BSD-3-Clause
"""A link between two ends, in memory and under a clock, that treats its messages as badly as networks do.

Why: what a protocol does when messages are late, lost, doubled or overtaken cannot be asked of a real network, which
does it once a month. Here it is asked a hundred thousand times in a minute, and a seed brings each of them back.

    near ── send ──▶ loss? doubled? overtaken? ── delay, jitter ──▶ far      and the same the other way

A *steady* link is one as TCP makes it: nothing is lost, doubled or overtaken; what would be lost is late instead, and
what is sent while the link is cut arrives when it is restored.

May not know: what a message is. Guarantees: no wall clock, no thread, no randomness but the one it was given.
"""
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, TypeVar

from covey.testing.clock import Clock

__all__ = ["End", "Link"]

Message = TypeVar("Message")


class End(Generic[Message]):
    """One end of a link: what is sent here arrives at the other.

    A message is given to `on_message` when it arrives; while that is None it waits for `receive`.
    """

    __slots__ = ("_flying", "_generation", "_latest", "_link", "_waiting", "inbox", "on_message", "other")

    def __init__(self, link: "Link[Message]") -> None:
        self._link = link
        self.other: End[Message] = self
        self.on_message: Callable[[Message], object] | None = None
        self.inbox: deque[Message] = deque()
        self._latest = 0.0
        self._generation = 0
        # Of a steady link: what is under way, and what waits for the end of a cut; both in order.
        self._flying: deque[Message] = deque()
        self._waiting: list[Message] = []

    def send(self, message: Message) -> None:
        """Hands it to the link, and returns at once."""
        link = self._link
        if link.is_cut:
            if link.steady:
                self._waiting.append(message)
            else:
                link.counts["lost"] += 1
            return
        arrival = link.clock.now + link.way()
        if link.steady:
            self._latest = max(arrival + self._resending(), self._latest)
            self._flying.append(message)
            self._deliver(self._latest, message)
            return
        if link.happens("lost", link.loss):
            return
        if link.happens("doubled", link.doubling):
            self._deliver(arrival + link.way(), message)
        if link.happens("overtaken", link.reordering):
            arrival = max(arrival, self._latest) + link.way()
        else:
            self._latest = arrival = max(arrival, self._latest)
        self._deliver(arrival, message)

    def receive(self) -> Message | None:
        """The oldest message that has arrived and was not received yet."""
        return self.inbox.popleft() if self.inbox else None

    def _resending(self) -> float:
        """What the losses of one message cost it: it is sent again when nobody has acknowledged it, and again."""
        late, wait = 0.0, self._link.resend_after
        while self._link.happens("lost", self._link.loss):
            late += wait
            wait *= 2
        return late

    def _deliver(self, when: float, message: Message) -> None:
        other, link, generation = self.other, self._link, self._generation

        def arrive() -> None:
            if generation != self._generation:
                link.counts["lost"] += not link.steady
                return
            if link.steady:
                self._flying.popleft()
            if other.on_message is None:
                other.inbox.append(message)
            else:
                other.on_message(message)
        link.clock.at(when, arrive)

    def _break(self) -> None:
        self._generation += 1
        self._waiting = [*self._flying, *self._waiting]
        self._flying.clear()

    def _resume(self) -> None:
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self.send(message)


class Link(Generic[Message]):
    """Two ends, `near` and `far`, and what is between them.

    Parameters:
        seed: a number, or a `random.Random` that several links share.
        delay: seconds that every message takes; jitter: the mean of what it takes longer.
        loss, doubling, reordering: how likely each of them is, from 0 to 1, for one message.
        steady: see above.
        resend_after: what a loss costs on a steady link; each further loss of the same message costs twice as much.

    >>> link = Link(Clock(), seed=1, delay=0.1)
    >>> link.near.send("hello")
    >>> link.clock.advance(0.05); link.far.receive()
    >>> link.clock.advance(0.05); link.far.receive()
    'hello'
    >>> link.cut(); link.near.send("anybody?"); link.clock.advance(60.0); link.far.receive()
    >>> link.counts["lost"]
    1
    """

    def __init__(
        self, clock: Clock, *, seed: int | random.Random = 0, delay: float = 0.0, jitter: float = 0.0,
        loss: float = 0.0, doubling: float = 0.0, reordering: float = 0.0, steady: bool = False,
        resend_after: float = 0.2,
    ) -> None:
        self.clock = clock
        self.random = seed if isinstance(seed, random.Random) else random.Random(seed)
        self.delay = delay
        self.jitter = jitter
        self.loss = loss
        self.doubling = doubling
        self.reordering = reordering
        self.steady = steady
        self.resend_after = resend_after
        self.is_cut = False
        # What became of messages: lost, doubled, overtaken.
        self.counts: Counter[str] = Counter()
        self.near: End[Message] = End(self)
        self.far: End[Message] = End(self)
        self.near.other, self.far.other = self.far, self.near

    def happens(self, what: str, probability: float) -> bool:
        """Whether this happens to a message now; counted."""
        if not probability or self.random.random() >= probability:
            return False
        self.counts[what] += 1
        return True

    def way(self) -> float:
        """The seconds that a message takes, drawn anew."""
        return self.delay + (self.random.expovariate(1 / self.jitter) if self.jitter else 0.0)

    def cut(self) -> None:
        """From now on nothing arrives, what is under way included."""
        self.is_cut = True
        for end in (self.near, self.far):
            end._break()

    def restore(self) -> None:
        """It works again."""
        self.is_cut = False
        for end in (self.near, self.far):
            end._resume()
