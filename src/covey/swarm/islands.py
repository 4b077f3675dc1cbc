# SPDX-License-Identifier: BSD-3-Clause
"""The loop whose swarms live in slots: islands that swim some generations for themselves, then exchange their bests.

    leg = (state of an island, a migrant) ─► slot ─► (state, its best, what happened)

Why: where an evaluation takes microseconds, no particle is worth a message, but a few thousand of them are; and on a
GPU the swarm should be where its fitness is.

May not know: slots. Guarantees: a state travels with its task and comes back with the outcome, so a slot that dies
costs one leg, and what kills every slot that it comes to costs one island, for which another begins; migrants go around
a ring in a fixed order at the end of a leg, so the seed alone decides the result. The first legs are short, and a leg
ends before the time is over: so there is something to give when it is, and what does nothing but raise shows after one
generation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.codec.outcome import open_error, seal_error
from covey.errors import CoveyError, PoisonTask
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
    # Each new best of this leg, as one row each, and in which of its generations it was found.
    found_in: list[int]
    positions: Vector
    values: Vector
    violations: Vector
    # Of each generation.
    evaluations: list[int]
    mean: list[float]
    spread: list[float]
    tally: dict[str, Any]
    # What raised first, sealed with its traceback, if nothing else came of this leg.
    error: bytes | None
    who: tuple[str, int, int] | None


class Leg:
    """Some generations of an island, in a slot."""

    __slots__ = ("chunk", "clock", "evaluation", "minimize", "space")

    def __init__(
        self, evaluation: Evaluation, space: Space, minimize: bool, chunk: int, clock: Callable[[], float]
    ) -> None:
        self.evaluation = evaluation
        self.space = space
        self.minimize = minimize
        self.chunk = chunk
        self.clock = clock

    def __call__(
        self, state: dict[str, Any], migrant: tuple[Vector, Vector] | None, generations: int, group: int,
        seconds: float | None
    ) -> Landfall:
        """The island after so many generations; after fewer, if one more would last beyond `seconds`."""
        optimizer = Optimizer.from_state({**state, "space": self.space.state()})
        if migrant is not None:
            optimizer.inject(*migrant)
        best = Best(1, self.space.dimension, self.minimize)
        # The caller gives up, not a leg: it sees the other islands, too.
        tally = Tally("", None)
        landed = Landfall({}, [], *self._nothing(), [], [], [], {}, None, None)
        finds: list[tuple[Vector, float, float]] = []
        first: Exception | None = None
        began = before = self.clock()
        for number in range(generations):
            ids, positions = optimizer.ask()
            count = len(positions)
            try:
                outcome = self.evaluation(positions, np.full(count, group), ends_of(count, self.chunk))
                values, violations, landed.who = outcome.values, outcome.violations, outcome.who
                tally.on_values(values, outcome.raised, outcome.fault, outcome.company)
            except CoveyError:
                raise
            except Exception as error:
                if not self.evaluation.forgiving:
                    raise
                first = first or error
                tally.on_raised(count, error)
                values = np.full(count, np.nan)
                violations = np.zeros(count) if self.evaluation.constraints else None
            ranks = told(values, violations, self.minimize)
            if best.offer(0, positions, values, violations, ranks):
                landed.found_in.append(number)
                finds.append((best.positions[0].copy(), float(best.values[0]), float(best.violations[0])))
            optimizer.tell(ids, ranks)
            mean, spread = mean_and_spread(values, violations)
            landed.evaluations.append(count)
            landed.mean.append(mean)
            landed.spread.append(spread)
            now = self.clock()
            if seconds is not None and now - began + (now - before) > seconds:
                break
            before = now
        if finds:
            landed.positions = np.array([position for position, _, _ in finds])
            landed.values = np.array([value for _, value, _ in finds])
            landed.violations = np.array([violation for _, _, violation in finds])
        landed.state = {**optimizer.state(), "space": None}
        landed.tally = tally.state()
        if first is not None and not tally.any_good:
            landed.error = seal_error(first)
        return landed

    def _nothing(self) -> tuple[Vector, Vector, Vector]:
        return np.empty((0, self.space.dimension)), np.empty(0), np.empty(0)


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
        # How often each island was lost with its slots, and has begun anew.
        self._losses = [[0] * problem.islands for _ in made]
        # The group of each leg under way.
        self._sailing: list[int] = []

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
        """Legs were broken off: their islands are where they began, but what the others found counts for the best."""
        for group, landed in zip(self._sailing, self._evaluator.landed, strict=False):
            if landed is not None:
                self._run.tally.add(landed.tally)
                for number in range(len(landed.evaluations)):
                    self._claim(group, landed, number)

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self._states, self._losses = state["states"], state["losses"]
        self._migrants = [
            [None if migrant is None else (migrant[0], migrant[1]) for migrant in group] for group in state["migrants"]
        ]

    def _state(self) -> dict[str, Any]:
        return {"states": self._states, "migrants": self._migrants, "losses": self._losses}

    def _generations(self, active: list[int]) -> int:
        """A leg, or what is left until a limit, one generation at least. A leg at most doubles what was done."""
        stops, run = self._run.stops, self._run
        generations = min(run.problem.leg, max(1, run.iterations))
        if stops.iterations is not None:
            generations = min(generations, stops.iterations - run.iterations)
        if stops.budget is not None and active:
            generations = min(generations, (stops.budget - run.total) // sum(self._batches[group] for group in active))
        return max(1, generations)

    def _sail(self, active: list[int], generations: int) -> None:
        run, evaluator = self._run, self._evaluator
        count = run.problem.islands
        voyages = [(group, island) for group in active for island in range(count)]
        self._sailing = [group for group, _ in voyages]
        seconds = evaluator.seconds_for(len(voyages))
        left = run.elapsed
        landed: list[Landfall | PoisonTask] = evaluator.call_all(
            self._leg,
            [
                (self._states[group][island], self._migrants[group][island], generations, group, seconds)
                for group, island in voyages
            ],
        )
        evaluator.landed = []
        sunk = 0
        arrivals: dict[int, list[Landfall]] = {group: [] for group in active}
        for (group, island), found in zip(voyages, landed, strict=True):
            if isinstance(found, PoisonTask):
                sunk += self._lose(group, island, generations, found)
                continue
            arrivals[group].append(found)
            self._states[group][island] = found.state
            run.tally.add(found.tally)
            if len(found.values) and count > 1:
                # The last is the best of the leg.
                ranks = run.told(found.values[-1:], found.violations[-1:])
                self._migrants[group][(island + 1) % count] = found.positions[-1:], ranks
        self._require_good(landed, sunk)
        made = max((len(its.evaluations) for islands in arrivals.values() for its in islands), default=generations)
        each = (run.elapsed - left) / made
        for number in range(made):
            mean, spread = [float("nan")] * len(self._states), [float("nan")] * len(self._states)
            for group, islands in arrivals.items():
                for its in islands:
                    self._claim(group, its, number)
                mean[group] = _middle([its.mean[number] for its in islands if number < len(its.mean)])
                spread[group] = _middle([its.spread[number] for its in islands if number < len(its.spread)])
            # Nobody looked at the clock between generations: their times are spread evenly.
            run.end_iteration(mean, spread, time=left + each * (number + 1), told=number == made - 1)

    def _lose(self, group: int, island: int, generations: int, error: PoisonTask) -> int:
        """An island went down with its slots; gives of how many evaluations that is the end.

        The same again would end in the same way, so another island begins in its place. Nobody knows how far the leg
        came: all of it counts.
        """
        problem = self._run.problem
        self._losses[group][island] += 1
        anew = problem.optimizer(group, island, self._losses[group][island])
        self._states[group][island] = {**anew.state(), "space": None}
        lost = generations * anew.batch
        self._run.count(group, lost)
        self._run.tally.on_lost(lost, error)
        return lost

    def _claim(self, group: int, landed: Landfall, number: int) -> None:
        """What a generation of a leg found goes into the books."""
        run = self._run
        if number < len(landed.evaluations):
            run.count(group, landed.evaluations[number])
        if number in landed.found_in:
            row = landed.found_in.index(number)
            at = slice(row, row + 1)
            ranks = run.told(landed.values[at], landed.violations[at])
            run.offer(group, landed.positions[at], landed.values[at], landed.violations[at], ranks)

    def _require_good(self, landed: list[Landfall | PoisonTask], sunk: int) -> None:
        """Raises what the fitness raised, or what its slots died of, if that is all there was on every island."""
        tally = self._run.tally
        if tally.any_good:
            return
        arrived = [found for found in landed if isinstance(found, Landfall)]
        errors = [open_error(found.error) for found in arrived if found.error is not None]
        fatal = [found for found in landed if isinstance(found, PoisonTask)]
        total = sunk + sum(sum(found.evaluations) for found in arrived)
        if tally.raised == total:
            tally.give_up(total, (errors or fatal)[-1])
        raise tally.nothing(total)


def _middle(values: list[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")
