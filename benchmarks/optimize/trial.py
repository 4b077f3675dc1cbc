# SPDX-License-Identifier: BSD-3-Clause
"""One optimiser on one problem: it may evaluate so often, and what it found when is written down.

Why: every library has its own idea of when it is finished and what an evaluation is. Here the problem counts,
whatever calls it, and ends the run by an exception when the budget is spent.

Guarantees: nothing past the budget is recorded; the time spent in the function is known, so that it can be taken off.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Problem", "Spent", "Trial"]


class Spent(Exception):
    """The budget is used up."""


@dataclass
class Problem:
    """A function of one matrix (rows are points), its box, and how low it can go."""

    name: str
    function: Callable[[Any], Any]
    lower: Any
    upper: Any
    optimum: float

    @property
    def dimension(self) -> int:
        return len(self.lower)


@dataclass
class Trial:
    """What an optimiser is given: `matrix` or `scalar` to evaluate with, and the box."""

    problem: Problem
    budget: int
    seed: int
    target: float = -np.inf     # of value minus optimum; reaching it ends the run
    used: int = 0
    best: float = np.inf
    seconds: float = 0.0        # of CPU time within the function, this book-keeping included
    improved: list[tuple[int, float]] = field(default_factory=list)     # (evaluations, value minus optimum)

    def matrix(self, points: Any) -> Any:
        """The values of the rows of `points`."""
        began = time.process_time()
        values = np.asarray(self.problem.function(points), dtype=np.float64) - self.problem.optimum
        room = values[: self.budget - self.used]
        if len(room) and room.min() < self.best:
            below = np.minimum.accumulate(room)
            for row in np.flatnonzero(np.diff(below, prepend=self.best) < 0).tolist():
                self.improved.append((self.used + row + 1, float(below[row])))
            self.best = float(below[-1])
        self.used += len(room)
        self.seconds += time.process_time() - began
        if self.used >= self.budget or self.best <= self.target:
            raise Spent
        return values

    def scalar(self, point: Any) -> float:
        """The value of one point."""
        return float(self.matrix(np.asarray(point, dtype=np.float64)[None])[0])

    def run(self, optimiser: Callable[["Trial"], None]) -> "Trial":
        """Lets an optimiser go until the budget is spent; one that returns earlier is called again, seeded anew."""
        first = self.seed
        try:
            for again in range(10**6):
                self.seed = first + 7919 * again
                before = self.used
                optimiser(self)
                if self.used == before:
                    break
        except Spent:
            pass
        self.seed = first
        return self
