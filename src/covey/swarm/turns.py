# SPDX-License-Identifier: BSD-3-Clause
"""Whose turn it is in a portfolio: evaluations go to who improved the best lately.

Why: it is decided before every call, so it is a few plain numbers, with nothing around them.

May not know: algorithms, points, values. Guarantees: what each gets follows from counts alone; over many turns it is
the share that it earned.
"""
import math
from collections.abc import Mapping, Sequence
from typing import Any

LEAST_SHARE = 0.05
# An improvement is worth e-fold less after this part of all evaluations so far.
MEMORY = 0.15


class Turns:
    """The accounts of members by number; `idle` is what the least of each's improvements is worth."""

    def __init__(self, idle: Sequence[float]) -> None:
        self._idle = idle
        self._owed = [0.0] * len(idle)      # points of its share that each did not get yet
        self._improved = [0] * len(idle)    # evaluations when each last improved the best

    def improved(self, member: int, evaluations: int) -> None:
        self._improved[member] = evaluations

    def earned(self, present: Sequence[bool], evaluations: int) -> list[float]:
        """The part of the evaluations for each that is present; they sum to 1."""
        spent = max(1, evaluations)
        worth = [
            max(idle, math.exp((improved - spent) / (MEMORY * spent))) if here else 0.0
            for here, idle, improved in zip(present, self._idle, self._improved, strict=True)
        ]
        rest = (1 - LEAST_SHARE * sum(present)) / (sum(worth) or 1.0)
        return [LEAST_SHARE + rest * one if here else 0.0 for here, one in zip(present, worth, strict=True)]

    def next(self, shares: Sequence[float]) -> int:
        """To whom most is owed, among those who have a share."""
        chosen, most = 0, -math.inf
        for member, (share, owed) in enumerate(zip(shares, self._owed, strict=True)):
            if share > 0 and owed + share > most:
                chosen, most = member, owed + share
        return chosen

    def gave(self, member: int, points: int, shares: Sequence[float]) -> None:
        """So many points were a member's, where these were the shares."""
        for number, share in enumerate(shares):
            self._owed[number] += share * points
        self._owed[member] -= points

    def state(self) -> dict[str, Any]:
        return {"owed": list(self._owed), "improved": list(self._improved)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._owed = [float(points) for points in state["owed"]]
        self._improved = [int(evaluations) for evaluations in state["improved"]]
