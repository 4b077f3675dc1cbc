# SPDX-License-Identifier: BSD-3-Clause
"""An optimisation under way: what was found, what happened, when it is over.

Why: rounds, stream and islands differ in who is asked when; they all keep the same books.

May not know: where a fitness runs. Guarantees: what is in a checkpoint is the end of an iteration, never its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.client.progress import Progress
from covey.swarm.best import Best
from covey.swarm.checkpoint import Checkpoint
from covey.swarm.faults import Tally
from covey.swarm.feasible import told
from covey.swarm.history import History
from covey.swarm.problem import Problem
from covey.swarm.stops import Stops

__all__ = ["Info", "Run"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Info:
    """What a callback is told after each iteration; it returns True to end the optimisation.

    Attributes:
        iteration: how many are done. evaluations: made so far, in all groups.
        fitness: the best value of each group. best: name → value of each group ('x' → matrix where there are no names).
        elapsed: seconds since the call.
    """

    iteration: int
    evaluations: int
    fitness: Vector
    best: Mapping[str, Any]
    elapsed: float


class Run:
    """The books of an optimisation."""

    def __init__(
        self, problem: Problem, stops: Stops, tally: Tally, *, callback: Callable[[Info], object] | None,
        progress: Progress | None, checkpoint: Checkpoint | None, clock: Callable[[], float]
    ) -> None:
        self.problem = problem
        self.stops = stops
        self.tally = tally
        self.best = Best(problem.group_count, problem.space.dimension, problem.minimize)
        # Candidates for a noisy best that nobody has evaluated again yet: better than nothing, if it ends there.
        self.candidates = Best(problem.group_count, problem.space.dimension, problem.minimize)
        self.confirmed: NDArray[np.bool_] = np.ones(problem.group_count, dtype=bool)
        self.history = History(problem.group_count)
        self.evaluations: NDArray[np.int64] = np.zeros(problem.group_count, dtype=np.int64)
        self.iterations = 0
        self.checkpoint = checkpoint
        # A stream that replays its journal makes the same iterations again; nobody wants to be told twice.
        self.silent = False
        self.progress = progress
        self._callback = callback
        self._clock = clock
        self._began = clock()
        self._stopped_by_callback = False

    @property
    def elapsed(self) -> float:
        """Seconds since the call, and what a checkpoint says came before."""
        return self._clock() - self._began

    @property
    def total(self) -> int:
        """Evaluations so far, in all groups."""
        return int(self.evaluations.sum())

    @property
    def may_end_early(self) -> bool:
        """Whether what is found, or the user's callback, may end it."""
        stops = self.stops
        return self._callback is not None or not stops.target is stops.ftol is stops.xtol is None

    def told(self, values: Vector, violations: Vector | None) -> Vector:
        """What the algorithm is told."""
        return told(values, violations, self.problem.minimize)

    def offer(self, group: int, positions: Vector, values: Vector, violations: Vector | None, told: Vector) -> bool:
        """Evaluated particles of a group; whether its best is a new one."""
        return self.best.offer(group, positions, values, violations, told)

    def note(self, group: int, positions: Vector, values: Vector, violations: Vector | None, told: Vector) -> None:
        """Evaluated particles of a group whose fitness is noisy, before any is confirmed."""
        self.candidates.offer(group, positions, values, violations, told)

    def take_candidates(self) -> None:
        """Groups without a confirmed best are given the best of what was not."""
        for group in np.flatnonzero(np.isnan(self.best.values) & np.isfinite(self.candidates.values)).tolist():
            self.best.take(group, self.candidates)
            self.confirmed[group] = False

    def count(self, group: int, evaluations: int) -> None:
        """So many evaluations were made for a group."""
        self.evaluations[group] += evaluations
        if self.progress is not None:
            self.progress.tick(evaluations)

    def end_iteration(
        self, mean: list[float], spread: list[float], *, time: float | None = None, told: bool = True
    ) -> None:
        """An iteration is done; `mean` and `spread` are of its values, for each group. `told`: the user is told."""
        self.iterations += 1
        elapsed = self.elapsed if time is None else time
        self.history.add(self.best.values, mean, spread, self.evaluations, elapsed)
        self.stops.on_iteration(self.best, np.flatnonzero(np.isfinite(self.candidates.values)).tolist())
        if self.silent or not told:
            return
        if self.progress is not None:
            self.progress.note(f"best {self._leading():.6g}")
        if self._callback is not None:
            info = Info(self.iterations, self.total, self.best.values.copy(), self.found(), elapsed)
            answer = self._callback(info)
            # numpy's own True as well, which a comparison with `info.fitness` gives.
            self._stopped_by_callback = isinstance(answer, (bool, np.bool_)) and bool(answer)

    def over(self, coming: int) -> str | None:
        """Why it is over, if it is; `coming` evaluations would come next."""
        return "callback" if self._stopped_by_callback else self.stops.reason(self.iterations, self.total, coming)

    def found(self) -> dict[str, Any]:
        """The best positions, as the user names them."""
        space = self.problem.space
        known: NDArray[np.bool_] = np.isfinite(self.best.values)
        if space.names is None:
            return {"x": self.best.positions.T.copy()}
        if known.all():
            return dict(space.columns(self.best.positions))
        # Nothing is known of some group: NaN, or None where values are no numbers.
        columns = space.columns(np.where(known[:, None], self.best.positions, space.init_lower))
        for name, column in columns.items():
            nothing: Any = None if column.dtype == object else np.nan
            columns[name] = np.where(known, column, nothing)
        return dict(columns)

    def save(self, rest: Callable[[], dict[str, Any]], *, last: bool = False) -> None:
        """Writes the checkpoint if there is one and it is time; `rest` is what the loop itself needs to go on."""
        if self.checkpoint is not None:
            self.checkpoint.save(lambda: {"run": self._state(), "loop": rest()}, last=last)

    def restore(self, state: Mapping[str, Any], *, replayed: bool) -> None:
        """Goes on from the books of a checkpoint; if they are `replayed`, only from what no replay can tell."""
        self.tally.restore(state["tally"])
        self._began = self._clock() - state["elapsed"]
        if replayed:
            return
        self.best.restore(state["best"])
        self.candidates.restore(state["candidates"])
        self.history.restore(state["history"])
        self.stops.restore(state["stops"], self.best)
        self.evaluations = np.array(state["evaluations"], dtype=np.int64)
        self.iterations = state["iterations"]
        if self.progress is not None:
            self.progress.tick(self.total)

    def _state(self) -> dict[str, Any]:
        return {
            "best": self.best.state(), "candidates": self.candidates.state(), "history": self.history.state(),
            "tally": self.tally.state(), "stops": self.stops.state(), "evaluations": self.evaluations,
            "iterations": self.iterations, "elapsed": self.elapsed,
        }

    def _leading(self) -> float:
        values = self.best.values
        if np.isnan(values).all():
            return float("nan")
        return float(np.nanmin(values) if self.problem.minimize else np.nanmax(values))
