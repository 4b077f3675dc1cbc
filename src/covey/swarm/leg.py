# SPDX-License-Identifier: BSD-3-Clause
"""Some generations of an island, as a slot swims them.

    leg = (state of an island, a migrant) ─► slot ─► (state, its best, what happened)

Why: where an evaluation takes microseconds, no particle is worth a message, but a few thousand of them are.

May not know: other islands, clients, futures. Guarantees: the state comes with the task and goes back with the
outcome, so nothing is lost with a slot but the leg; it is bytes, which the caller passes on and need not open; a leg
that was told how long it may take ends before, after one generation at the least; a leg in which everything raised says
how.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.codec.outcome import seal_error
from covey.errors import CoveyError
from covey.swarm.best import Best
from covey.swarm.chunks import ends_of
from covey.swarm.evaluation import Evaluation
from covey.swarm.faults import Tally
from covey.swarm.feasible import told
from covey.swarm.history import mean_and_spread
from covey.swarm.optimizer import Optimizer
from covey.swarm.space import Space

__all__ = ["Landfall", "Leg", "opened", "packed"]

Vector = NDArray[np.float64]


@dataclass(slots=True)
class Landfall:
    """What comes back from a leg."""

    state: bytes
    # Each new best of this leg, as one row each, and in which of its generations it was found.
    found_in: list[int]
    positions: Vector
    values: list[float]
    violations: list[float]
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
        self, state: bytes, migrant: tuple[Vector, Vector] | None, generations: int, group: int,
        seconds: float | None
    ) -> Landfall:
        """The island after so many generations; after fewer, if one more would last beyond `seconds`."""
        optimizer = Optimizer.from_state(opened(state), self.space)
        if migrant is not None:
            optimizer.inject(*migrant)
        best = Best(1, self.space.dimension, self.minimize)
        # The caller gives up, not a leg: it sees the other islands, too.
        tally = Tally("", None)
        landed = Landfall(b"", [], np.empty((0, self.space.dimension)), [], [], [], [], [], {}, None, None)
        positions_found: list[Vector] = []
        first: Exception | None = None
        began = before = self.clock()
        groups, ends = np.empty(0, dtype=np.int64), [0]
        for number in range(generations):
            ids, positions = optimizer.ask()
            count = len(positions)
            if count != len(groups):
                # Most generations are as the last one was.
                groups, ends = np.full(count, group), ends_of(count, self.chunk)
            clean = False
            try:
                outcome = self.evaluation(positions, groups, ends)
                values, violations, landed.who = outcome.values, outcome.violations, outcome.who
                clean = tally.on_values(values, outcome.raised, outcome.fault, outcome.company) and violations is None
            except CoveyError:
                raise
            except Exception as error:
                if not self.evaluation.forgiving:
                    raise
                first = first or error
                tally.on_raised(count, error)
                values = np.full(count, np.nan)
                violations = np.zeros(count) if self.evaluation.constraints else None
            ranks = values if clean else told(values, violations, self.minimize)
            if best.offer(0, positions, values, violations, ranks):
                landed.found_in.append(number)
                positions_found.append(best.positions[0].copy())
                landed.values.append(best.values.item(0))
                landed.violations.append(best.violations.item(0))
            optimizer.tell(ids, ranks)
            mean, spread = mean_and_spread(values, violations, clean=clean)
            landed.evaluations.append(count)
            landed.mean.append(mean)
            landed.spread.append(spread)
            now = self.clock()
            if seconds is not None and now - began + (now - before) > seconds:
                break
            before = now
        if positions_found:
            landed.positions = np.array(positions_found)
        landed.state = packed(optimizer.state(space=False))
        landed.tally = tally.state()
        if first is not None and not tally.any_good:
            landed.error = seal_error(first)
        return landed


def packed(state: Mapping[str, Any]) -> bytes:
    """An island's state, which is without the space that all of them share."""
    return pickle.dumps(state, protocol=5)


def opened(state: bytes) -> Mapping[str, Any]:
    """What was packed: numbers, strings and arrays."""
    found: Mapping[str, Any] = pickle.loads(state)
    return found
