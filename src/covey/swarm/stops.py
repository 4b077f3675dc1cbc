# SPDX-License-Identifier: BSD-3-Clause
"""When an optimisation is over.

Why: every loop ends for the same reasons, and a reason should mean the same in each of them.

May not know: clocks, slots: it is told what was found. Guarantees: decided at the end of an iteration only, from what
was found only, so the same seed ends at the same iteration; a group that has reached the target or moves no more is
finished for itself, and the whole when all of its groups are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.swarm.best import Best

__all__ = ["Stops"]

Vector = NDArray[np.float64]

# Iterations over which ftol and xtol look for progress.
PATIENCE = 10


class Stops:
    """The limits of one call.

    ftol: a group is finished when its best value improved by no more than this over the last ten iterations; xtol: when
    its best position moved by no more than this part of the initial interval of every parameter.
    """

    def __init__(
        self, groups: int, *, iterations: int | None, budget: int | None, target: float | None, ftol: float | None,
        xtol: float | None, widths: Vector
    ) -> None:
        self.iterations = iterations
        self.budget = budget
        self.target = target
        self.ftol = ftol
        self.xtol = xtol
        self._widths = widths
        self._values: list[Vector] = []
        self._positions: list[Vector] = []
        self.finished: list[str | None] = [None] * groups
        # What ended the group that ended last: the whole waited for it.
        self._latest = ""

    @property
    def active(self) -> list[int]:
        """The groups that go on."""
        return [group for group, reason in enumerate(self.finished) if reason is None]

    def on_iteration(self, best: Best, waiting: Collection[int] = ()) -> None:
        """An iteration is done: which groups need no more? Those `waiting` have seen what only is to be confirmed."""
        if self.target is not None:
            for group in self.active:
                if best.violations[group] <= 0.0 and _reached(best.values[group], self.target, best.minimize):
                    self._finish(group, "target")
        if self.ftol is None and self.xtol is None:
            return
        self._values.append(best.values.copy())
        self._positions.append(best.positions.copy())
        if len(self._values) <= PATIENCE:
            return
        before, where = self._values.pop(0), self._positions.pop(0)
        for group in self.active:
            if not math.isfinite(best.values[group]) and group not in waiting:
                # It found nothing in so long, which is no progress; without another limit it would go on for ever.
                self._finish(group, "ftol" if self.ftol is not None else "xtol")
                continue
            if not math.isfinite(before[group]):
                continue
            moved = np.abs(best.positions[group] - where[group]) / self._widths
            if self.ftol is not None and abs(best.values[group] - before[group]) <= self.ftol:
                self._finish(group, "ftol")
            elif self.xtol is not None and moved.max() <= self.xtol:
                self._finish(group, "xtol")

    def reason(self, iterations: int, evaluations: int, coming: int) -> str | None:
        """Why it is over, if it is; `coming` evaluations would be made next."""
        if not self.active:
            return self._latest
        if self.iterations is not None and iterations >= self.iterations:
            return "iterations"
        if self.budget is not None and evaluations + coming > self.budget:
            return "budget"
        return None

    def has_room(self, evaluations: int) -> bool:
        """Whether the budget allows so many in all."""
        return self.budget is None or evaluations <= self.budget

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "values": np.array(self._values), "positions": np.array(self._positions),
            "finished": list(self.finished), "latest": self._latest,
        }

    def restore(self, state: Mapping[str, Any], best: Best) -> None:
        """As it was then, except that the target is today's: it may have been set farther."""
        self._values, self._positions = list(np.array(state["values"])), list(np.array(state["positions"]))
        self.finished, self._latest = list(state["finished"]), state["latest"]
        for group, reason in enumerate(self.finished):
            if reason == "target" and not (
                self.target is not None and _reached(best.values[group], self.target, best.minimize)
            ):
                self.finished[group] = None

    def _finish(self, group: int, reason: str) -> None:
        self.finished[group] = self._latest = reason


def _reached(value: float, target: float, minimize: bool) -> bool:
    return bool(value <= target if minimize else value >= target)
