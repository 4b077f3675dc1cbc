# SPDX-License-Identifier: BSD-3-Clause
"""A particle swarm: a dozen that follow their best, learn which directions belong together, and begin anew when stuck.

Why: at the budgets that people have, a dozen particles beat every larger swarm. So a round of a hundred is not a
swarm of a hundred: each particle tries its next step eight times, and goes where it was best (decision 0016).
`optinfo` with `omega`, `cl` or `cg` gives Playdoh's own rule instead: the whole group is one swarm, positions are
clipped, nothing is learned and nothing begins anew.

May not know: units, names, who evaluates. Guarantees: a try's numbers depend on (seed, particle, its number among the
particle's tries) alone; any number of tries may be out at once, and their values come in any order.
"""
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from covey.swarm.algorithm import Plan, check_keys, number_of
from covey.swarm.booked import Booked
from covey.swarm.draws import STARTS, Draws, Indices, Vector
from covey.swarm.update import attempt, clarify, learn

SIZE = 12
INERTIA, TOWARD_OWN, TOWARD_BEST = 0.6, 1.0, 2.2
# How often the leader is the middle of the best few instead of the best.
BLEND = 0.5
# Playdoh's defaults, for the keys that are not given where one is.
OMEGA, CL, CG = 0.9, 1.2, 1.8
PLAYDOH_SIZE = 100
# The swarm is stuck when its best has not improved for so many moves of each particle, or when it has no extent left.
PATIENCE = 20
EXTENT = 1e-9
# Outside of where its starts were drawn, a swarm may not shrink below this part of how far out its best is: it has seen
# little of what is around it there, and sees more from a new beginning in a wider box.
NARROW = 0.1
# Such a box reaches so many times as far out as the best does: an optimum far away takes few beginnings.
REACH = 4.0
# Above this dimension the covariance costs more than the budgets for which swarms are good can repay.
LEARNED = 40
RATE = 0.2      # a step's share in the covariance, divided by the dimension
# Coordinates whose successful steps are correlated less than this count as independent: separable problems stay so.
CORRELATED = 0.3
# So many steps learned, for each dimension, before the basis is computed again.
DUE = 2
NOBODY = 0xFFFF     # in a tag, the particle of a start; update.pyx has the same number


