# SPDX-License-Identifier: BSD-3-Clause
"""CMA-ES that begins again when a descent has ended: BIPOP, many small populations and ever larger ones in turn.

Why: one descent finds one valley. Large populations see past the small ones, small ones are cheap; spending
equally on both (Hansen 2009) needs no knowledge of the function.

May not know: units, names, who evaluates. Guarantees: points may be asked for while others are out: they come from
the distribution in force, which moves when enough values have come; a late value is used if its descent still goes
on.
"""
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from covey.swarm.algorithm import Plan, check_keys, number_of
from covey.swarm.booked import Booked
from covey.swarm.descent import Descent
from covey.swarm.draws import CHOICES, SAMPLES, STARTS, Draws, Indices, Vector

SIGMA = 0.2     # of the interval in which the search starts
CLOSE = 0.1     # of it, for a descent that begins where somebody suggested


class Cma(Booked):
    """The algorithm `"cma"`; optinfo: `sigma`, the first deviation as a part of the interval of the start."""

    _NUMBERS = ("_base", "_asked", "_drawn", "_generation", "_descents", "_doublings", "_small", "_spent_large",
                "_spent_small", "_spent", "_limit", "_large", "_close")

    def __init__(self, plan: Plan, optinfo: Mapping[str, Any]) -> None:
        check_keys(optinfo, ("sigma",), "cma")
        self._sigma = number_of(optinfo, "sigma", SIGMA)
        if self._sigma <= 0:
            raise ValueError(f"optinfo['sigma'] is a part of the interval of the start, above 0, not {self._sigma!r}")
        self._domain, self._draws = plan.domain, Draws(plan.seed)
        dimension = plan.domain.dimension
        self._base = max(4 + int(3 * math.log(dimension)), plan.group_size or 0)
        super().__init__(dimension)
        self._injected: list[tuple[Vector, float]] = []
        self._suggested: Vector | None = None
        self._asked = 0             # of the generation in force
        self._drawn = 0             # of all: the place of a sample's numbers
        self._descents = 0
        self._doublings = 0
        self._small = False
        self._spent_large = self._spent_small = self._spent = 0
        self._large = 0             # evaluations of the last large descent
        self._close = 0             # whether the descent began where somebody suggested
        self._limit = 0             # evaluations of the descent, 0 for none
        self._descent = self._begin(self._base, self._sigma)

    @property
    def batch(self) -> int:
        return self._descent.points

    @property
    def descents(self) -> int:
        """How often it has begun, the first time included."""
        return self._descents

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        # Half of what is out: points older than about one generation mislead the covariance.
        if self._flight.told >= max(self._descent.points, self._flight.out // 2):
            self._learn()
        if n is None:
            n = self._descent.points - self._asked
            if n <= 0:
                n = self._descent.points
        normals = self._draws.normals(SAMPLES, 0, self._drawn, (n, self._domain.dimension))
        self._drawn += n
        self._asked += n
        x = self._descent.sample(normals)
        # The tag tells the generation in which it was drawn, and by its descent whether it still means something.
        tags = np.full(n, self._generation)
        return self._flight.add(x, tags), x

    def inject(self, x: Vector, values: Vector) -> None:
        for point, value in zip(x, values, strict=True):
            self._flight.note(point, float(value))
            if math.isfinite(value):
                self._injected.append((np.array(point), float(value)))

    def suggest(self, x: Vector) -> None:
        """Where the next descent shall begin, closely around."""
        self._suggested = np.array(x)

    def _learn(self) -> None:
        taken = self._flight.take()
        x, values, foreign = taken.x, taken.values, taken.tags != self._generation
        if self._injected:
            x = np.concatenate([x, np.array([point for point, _ in self._injected])])
            values = np.concatenate([values, [value for _, value in self._injected]])
            foreign = np.concatenate([foreign, np.ones(len(self._injected), dtype=bool)])
            self._injected = []
        self._spent += len(taken.values)
        self._generation += 1
        self._asked = 0
        self._descent.learn(x, values, foreign if foreign.any() else None)
        if self._descent.ended or (self._limit and self._spent >= self._limit):
            self._restart()

    def _restart(self) -> None:
        """Where somebody suggested; else large or small, whichever has spent less."""
        if self._small:
            self._spent_small += self._spent
        else:
            self._spent_large += self._spent
            self._large = self._spent
        if self._suggested is not None and not self._close:
            # Counted as a small one: it is about as cheap. Never two in a row: where others find a little better every
            # time, nothing else would be tried.
            self._small, self._limit, self._close = True, 0, 1
            self._descent = self._begin(self._base, CLOSE * self._sigma)
            self._descent.mean[:] = self._suggested
            self._suggested = None
            return
        self._close = 0
        self._small = self._spent_small < self._spent_large
        if self._small:
            u, v = self._draws.uniforms(CHOICES, self._descents, 0, (1, 2))[0].tolist()
            ratio = 0.5 * 2.0**self._doublings
            points = max(self._base, int(self._base * ratio ** (u * u)))
            self._limit = max(self._large // 2, 10 * points)
            self._descent = self._begin(points, self._sigma * 10 ** (-2 * v))
        else:
            self._doublings += 1
            self._limit = 0
            self._descent = self._begin(self._base * 2**self._doublings, self._sigma)

    def _begin(self, points: int, sigma: float) -> Descent:
        start = self._draws.uniforms(STARTS, self._descents, 0, (1, self._domain.dimension))[0]
        self._descents += 1
        self._spent = 0
        return Descent(self._domain, start, sigma, points)

    def state(self) -> dict[str, Any]:
        dimension = self._domain.dimension
        return super().state() | {
            "descent": self._descent.state(),
            "injected_x": np.array([point for point, _ in self._injected]).reshape(-1, dimension),
            "suggested": None if self._suggested is None else self._suggested.copy(),
            "injected_values": np.array([value for _, value in self._injected]),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._descent = Descent.from_state(self._domain, state["descent"])
        self._suggested = None if state["suggested"] is None else np.array(state["suggested"])
        pairs = zip(state["injected_x"], state["injected_values"].tolist(), strict=True)
        self._injected = [(np.array(point), value) for point, value in pairs]
