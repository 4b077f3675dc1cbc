# SPDX-License-Identifier: BSD-3-Clause
"""A genetic algorithm on real vectors: tournaments, blended crossover, mutation whose step follows the population.

Why: it asks little of a function, and mixes whole coordinates, which suits parameters that act alone, whole numbers
and choices.

May not know: units, names, who evaluates. Guarantees: the best member is never lost; children may be asked for
while others are out, and then come from the population in force.
"""
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from covey.swarm.algorithm import Plan, check_keys, number_of
from covey.swarm.booked import Booked
from covey.swarm.draws import CHOICES, SAMPLES, STARTS, Draws, Indices, Vector

SIZE = 40
CROSSOVER = 0.9         # children that have two parents
SPREAD = 0.4            # how far outside two parents a child may lie, as a part of their distance
EXTENT = 1e-12


class Ga(Booked):
    """The algorithm `"ga"`; optinfo: `population`, `crossover` and `mutation`, the rates of both."""

    _ARRAYS = ("_x", "_values")
    _NUMBERS = ("_drawn", "_asked", "_generation", "_seeding")

    def __init__(self, plan: Plan, optinfo: Mapping[str, Any]) -> None:
        check_keys(optinfo, ("population", "crossover", "mutation"), "ga")
        self._domain, self._draws = plan.domain, Draws(plan.seed)
        dimension = plan.domain.dimension
        self._size = int(number_of(optinfo, "population", max(SIZE, plan.group_size or 0)))
        self._crossover = number_of(optinfo, "crossover", CROSSOVER)
        self._mutation = number_of(optinfo, "mutation", 1.0 / dimension)
        if self._size < 4:
            raise ValueError(f"optinfo['population'] is at least 4, and here {self._size}")
        for name, rate in (("crossover", self._crossover), ("mutation", self._mutation)):
            if not 0 <= rate <= 1:
                raise ValueError(f"optinfo[{name!r}] is a rate from 0 to 1, and here {rate!r}")
        super().__init__(dimension)
        self._seeding = True
        self._drawn = 0         # children ever: the place of a child's numbers
        self._asked = 0         # of this generation
        self._x: Vector = np.empty((0, dimension))      # sorted, the best first
        self._values: Vector = np.empty(0)

    @property
    def batch(self) -> int:
        return self._size

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        if self._flight.told >= self._size:
            self._learn()
        if n is None:
            n = self._size - self._asked if self._asked < self._size else self._size
        x = self._starts(n) if self._seeding else self._children(n)
        self._drawn += n
        self._asked += n
        return self._flight.add(x, np.full(n, self._generation)), x

    def inject(self, x: Vector, values: Vector) -> None:
        for point, value in zip(x, values, strict=True):
            self._flight.note(point, float(value))
        finite = np.isfinite(values)
        if len(self._values) and finite.any():
            self._merge(x[finite], values[finite])

    def _starts(self, n: int) -> Vector:
        start = self._draws.uniforms(STARTS, 0, self._drawn, (n, self._domain.dimension))
        return np.clip(start, self._domain.lower, self._domain.upper)

    def _children(self, n: int) -> Vector:
        size, dimension = self._x.shape
        u = self._draws.uniforms(CHOICES, 0, self._drawn, (n, 2 * dimension + 5))
        # Rows are ranked, so the lower of two random numbers has won the tournament.
        first = (np.minimum(u[:, 0], u[:, 1]) * size).astype(np.int64)
        second = (np.minimum(u[:, 2], u[:, 3]) * size).astype(np.int64)
        one, two = self._x[first], self._x[second]
        share = (1 + 2 * SPREAD) * u[:, 5 : 5 + dimension] - SPREAD
        child: Vector = np.where(u[:, 4:5] < self._crossover, one + share * (two - one), one)
        mutating = u[:, 5 + dimension :] < self._mutation
        # The step is the population's own extent, and now and then a hundred times finer or the whole interval.
        normal = self._draws.normals(SAMPLES, 0, self._drawn, (n, dimension + 1))
        extent = np.maximum(self._x.std(axis=0), EXTENT)
        step = extent * 10 ** np.clip(normal[:, dimension:], -2, 2)
        child = child + np.where(mutating, normal[:, :dimension] * np.maximum(step, 0.6 * self._domain.grain), 0.0)
        lower, upper = self._domain.lower, self._domain.upper
        child = np.where(child < lower, 2 * lower - child, np.where(child > upper, 2 * upper - child, child))
        np.clip(child, lower, upper, out=child)
        return child

    def _learn(self) -> None:
        taken = self._flight.take()
        self._generation += 1
        self._asked = 0
        self._seeding = False
        self._merge(taken.x, taken.values)
        if float(np.ptp(self._x, axis=0).max()) < EXTENT:
            # Alike to the last bit: the best stays in `best`, the rest begins anew.
            self._seeding = True
            self._x, self._values = self._x[:0], self._values[:0]

    def _merge(self, x: Vector, values: Vector) -> None:
        """The best of the old and the new, each position once."""
        everyone, known = np.concatenate([self._x, x]), np.concatenate([self._values, values])
        order = np.argsort(known, kind="stable")
        ranked = known[order]
        fresh = np.ones(len(order), dtype=bool)
        fresh[1:] = (ranked[1:] != ranked[:-1]) | (everyone[order[1:]] != everyone[order[:-1]]).any(axis=1)
        fresh[0] = True
        chosen = order[fresh][: self._size]
        if len(chosen) < 2 or not math.isfinite(ranked[0]):
            chosen = order[: self._size]
        self._x, self._values = everyone[chosen], known[chosen]
