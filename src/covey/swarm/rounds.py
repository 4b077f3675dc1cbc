# SPDX-License-Identifier: BSD-3-Clause
"""The loop with a barrier: all groups are asked, everything is evaluated, all are told.

Why: this is the swarm as it is written in books, and one seed gives one result wherever its particles were evaluated.

May not know: slots. Guarantees: particles of all groups stand side by side in one evaluation, in the order of groups;
what an algorithm is told depends on values only, never on when they came.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.swarm.best import leader_of
from covey.swarm.evaluator import Evaluated, Evaluator
from covey.swarm.history import mean_and_spread
from covey.swarm.optimizer import Optimizer
from covey.swarm.run import Run

__all__ = ["Rounds"]

Vector = NDArray[np.float64]

# A noisy best is confirmed at most so often a round: each time, the next candidate steps forward.
CONFIRMATIONS = 3


class Rounds:
    """The synchronous loop."""

    def __init__(self, run: Run, evaluator: Evaluator, optimizers: list[Optimizer]) -> None:
        self._run = run
        self._evaluator = evaluator
        self._optimizers = optimizers
        # Of the round under way, for who wants to know what was found when it is broken off.
        self._positions: Vector = np.empty((0, 0))
        self._groups: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        # Its groups and how many particles each has, and where those stand.
        self._shape: list[tuple[int, int]] = []
        self._spans: list[slice] = []
        # What is evaluated just now: the round, or candidates for the best once more.
        self._under_way = self._positions, self._groups

    def go(self) -> str:
        """Runs until it is over; says why it is."""
        run = self._run
        while True:
            active = run.stops.active
            reason = run.over(sum(self._optimizers[group].batch for group in active))
            run.save(self._state, last=reason is not None)
            if reason is not None:
                return reason
            self._round(active)

    def absorb(self) -> None:
        """A round was broken off: what it found counts for the best, though no algorithm was told."""
        run = self._run
        if self._under_way[1] is not self._groups:
            # The round itself was done.
            for group, size in self._shape:
                run.count(group, size)
        for start, stop, outcome in self._evaluator.partial:
            positions, groups = (part[start:stop] for part in self._under_way)
            for group in np.unique(groups).tolist():
                mine = groups == group
                violations = None if outcome.violations is None else outcome.violations[mine]
                values = outcome.values[mine]
                run.count(group, len(values))
                offer = run.offer if run.problem.noise is None else run.note
                offer(group, positions[mine], values, violations, run.told(values, violations))

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        for number, its in enumerate(state["optimizers"]):
            self._optimizers[number] = Optimizer.from_state(its, self._run.problem.space)

    def _state(self) -> dict[str, Any]:
        # The space is the problem's, and may hold a user's objects.
        return {"optimizers": [optimizer.state(space=False) for optimizer in self._optimizers]}

    def _round(self, active: list[int]) -> None:
        run, optimizers = self._run, self._optimizers
        asked = [optimizers[group].ask() for group in active]
        positions = asked[0][1] if len(asked) == 1 else np.concatenate([its for _, its in asked])
        shape = [(group, len(its)) for group, (_, its) in zip(active, asked, strict=True)]
        if shape != self._shape:
            # Most rounds are as the last one was.
            self._shape = shape
            self._groups = np.repeat(active, [size for _, size in shape])
            ends = np.cumsum([size for _, size in shape]).tolist()
            self._spans = [slice(end - size, end) for end, (_, size) in zip(ends, shape, strict=True)]
        groups, spans = self._groups, self._spans
        self._positions = positions
        self._under_way = positions, groups
        found = self._evaluator.evaluate(positions, groups)
        told = found.values if found.clean else run.told(found.values, found.violations)
        confirmed = None
        if run.problem.noise is not None:
            for group, span in zip(active, spans, strict=True):
                violations = None if found.violations is None else found.violations[span]
                run.note(group, positions[span], found.values[span], violations, told[span])
            confirmed = self._confirm(active, spans, found, told)
        self._evaluator.partial = []
        self._under_way = positions, groups
        mean, spread = [float("nan")] * len(optimizers), [float("nan")] * len(optimizers)
        for group, span, (ids, its) in zip(active, spans, asked, strict=True):
            values, ranks = found.values[span], told[span]
            violations = None if found.violations is None else found.violations[span]
            run.count(group, len(values))
            eligible = ranks if confirmed is None else np.where(confirmed[span], ranks, np.nan)
            run.offer(group, its, values, violations, eligible)
            optimizers[group].tell(ids, ranks)
            mean[group], spread[group] = mean_and_spread(values, violations, clean=found.clean)
        run.end_iteration(mean, spread)

    def _confirm(
        self, active: list[int], spans: list[slice], found: Evaluated, told: Vector
    ) -> NDArray[np.bool_]:
        """Whoever would be the new best is evaluated `noise` times more, and has the mean of these from then on.

        The value that made it a candidate is left out: it was chosen for being good.
        """
        run, times = self._run, self._run.problem.noise
        assert times is not None
        positions, groups = self._positions, self._groups
        confirmed: NDArray[np.bool_] = np.zeros(len(told), dtype=bool)
        for _ in range(CONFIRMATIONS):
            rows = []
            for group, span in zip(active, spans, strict=True):
                row = leader_of(told[span], run.problem.minimize)
                if row is None or confirmed[span.start + row]:
                    continue
                at = span.start + row
                violation = 0.0 if found.violations is None else float(found.violations[at])
                if run.best.beaten_by(group, float(found.values[at]), violation):
                    rows.append(at)
            if not rows or not run.stops.has_room(run.total + len(told) + len(rows) * times):
                break
            again = np.repeat(rows, times)
            self._under_way = positions[again], groups[again]
            anew = self._evaluator.evaluate(*self._under_way)
            # Infinite values are counted elsewhere; here they may give NaN.
            with np.errstate(invalid="ignore", over="ignore"):
                found.values[rows] = anew.values.reshape(len(rows), times).mean(axis=1)
                if found.violations is not None and anew.violations is not None:
                    found.violations[rows] = anew.violations.reshape(len(rows), times).mean(axis=1)
            told[:] = run.told(found.values, found.violations)
            found.clean = False
            confirmed[rows] = True
            for row in rows:
                run.count(int(groups[row]), times)
        return confirmed
