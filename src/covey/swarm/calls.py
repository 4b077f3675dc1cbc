# SPDX-License-Identifier: BSD-3-Clause
"""The calls of an optimisation that are under way: sent to a place, awaited, taken as they come, dropped.

Why: the evaluation of some particles and the leg of an island are sent, waited for and given up in the same way,
whatever decides which of them there are.

May not know: particles, algorithms, what a call is for. Guarantees: a function is prepared once, however often it is
called; no wait outlasts the deadline, nor the patience in which a Ctrl-C is seen; where calls run in place, they run
when they are taken, in the order in which they were posted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from covey.codec.culprit import maybe_not_picklable
from covey.errors import NotPicklable
from covey.swarm.fitness import Fitness
from covey.swarm.places import Place

__all__ = ["ATTENTIVE", "Calls", "Given", "OutOfTime", "has_result"]

# A wait is made of pieces of this length: Python may miss a Ctrl-C that comes just before it sleeps.
ATTENTIVE = 0.3
# What gives the result of a call that was taken, or raises what it raised.
Given = Callable[[], Any]


class OutOfTime(Exception):
    """The call's timeout is over; caught by the call."""


class Calls:
    """What was sent and is not back yet. `label` is the call of the user, for messages."""

    def __init__(
        self, place: Place, fitness: Fitness, label: str, *, inline: bool, clock: Callable[[], float],
        deadline: float | None = None
    ) -> None:
        self.place = place
        self.inline = inline
        self.deadline = deadline
        # Whoever took part: host, process and thread.
        self.who: set[tuple[str, int, int]] = set()
        self._fitness = fitness
        self._label = label
        self._clock = clock
        # What was called, and the form in which it is sent.
        self._prepared: list[tuple[Callable[..., Any], Callable[..., Any]]] = []
        self._waiting: deque[tuple[Any, Given]] = deque()
        self._flying: dict[Future[Any], Any] = {}
        self._bells: SimpleQueue[Future[Any]] = SimpleQueue()

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """A future of the call, somewhere."""
        sent = next((sent for known, sent in self._prepared if known is call), None)
        if sent is None:
            sent = self._prepare(call)
        try:
            return self.place.submit(sent, *args)
        except NotPicklable as error:
            raise self._named(error) from error

    def post(self, key: Any, call: Callable[..., Any], *args: Any) -> None:
        """The call is wanted, and will be taken under this key."""
        if self.inline:
            self._waiting.append((key, lambda: call(*args)))
            return
        future = self.submit(call, *args)
        self._flying[future] = key
        future.add_done_callback(self._bells.put)

    def take(self) -> tuple[Any, Given]:
        """Waits for a call that was posted: its key, and what gives its result; OutOfTime when the time is over."""
        if self.inline:
            self.require_time()
            return self._waiting.popleft()
        while True:
            try:
                future = self._bells.get(timeout=self.require_time())
            except Empty:
                continue
            return self._flying.pop(future), future.result

    def take_arrived(self) -> Iterator[tuple[Any, Any]]:
        """Keys and results of what has come and was not taken: what is broken off should lose none of it."""
        for future in [future for future in self._flying if has_result(future)]:
            yield self._flying.pop(future), future.result()

    def wait(self, future: Future[Any]) -> None:
        """Until it is done, in whatever way."""
        while not future.done():
            try:
                future.exception(self.require_time())
            except TimeoutError:
                continue

    def drop(self) -> bool:
        """Whatever is still under way is of no use any more; whether anything may still run."""
        running = [future for future in self._flying if not future.done() and not future.cancel()]
        self._flying.clear()
        self._waiting.clear()
        return bool(running)

    def require_time(self) -> float:
        """How long a wait may be; OutOfTime when the time is over."""
        if self.deadline is None:
            return ATTENTIVE
        left = self.deadline - self._clock()
        if left <= 0:
            raise OutOfTime
        return min(ATTENTIVE, left)

    def seconds_for(self, calls: int) -> float | None:
        """How long each of so many calls may take, so that all are done when the time is over; None: any time."""
        if self.deadline is None:
            return None
        # A little less: what is done must also arrive.
        left = 0.95 * (self.deadline - self._clock())
        return left / (calls if self.inline else -(-calls // self.place.slots))

    def _prepare(self, call: Callable[..., Any]) -> Callable[..., Any]:
        self._fitness.settle()
        try:
            sent = self.place.prepared(call)
        except Exception as error:
            raise self._named(error) from error
        self._prepared.append((call, sent))
        return sent

    def _named(self, error: Exception) -> Exception:
        """The same, in words that the user used: data, if it is that."""
        for name, data in (("shared_data", self._fitness.shared_data), ("local_data", self._fitness.local_data)):
            fault = maybe_not_picklable(f"{self._label}: {name}", data)
            if fault is not None:
                return fault
        return error


def has_result(future: Future[Any]) -> bool:
    """Whether it is done, and nothing was raised."""
    return future.done() and not future.cancelled() and future.exception() is None
