# SPDX-License-Identifier: BSD-3-Clause
"""The loop whose swarms live in slots: islands that swim some generations for themselves, then exchange their bests.

    leg = (state of an island, a migrant) ─► slot ─► (state, its best, what happened)

Why: where an evaluation takes microseconds, no particle is worth a message, but a few thousand of them are; and on a
GPU the swarm should be where its fitness is.

May not know: slots. Guarantees: a state travels with its task and comes back with the outcome, so a slot that dies
costs one leg; migrants go around a ring in a fixed order at the end of a leg, so the seed alone decides the result.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.swarm.best import Best
from covey.swarm.chunks import ends_of
from covey.swarm.evaluation import Evaluation
from covey.swarm.evaluator import Evaluator
from covey.swarm.faults import Tally
from covey.swarm.feasible import told
from covey.swarm.history import mean_and_spread
from covey.swarm.optimizer import Optimizer
from covey.swarm.run import Run
from covey.swarm.space import Space

__all__ = ["Islands", "Leg"]

Vector = NDArray[np.float64]


@dataclass(slots=True)
class Landfall:
    """What comes back from a leg."""

    state: dict[str, Any]
    # The best of this leg, as one row each; empty if there is none.
    positions: Vector
    values: Vector
    violations: Vector
    evaluations: int
    # Of the last generation.
    mean: float
    spread: float
    tally: dict[str, Any]
    who: tuple[str, int, int] | None


class Leg:
    """Some generations of an island, in a slot."""

    __slots__ = ("chunk", "evaluation", "minimize", "name", "space")

    def __init__(self, evaluation: Evaluation, space: Space, minimize: bool, chunk: int, name: str) -> None:
        self.evaluation = evaluation
        self.space = space
        self.minimize = minimize
        self.chunk = chunk
        self.name = name

    def __call__(
        self, state: dict[str, Any], migrant: tuple[Vector, Vector] | None, generations: int, group: int, any_good: bool
    ) -> Landfall:
        """The island after so many generations; `any_good`: the fitness is known not to raise always."""
        optimizer = Optimizer.from_state({**state, "space": self.space.state()})
        if migrant is not None:
            optimizer.inject(*migrant)
        best = Best(1, self.space.dimension, self.minimize)
        tally = Tally(self.name, 1)
        tally.any_good = any_good
        made, who = 0, None
        mean = spread = float("nan")
        for _ in range(generations):
            ids, positions = optimizer.ask()
            values, violations, who = self._evaluated(positions, group, tally, who)
            ranks = told(values, violations, self.minimize)
            best.offer(0, positions, values, violations, ranks)
            optimizer.tell(ids, ranks)
            made += len(positions)
            mean, spread = mean_and_spread(values, violations)
        found = slice(0, int(np.isfinite(best.values[0])))
        return Landfall(
            {**optimizer.state(), "space": None}, best.positions[found], best.values[found], best.violations[found],
            made, mean, spread, tally.state(), who,
        )

    def _evaluated(
        self, positions: Vector, group: int, tally: Tally, who: tuple[str, int, int] | None
    ) -> tuple[Vector, Vector | None, tuple[str, int, int] | None]:
        count = len(positions)
        try:
            outcome = self.evaluation(positions, np.full(count, group), ends_of(count, self.chunk))
        except Exception as error:
            if not self.evaluation.forgiving or not tally.any_good:
                raise
            tally.on_raised(count, error, "".join(traceback.format_exception(error)).rstrip())
            return np.full(count, np.nan), np.zeros(count) if self.evaluation.constraints else None, who
        tally.on_values(outcome.values, outcome.raised, outcome.first_error)
        return outcome.values, outcome.violations, outcome.who


class Islands:
    """The loop of islands."""

    def __init__(self, run: Run, evaluator: Evaluator, leg: Leg) -> None:
        self._run = run
        self._evaluator = evaluator
        self._leg = leg
        problem = run.problem
        made = [
            [problem.optimizer(group, island) for island in range(problem.islands)]
            for group in range(problem.group_count)
        ]
        self._batches = [sum(optimizer.batch for optimizer in islands) for islands in made]
        self._states = [[{**optimizer.state(), "space": None} for optimizer in islands] for islands in made]
        # What each island's neighbour found last; None before there is anything.
        self._migrants: list[list[tuple[Vector, Vector] | None]] = [[None] * problem.islands for _ in made]

    def go(self) -> str:
        """Runs until it is over; says why it is."""
        run = self._run
        while True:
            active = run.stops.active
            generations = self._generations(active)
            reason = run.over(generations * sum(self._batches[group] for group in active))
            run.save(self._state, last=reason is not None)
            if reason is not None:
                return reason
            self._sail(active, generations)

    def absorb(self) -> None:
        """A leg that was broken off left its island where it began."""

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self._states = state["states"]
        self._migrants = [
            [None if migrant is None else (migrant[0], migrant[1]) for migrant in group] for group in state["migrants"]
        ]

    def _state(self) -> dict[str, Any]:
        return {"states": self._states, "migrants": self._migrants}

    def _generations(self, active: list[int]) -> int:
        """A leg, or what is left until a limit, one generation at least."""
        stops, run = self._run.stops, self._run
        generations = run.problem.leg
        if stops.iterations is not None:
            generations = min(generations, stops.iterations - run.iterations)
        if stops.budget is not None and active:
            generations = min(generations, (stops.budget - run.total) // sum(self._batches[group] for group in active))
        return max(1, generations)

    def _sail(self, active: list[int], generations: int) -> None:
        run, evaluator = self._run, self._evaluator
        count = run.problem.islands
        voyages = [(group, island) for group in active for island in range(count)]
        landed = evaluator.call_all(
            self._leg,
            [
                (self._states[group][island], self._migrants[group][island], generations, group, run.tally.any_good)
                for group, island in voyages
            ],
        )
        groups = run.problem.group_count
        mean, spread = [float("nan")] * groups, [float("nan")] * groups
        for group in active:
            arrivals: list[Landfall] = [found for (its, _), found in zip(voyages, landed, strict=True) if its == group]
            for island, found in enumerate(arrivals):
                self._states[group][island] = found.state
                run.tally.add(found.tally)
                run.count(group, found.evaluations)
                ranks = run.told(found.values, found.violations)
                if len(ranks):
                    run.offer(group, found.positions, found.values, found.violations, ranks)
                    self._migrants[group][(island + 1) % count] = (found.positions, ranks) if count > 1 else None
            mean[group] = float(np.mean([found.mean for found in arrivals]))
            spread[group] = float(np.mean([found.spread for found in arrivals]))
        run.end_iteration(mean, spread, iterations=generations)
