# SPDX-License-Identifier: BSD-3-Clause
"""The best that each group has found.

Why: an algorithm's own idea of the best may be a migrant, a noisy value or a point that breaks a constraint; what a
user is given is kept here, and only from evaluations that were really made.

May not know: algorithms. Guarantees: never a value that is not finite, never one that breaks a constraint while one
that does not is known; of equals the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.swarm.feasible import better

__all__ = ["Best", "leader_of"]

Vector = NDArray[np.float64]


def leader_of(told: Vector, minimize: bool) -> int | None:
    """The row of the best of what an algorithm is told; None if none is a number.

    >>> leader_of(np.array([3.0, np.nan, 1.0]), True)
    2
    """
    row = int(told.argmin() if minimize else told.argmax())
    if told[row] == told[row]:
        return row
    if np.isnan(told).all():
        return None
    return int(np.nanargmin(told) if minimize else np.nanargmax(told))


class Best:
    """Position, value and violation of each group's best; NaN where nothing was found."""

    def __init__(self, groups: int, dimension: int, minimize: bool) -> None:
        self.minimize = minimize
        self.positions: Vector = np.full((groups, dimension), np.nan)
        self.values: Vector = np.full(groups, np.nan)
        self.violations: Vector = np.zeros(groups)

    def offer(self, group: int, positions: Vector, values: Vector, violations: Vector | None, told: Vector) -> bool:
        """Evaluated particles of a group; whether one of them is the new best."""
        row = leader_of(told, self.minimize)
        if row is None:
            return False
        if violations is not None:
            # What is told may not tell all violations apart.
            for other in np.flatnonzero(told == told[row]).tolist():
                its, best = ((float(values[at]), float(violations[at])) for at in (other, row))
                if better(*its, *best, self.minimize):
                    row = other
        violation = 0.0 if violations is None else float(violations[row])
        return self.claim(group, positions[row], float(values[row]), violation)

    def claim(self, group: int, position: Vector, value: float, violation: float) -> bool:
        """One evaluated particle of a group; whether it is the new best."""
        if not self.beaten_by(group, value, violation):
            return False
        self.positions[group] = position
        self.values[group] = value
        self.violations[group] = violation
        return True

    def beaten_by(self, group: int, value: float, violation: float) -> bool:
        """Whether such a finding would be the new best."""
        return better(value, violation, self.values.item(group), self.violations.item(group), self.minimize)

    def take(self, group: int, other: Best) -> None:
        """A group's best becomes that of another book."""
        for name in ("positions", "values", "violations"):
            getattr(self, name)[group] = getattr(other, name)[group]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"positions": self.positions, "values": self.values, "violations": self.violations}

    def restore(self, state: Mapping[str, Any]) -> None:
        """As it was then."""
        self.positions, self.values = np.array(state["positions"]), np.array(state["values"])
        self.violations = np.array(state["violations"])
