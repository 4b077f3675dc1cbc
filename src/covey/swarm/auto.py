# SPDX-License-Identifier: BSD-3-Clause
"""A portfolio: CMA-ES, a swarm and differential evolution, and evaluations go to who improves the best.

Why: no update rule wins everywhere. CMA-ES is far ahead on most problems and at small budgets, so it has the first
evaluations to itself; on problems of many valleys without a common slope the others find what it does not.

May not know: units, names, who evaluates, what a member does. Guarantees: whose turn it is follows from counts and
values alone, not from chance or arrival; after the beginning the others together get a tenth at least; members see
each other's bests only where one begins anew.
"""
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from covey.swarm.algorithm import Algorithm, Plan, check_keys, number_of
from covey.swarm.booked import Booked
from covey.swarm.cma import Cma
from covey.swarm.de import De
from covey.swarm.draws import Draws, Indices, Vector
from covey.swarm.pso import Pso

# Evaluations for each dimension that CMA-ES has to itself, and from when on differential evolution takes part.
ALONE = 500
PATIENT = 1000
LEAST_SHARE = 0.05
# An improvement is worth e-fold less after this part of all evaluations so far, but never less than IDLE; swarms, whose
# successes the two others repeat, earn nothing by waiting.
MEMORY = 0.15
IDLE = np.array([0.03, 0.0, 0.03])
# Of what follows the beginning, differential evolution can count on about this part, and plans with it.
PLANNED = 0.4
CMA, PSO, DE = 0, 1, 2


class Auto(Booked):
    """The algorithm `"auto"`; optinfo: `alone`, the evaluations for each dimension that CMA-ES has to itself."""

    _ARRAYS = ("_owed", "_improved")
    _NUMBERS = ("_asked", "_lowest", "_polished")

    def __init__(self, plan: Plan, optinfo: Mapping[str, Any]) -> None:
        check_keys(optinfo, ("alone",), "auto")
        alone = int(number_of(optinfo, "alone", ALONE))
        if alone < 0:
            raise ValueError(f"optinfo['alone'] is a number of evaluations, at least 0, and here {alone}")
        draws = Draws(plan.seed)
        dimension = plan.domain.dimension
        later = None if plan.budget is None else max(1, int(PLANNED * (plan.budget - alone * dimension)))
        self._cma = Cma(replace(plan, seed=draws.seed_of(CMA)), {})
        self._members: list[Algorithm] = [
            self._cma,
            Pso(replace(plan, seed=draws.seed_of(PSO)), {}),
            De(replace(plan, seed=draws.seed_of(DE), budget=later), {}),
        ]
        count = len(self._members)
        # From how many evaluations on each takes part.
        patient = plan.budget is not None and plan.budget > PATIENT * dimension
        self._joins = np.array([0, alone, alone if patient else max(alone, PATIENT)]) * dimension
        super().__init__(dimension)
        self._owed: Vector = np.zeros(count)        # points of its share that each did not get yet
        self._improved: Indices = np.zeros(count, dtype=np.int64)   # evaluations when each last improved the best
        self._asked = 0
        self._lowest = math.inf     # the best value of what was taken
        self._polished = math.inf   # the best value that was handed to CMA-ES

    @property
    def batch(self) -> int:
        return self._members[self._choose()].batch

    @property
    def generation(self) -> int:
        return sum(member.generation for member in self._members)

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        if self._flight.told:
            self._judge()
        chosen = self._choose()
        inner, x = self._members[chosen].ask(n)
        self._owed += self._share() * len(x)
        self._owed[chosen] -= len(x)
        self._asked += len(x)
        # The tag holds both: whose point it is, and under which id.
        # The member's book has these points, too, and gives them away.
        return self._flight.add(x.copy(), inner * len(self._members) + chosen), x

    def tell(self, ids: Indices, values: Vector) -> None:
        super().tell(ids, values)
        inner, whose = np.divmod(self._flight.tags_of(ids), len(self._members))
        for number in range(len(self._members)):
            mine = whose == number
            if mine.all():
                self._members[number].tell(inner, values)
                break
            if mine.any():
                self._members[number].tell(inner[mine], values[mine])

    def inject(self, x: Vector, values: Vector) -> None:
        for point, value in zip(x, values, strict=True):
            self._flight.note(point, float(value))
        for member in self._members:
            member.inject(x, values)

    def _judge(self) -> None:
        """Notes who improved the best, in the order in which points were asked for."""
        taken = self._flight.take()
        if taken.values.min() >= self._lowest:
            return
        below = np.minimum.accumulate(np.minimum(taken.values, self._lowest))
        better = taken.values < np.concatenate([[self._lowest], below[:-1]])
        self._lowest = float(below[-1])
        whose = taken.tags[better] % len(self._members)
        self._improved[whose] = self._flight.evaluations
        last = int(np.flatnonzero(better)[-1])
        if taken.tags[last] % len(self._members) != CMA and self._lowest < self._polished:
            # Where another found the best valley, the next descent begins.
            self._polished = self._lowest
            self._cma.suggest(taken.x[last])

    def _choose(self) -> int:
        """Whose turn it is: whom most is owed of what improvements earned."""
        return int((self._owed + self._share()).argmax())

    def _share(self) -> Vector:
        """The part of the evaluations that each has earned; they sum to 1."""
        present = self._joins <= self._asked
        spent = max(1, self._flight.evaluations)
        worth = np.maximum(IDLE, np.exp((self._improved - spent) / (MEMORY * spent))) * present
        share: Vector = (LEAST_SHARE + (1 - LEAST_SHARE * present.sum()) * worth / worth.sum()) * present
        return share

    def state(self) -> dict[str, Any]:
        return super().state() | {
            "members": {str(number): member.state() for number, member in enumerate(self._members)}
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        for number, member in enumerate(self._members):
            member.restore(state["members"][str(number)])
