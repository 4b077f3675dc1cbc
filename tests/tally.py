# SPDX-License-Identifier: BSD-3-Clause
"""Calls of which every end is counted: none may be lost, none told twice, none wrong.

May not know: what goes wrong meanwhile. Guarantees: `check` has seen each end that was told by then.
"""
from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from waiting import wait_until


def square_after(seconds: float) -> Callable[[int], int]:
    """A function that works for so long. It is made here and not imported there: the tests are on no other machine."""

    def square(number: int) -> int:
        import time

        time.sleep(seconds)     # work
        return number * number

    return square


class Tally:
    """`count` calls of a function that squares, each with a number of its own."""

    def __init__(self, submit: Callable[..., Future[Any]], function: Callable[[int], int], count: int) -> None:
        self._lock = threading.Lock()
        self._told: Counter[int] = Counter()
        self.futures: list[Future[int]] = []
        for number in range(count):
            future = submit(function, number)
            future.add_done_callback(lambda _, number=number: self._hear(number))   # type: ignore[misc]
            self.futures.append(future)

    def _hear(self, number: int) -> None:
        with self._lock:
            self._told[number] += 1

    @property
    def done(self) -> int:
        """How many have ended."""
        return len(self._told)

    def wait_done(self, count: int, deadline: float = 60.0, state: Callable[[], object] = lambda: "") -> None:
        """Waits until so many have ended."""
        wait_until(lambda: self.done >= count, lambda: f"{self.done} of {count} are done: {state()}", deadline)

    def check(self, deadline: float = 60.0, state: Callable[[], object] = lambda: "") -> None:
        """Waits for all; each must have been told once, with its own square."""
        self.wait_done(len(self.futures), deadline, state)
        assert [future.result(0) for future in self.futures] == [number**2 for number in range(len(self.futures))]
        assert set(self._told.values()) == {1}, "told twice"


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which this share of them lies.

    >>> quantile([3.0, 1.0, 2.0], 0.99)
    3.0
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
