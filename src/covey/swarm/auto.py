# SPDX-License-Identifier: BSD-3-Clause
"""A portfolio: a descent, CMA-ES, a swarm and differential evolution, and evaluations go to who improves the best.

Why: no update rule wins everywhere. What is smooth is a descent's, ten times sooner than anybody's; so it begins.
Where it is not, CMA-ES is far ahead at small budgets, and is next. On problems of many valleys without a common
slope the others find what these two do not.

May not know: units, names, who evaluates, what a member does. Guarantees: whose turn it is follows from counts and
values alone, not from chance or arrival; after the beginning each gets a twentieth at least; members see each other's
bests only where one begins anew.
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
from covey.swarm.slope import Slope
from covey.swarm.turns import Turns

# Evaluations for each dimension that the first descent has to itself; the rest of it shares with CMA-ES, half and half.
LEAD = 100
# Until when swarms wait, and differential evolution.
ALONE = 500
PATIENT = 1000
# What the improvements of each are worth at least; swarms, whose successes the others repeat, earn nothing by waiting.
IDLE = (0.03, 0.0, 0.03, 0.03)
# Of what follows the beginning, differential evolution can count on about this part, and plans with it.
PLANNED = 0.4
CMA, PSO, DE, SLOPE = 0, 1, 2, 3


class Auto(Booked):
    """The algorithm `"auto"`; optinfo: `alone`, the evaluations for each dimension before a swarm takes part."""

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
        self._slope: Slope | None = None
        if not plan.domain.grain.any():     # whole numbers have no slope
            self._slope = Slope(replace(plan, seed=draws.seed_of(SLOPE)))
            self._members.append(self._slope)
        count = len(self._members)
        self._lead = LEAD * dimension
        # From how many evaluations on each takes part.
        patient = plan.budget is not None and plan.budget > PATIENT * dimension
        late = alone if patient else max(alone, PATIENT)
        self._joins = [rounds * dimension for rounds in (0, alone, late, 0)[:count]]
        self._turns = Turns(IDLE[:count])
        # A tag holds whose a point is, and under which id there. This is what was asked last, if it was one member's.
        self._whole: tuple[Indices, int, Indices] | None = None
        super().__init__(dimension)
        self._asked = 0
        self._lowest = math.inf     # the best value of what was taken
        self._polished = math.inf   # the best value that was handed to CMA-ES

    @property
    def batch(self) -> int:
        return self._members[self._turns.next(self._shares())].batch

    @property
    def generation(self) -> int:
        return sum(member.generation for member in self._members)

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        if self._flight.told:
            self._judge()
        chosen, inner, x = self._ask_one(n)
        tags = inner * len(self._members) + chosen
        if n is None or len(x) == n:
            # The member's book has these points, too, and gives them away.
            ids = self._flight.add(x.copy(), tags)
            self._whole = (ids, chosen, inner)
            return ids, x
        while len(x) < n:
            # The descent had no more.
            chosen, inner, y = self._ask_one(n - len(x))
            tags, x = np.concatenate([tags, inner * len(self._members) + chosen]), np.concatenate([x, y])
        return self._flight.add(x.copy(), tags), x

    def _ask_one(self, n: int | None) -> tuple[int, Indices, Vector]:
        """Points of one member, `n` of them if it has so many: whose they are, under which ids there, and where."""
        shares = self._shares()
        chosen = self._turns.next(shares)
        inner, x = self._members[chosen].ask(n)
        self._turns.gave(chosen, len(x), shares)
        self._asked += len(x)
        return chosen, inner, x

    def tell(self, ids: Indices, values: Vector) -> None:
        super().tell(ids, values)
        if self._whole is not None and ids is self._whole[0]:
            # As it was asked, so that a book that believes its own ids need not look at each.
            _, member, inner = self._whole
            self._members[member].tell(inner, values)
            return
        inner, whose = np.divmod(self._flight.tags_of(ids), len(self._members))
        for member in sorted(set(whose.tolist())):
            mine = whose == member
            self._members[member].tell(inner[mine], values[mine])

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
        for member in set(whose.tolist()):
            self._turns.improved(member, self._flight.evaluations)
        last = int(np.flatnonzero(better)[-1])
        if taken.tags[last] % len(self._members) != CMA and self._lowest < self._polished:
            # Where another found the best valley, the next descent begins.
            self._polished = self._lowest
            self._cma.suggest(taken.x[last])

    def _shares(self) -> list[float]:
        """The part of the evaluations that each has now. Who has no points to give has none."""
        present = [joins <= self._asked for joins in self._joins]
        if self._slope is not None:
            present[SLOPE] = self._slope.batch > 0
            if self._slope.descents == 1:
                part = 0.0 if not present[SLOPE] else 1.0 if self._slope.evaluations < self._lead else 0.5
                return [1.0 - part, 0.0, 0.0, part]
        return self._turns.earned(present, self._flight.evaluations)

    def state(self) -> dict[str, Any]:
        return super().state() | self._turns.state() | {
            "members": {str(number): member.state() for number, member in enumerate(self._members)}
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._turns.restore(state)
        for number, member in enumerate(self._members):
            member.restore(state["members"][str(number)])