class Pso(Booked):
    """The algorithm `"pso"`; optinfo: `omega`, `cl`, `cg` (Playdoh's rule)."""

    _ARRAYS = ("_x", "_v", "_own", "_own_value", "_value", "_step", "_tries", "_best", "_middle", "_covariance",
               "_basis", "_counts", "_starts", "_start_values", "_low", "_high")
    _NUMBERS = ("_life", "_begun", "_started", "_turn", "_turned", "_best_value", "_extent", "_abreast", "_past")

    def __init__(self, plan: Plan, optinfo: Mapping[str, Any]) -> None:
        check_keys(optinfo, ("omega", "cl", "cg"), "pso")
        self._domain, self._draws = plan.domain, Draws(plan.seed)
        dimension = plan.domain.dimension
        self._playdoh = bool(optinfo)
        if self._playdoh:
            self._rule = (
                number_of(optinfo, "omega", OMEGA), number_of(optinfo, "cl", CL), number_of(optinfo, "cg", CG),
            )
            if min(self._rule) < 0:
                raise ValueError(f"optinfo: omega, cl and cg are at least 0, and here {self._rule}")
            self._size = plan.group_size or PLAYDOH_SIZE
        else:
            self._rule = (INERTIA, TOWARD_OWN, TOWARD_BEST)
            self._size = SIZE
        if self._size >= NOBODY:
            raise ValueError(f"group_size is less than {NOBODY} with Playdoh's rule, and here {self._size}")
        self._rate = RATE / dimension if not self._playdoh and 1 < dimension <= LEARNED else 0.0
        side = dimension if self._rate else 1
        # A row is a position and the velocity that led there.
        super().__init__(2 * dimension)
        self._x, self._v, self._own = (np.zeros((self._size, dimension)) for _ in range(3))
        self._own_value: Vector = np.zeros(self._size)
        self._value: Vector = np.zeros(self._size)      # where a particle is
        self._step: Indices = np.zeros(self._size, dtype=np.int64)      # how often it has moved
        self._tries: Indices = np.zeros(self._size, dtype=np.int64)     # only grows: the place of its numbers
        self._best, self._middle = np.zeros(dimension), np.zeros(dimension)
        self._covariance, self._basis = np.zeros((side, side)), np.zeros((side, side))
        self._turned = 0            # whether the basis is not just the axes
        self._best_value, self._extent = math.inf, 1.0
        self._counts: Indices = np.zeros(2, dtype=np.int64)     # values since the best improved; steps to learn from
        self._life = 0
        # Where the starts of this life are drawn.
        self._low, self._high = np.zeros(dimension), np.ones(dimension)
        self._begun = 0             # whether the particles are chosen from the starts
        self._starts: Vector = np.zeros((0, 2 * dimension))     # of this life, told
        self._start_values: Vector = np.zeros(0)
        self._started = 0           # starts ever: the place of their numbers
        self._turn = 0              # whose turn it is to try
        self._abreast = 0           # tries that are out together
        self._past = 0              # moves in former lives

    @property
    def batch(self) -> int:
        return self._size

    @property
    def generation(self) -> int:
        return self._past + (int(self._step.min()) if self._begun else 0)

    @property
    def best(self) -> tuple[Vector | None, float]:
        found = self._flight.best_x
        return None if found is None else found[: self._domain.dimension], self._flight.best_value

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        if self._flight.told:
            self._learn()
        dimension = self._domain.dimension
        if n is None:
            n = self._size
        rows, tags = np.empty((n, 2 * dimension)), np.empty(n, dtype=np.int64)
        if self._begun:
            inertia, toward_own, toward_best = self._rule
            attempt(
                rows, tags, self._turn, self._x, self._v, self._own, self._step, self._tries, self._best, self._middle,
                self._basis, self._domain.lower, self._domain.upper, self._draws.seed, self._life, inertia, toward_own,
                toward_best, 0.0 if self._playdoh else BLEND, bool(self._turned), not self._playdoh,
            )
            self._turn = (self._turn + n) % self._size
        else:
            u = self._draws.uniforms(STARTS, 0, self._started, (n, 2 * dimension))
            width = self._high - self._low
            rows[:, :dimension] = self._low + width * u[:, :dimension]
            rows[:, dimension:] = 0.0 if self._playdoh else 0.5 * width * (u[:, dimension:] - u[:, :dimension])
            tags[:] = self._life << 48 | NOBODY
            self._started += n
        ids = self._flight.add(rows, tags)
        self._abreast = self._flight.out
        return ids, rows[:, :dimension]

    def inject(self, x: Vector, values: Vector) -> None:
        for point, value in zip(x, values, strict=True):
            row = np.concatenate([point, np.zeros_like(point)])
            self._flight.note(row, float(value))
            if not math.isfinite(value):
                continue
            worst = int(self._own_value.argmax())
            if not self._begun:
                self._starts = np.concatenate([self._starts, row[None]])
                self._start_values = np.append(self._start_values, value)
            elif value < self._own_value[worst]:
                self._own[worst], self._own_value[worst] = point, value

    def _learn(self) -> None:
        """Uses what was told, in the order in which it was asked."""
        taken = self._flight.take()
        if not self._begun:
            mine = taken.tags == self._life << 48 | NOBODY
            self._starts = np.concatenate([self._starts, taken.x[mine]])
            self._start_values = np.concatenate([self._start_values, taken.values[mine]])
            if len(self._start_values) >= self._size:
                self._begin()
            return
        self._best_value, self._extent = learn(
            taken.x, taken.values, taken.tags, self._life, self._x, self._v, self._own, self._own_value, self._value,
            self._step, self._best, self._middle, self._covariance, self._counts, self._best_value, self._extent,
            self._rate,
        )
        if self._playdoh:
            return
        since, learned = self._counts.tolist()
        # An infinite best has no extent to speak of: nothing was found yet.
        if since > PATIENCE * max(self._size, self._abreast) or (
            self._extent < max(EXTENT, NARROW * self._beyond()) and self._best_value < math.inf
        ):
            self._past += int(self._step.min())
            self._life += 1
            self._begun = 0
            self._stretch()
        elif self._rate and learned >= DUE * self._domain.dimension:
            self._compute_basis()

    def _beyond(self) -> float:
        """How far the best found is outside of where the starts of this life were drawn."""
        found = self.best[0]
        return 0.0 if found is None else max(0.0, float(np.maximum(self._low - found, found - self._high).max()))

    def _stretch(self) -> None:
        """The next starts: from where the search starts to well beyond the best found, within the bounds."""
        found = self.best[0]
        if found is not None:
            self._low = np.where(found < 0.0, np.maximum(REACH * found, self._domain.lower), 0.0)
            self._high = np.where(found > 1.0, np.minimum(1.0 + REACH * (found - 1.0), self._domain.upper), 1.0)

    def _begin(self) -> None:
        """The best starts become the particles."""
        dimension = self._domain.dimension
        chosen = np.sort(np.argsort(self._start_values, kind="stable")[: self._size])
        self._x[:], self._v[:] = self._starts[chosen, :dimension], self._starts[chosen, dimension:]
        self._own[:] = self._x
        self._own_value[:] = self._value[:] = self._start_values[chosen]
        self._starts, self._start_values = self._starts[:0], self._start_values[:0]
        self._step[:] = 0
        self._counts[:] = 0
        self._covariance[:] = np.eye(len(self._covariance))
        self._turned = 0
        self._begun = 1
        none = np.empty(0)
        # Nothing to take in, but a leader to find.
        self._best[:] = self._x[0]
        self._best_value, self._extent = learn(
            np.empty((0, 2 * dimension)), none, none.astype(np.int64), self._life, self._x, self._v, self._own,
            self._own_value, self._value, self._step, self._best, self._middle, self._covariance, self._counts,
            math.inf, 1.0, 0.0,
        )

    def _compute_basis(self) -> None:
        """The directions of the correlations that are clear."""
        self._counts[1] = 0
        clear: Vector = np.empty(self._covariance.shape)
        self._turned = int(clarify(clear, self._covariance, CORRELATED))
        if self._turned:
            # It reads the lower half alone.
            self._basis[:] = np.linalg.eigh(clear)[1]
