# SPDX-License-Identifier: BSD-3-Clause
"""A clock that is turned by hand, with an agenda of what is to happen when.

Why: what depends on time is tested without waiting for any. Hours go by in the time that it takes to look at what
happens in them, and in the same order every time.

May not know: what happens. Guarantees: it never goes back; what is due at the same moment happens in the order in which
it was asked for; no thread, no wall clock. For one thread.
"""
import heapq
import math
from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """Seconds since its beginning. It is called for the time, as `time.monotonic` is.

    >>> clock = Clock()
    >>> rung = []
    >>> clock.at(5.0, lambda: rung.append(clock()))
    >>> clock.advance(60.0)
    >>> clock(), rung
    (60.0, [5.0])
    """

    __slots__ = ("_agenda", "_counter", "now")

    def __init__(self, now: float = 0.0) -> None:
        # Read it, and turn it by `advance` and `step` only. An attribute, because simulations look at it all the time.
        self.now = now
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._counter = 0

    def __call__(self) -> float:
        return self.now

    def __repr__(self) -> str:
        return f"<Clock at {self.now:g} s, {len(self._agenda)} things to come>"

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Calls it when that moment is there; what should have happened already is due at once."""
        self._counter += 1
        heapq.heappush(self._agenda, (max(when, self.now), self._counter, action))

    @property
    def next_time(self) -> float:
        """When the next thing is due; infinity if nothing is."""
        return self._agenda[0][0] if self._agenda else math.inf

    def step(self, until: float = math.inf) -> bool:
        """Goes to the next moment at which something is due, and lets all of that happen; False if there is none until
        then."""
        when = self.next_time
        if when == math.inf or when > until:
            return False
        self.now = when
        while self._agenda and self._agenda[0][0] == when:
            heapq.heappop(self._agenda)[2]()
        return True

    def advance(self, seconds: float) -> None:
        """Lets so many seconds go by, and happen what is due in them.

        >>> Clock().advance(-1.0)
        Traceback (most recent call last):
        ValueError: a clock cannot be turned back by 1 s: give advance() a number of seconds that is not below 0
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot be turned back by {-seconds:g} s: give advance() a number of seconds "
                             "that is not below 0")
        end = self.now + seconds
        while self.step(end):
            pass
        self.now = end
