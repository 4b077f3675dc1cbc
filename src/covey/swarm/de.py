# SPDX-License-Identifier: BSD-3-Clause
"""Differential evolution that learns its own rates and lets its population shrink: L-SHADE.

Why: on problems with many valleys and no slope between them, differences between members find what a covariance or a
leader does not. The rules are those of Tanabe & Fukunaga (CEC 2014).

May not know: units, names, who evaluates. Guarantees: a trial competes with its parent, or with the worst member if
its parent is gone; trials may be asked for while others are out, and then come from the population in force.
"""
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from covey.swarm.algorithm import Plan, check_keys, number_of
from covey.swarm.booked import Booked
from covey.swarm.draws import CHOICES, STARTS, Draws, Indices, Vector

MEMORY = 6              # remembered pairs of rates
ELITE = 0.11            # of the population: who leads
ARCHIVE = 2.6           # defeated parents kept, as a multiple of the population
LARGEST_PER_DIMENSION = 18
LEAST = 4
# Without a budget the population shrinks over so many evaluations for each dimension, then twice as many, and so on.
HORIZON = 2000
EXTENT = 1e-12


class De(Booked):
    """The algorithm `"de"`; optinfo: `population`, its first size."""

    _ARRAYS = ("_x", "_values", "_archive", "_f", "_cr", "_trial_ids", "_trial_parent", "_trial_f", "_trial_cr", "_uid")
    _NUMBERS = ("_seeding", "_drawn", "_next", "_slot", "_generation", "_began", "_horizon", "_first_uid")

    def __init__(self, plan: Plan, optinfo: Mapping[str, Any]) -> None:
        check_keys(optinfo, ("population",), "de")
        self._domain, self._draws = plan.domain, Draws(plan.seed)
        dimension = plan.domain.dimension
        self._horizon = plan.budget or HORIZON * dimension
        # A hundred generations at the first size: with less, it has hardly begun to learn when the budget ends.
        usual = min(LARGEST_PER_DIMENSION * dimension, max(20, self._horizon // 100))
        self._largest = int(number_of(optinfo, "population", usual))
        if self._largest < LEAST:
            raise ValueError(f"optinfo['population'] is at least {LEAST}, and here {self._largest}")
        super().__init__(dimension)
        self._seeding = True
        self._drawn = 0             # trials ever: the place of a trial's numbers
        self._next = 0              # whose turn it is to be a parent
        self._slot = 0
        self._began = 0             # evaluations when this population was begun
        self._first_uid = 0
        self._x: Vector = np.empty((0, dimension))
        self._values: Vector = np.empty(0)
        self._uid: Indices = np.empty(0, dtype=np.int64)
        self._archive: Vector = np.empty((0, dimension))
        self._f, self._cr = np.full(MEMORY, 0.5), np.full(MEMORY, 0.5)
        self._trial_ids: Indices = np.empty(0, dtype=np.int64)
        self._trial_parent: Indices = np.empty(0, dtype=np.int64)
        self._trial_f: Vector = np.empty(0)
        self._trial_cr: Vector = np.empty(0)

    @property
    def batch(self) -> int:
        return self._largest if self._seeding else len(self._x)

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        if self._flight.told >= self.batch:
            self._learn()
        if n is None:
            n = self.batch - self._next if self._next < self.batch else self.batch
        if self._seeding:
            x = self._draws.uniforms(STARTS, 0, self._drawn, (n, self._domain.dimension))
            x = np.clip(x, self._domain.lower, self._domain.upper)
            parents, f, cr = np.full(n, -1), np.zeros(n), np.zeros(n)
        else:
            x, parents, f, cr = self._trials(n)
        self._drawn += n
        self._next += n
        ids = self._flight.add(x, parents)
        self._trial_ids = np.concatenate([self._trial_ids, ids])
        self._trial_parent = np.concatenate([self._trial_parent, parents])
        self._trial_f = np.concatenate([self._trial_f, f])
        self._trial_cr = np.concatenate([self._trial_cr, cr])
        return ids, x

    def inject(self, x: Vector, values: Vector) -> None:
        for point, value in zip(x, values, strict=True):
            self._flight.note(point, float(value))
            if len(self._values) and math.isfinite(value):
                worst = int(self._values.argmax())
                if value < self._values[worst]:
                    self._x[worst], self._values[worst] = point, value

    def _trials(self, n: int) -> tuple[Vector, Indices, Vector, Vector]:
        """current-to-pbest/1 with an archive, binomial crossover."""
        size, dimension = self._x.shape
        target = np.arange(self._next, self._next + n) % size
        u = self._draws.uniforms(CHOICES, 0, self._drawn, (n, dimension + 7))
        memory = (u[:, 0] * MEMORY).astype(np.int64)
        # A Cauchy number above 0: its distribution function, entered where it passes 0.
        middle = self._f[memory]
        below = 0.5 + np.arctan(-middle / 0.1) / math.pi
        f = np.minimum(middle + 0.1 * np.tan(math.pi * (below + (1 - below) * u[:, 1] - 0.5)), 1.0)
        normal = np.sqrt(-2 * np.log(u[:, 2])) * np.cos(2 * math.pi * u[:, 3])
        cr = np.clip(self._cr[memory] + 0.1 * normal, 0.0, 1.0)
        elite = max(2, round(ELITE * size))
        leaders = np.argsort(self._values, kind="stable")[(u[:, 4] * elite).astype(np.int64)]
        # Different from the parent and from each other, by stepping over what is taken.
        one = (target + 1 + (u[:, 5] * (size - 1)).astype(np.int64)) % size
        pool = np.concatenate([self._x, self._archive])
        two = (u[:, 6] * (len(pool) - 2)).astype(np.int64)
        low, high = np.minimum(target, one), np.maximum(target, one)
        two += two >= low
        two += two >= high
        x = self._x[target]
        mutant = x + f[:, None] * (self._x[leaders] - x + self._x[one] - pool[two])
        lower, upper = self._domain.lower, self._domain.upper
        mutant = np.where(mutant < lower, (lower + x) / 2, np.where(mutant > upper, (upper + x) / 2, mutant))
        crossing = u[:, 7:] <= cr[:, None]
        # One coordinate at least; which, is told by digits of a number that is used for nothing else that matters.
        crossing[np.arange(n), ((u[:, 0] * MEMORY) % 1.0 * dimension).astype(np.int64)] = True
        return np.where(crossing, mutant, x), self._uid[target], f, cr

    def _learn(self) -> None:
        taken = self._flight.take()
        at = np.searchsorted(self._trial_ids, taken.ids)
        parents, f, cr = self._trial_parent[at], self._trial_f[at], self._trial_cr[at]
        for name in ("_trial_ids", "_trial_parent", "_trial_f", "_trial_cr"):
            setattr(self, name, np.delete(getattr(self, name), at))
        self._generation += 1
        self._next = 0
        if self._seeding:
            self._x, self._values = taken.x, taken.values
            self._uid = np.arange(self._first_uid, self._first_uid + len(taken.values))
            self._first_uid += len(taken.values)
            self._seeding = False
        else:
            self._compete(taken.x, taken.values, parents, f, cr)
        self._shrink()

    def _compete(self, x: Vector, values: Vector, parents: Indices, f: Vector, cr: Vector) -> None:
        rows = {uid: row for row, uid in enumerate(self._uid.tolist())}
        defeated, gains, winners = [], [], []
        for trial, (parent, value) in enumerate(zip(parents.tolist(), values.tolist(), strict=True)):
            row = rows.get(parent, -1)
            if row < 0:
                row = int(self._values.argmax())
            before = float(self._values[row])
            if value > before or not math.isfinite(value):
                continue
            if value < before:
                defeated.append(self._x[row].copy())
                gains.append(before - value if math.isfinite(before) else abs(value) + 1.0)
                winners.append(trial)
            self._x[row], self._values[row] = x[trial], value
        if not winners:
            return
        weight = np.array(gains) / np.sum(gains)
        won_f, won_cr = f[winners], cr[winners]
        self._f[self._slot] = (weight @ won_f**2) / (weight @ won_f)
        total = weight @ won_cr
        self._cr[self._slot] = (weight @ won_cr**2) / total if total > 0 else 0.0
        self._slot = (self._slot + 1) % MEMORY
        self._archive = np.concatenate([self._archive, np.array(defeated)])
        self._trim_archive()

    def _trim_archive(self) -> None:
        room = int(ARCHIVE * len(self._x))
        if len(self._archive) > room:
            lots = self._draws.uniforms(CHOICES, self._generation, 0, (1, len(self._archive)))[0]
            self._archive = self._archive[np.sort(np.argsort(lots, kind="stable")[:room])]

    def _shrink(self) -> None:
        """Lets the worst go as the horizon comes nearer, and begins anew when it is reached or nothing moves."""
        spent = self._flight.evaluations - self._began
        wanted = max(LEAST, round(self._largest + (LEAST - self._largest) * min(1.0, spent / self._horizon)))
        if len(self._x) > wanted:
            kept = np.sort(np.argsort(self._values, kind="stable")[:wanted])
            self._x, self._values, self._uid = self._x[kept], self._values[kept], self._uid[kept]
            self._trim_archive()
        if float(np.ptp(self._x, axis=0).max()) < EXTENT:
            self._begin_anew()
        elif spent > 1.2 * self._horizon:
            self._horizon *= 2
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._seeding = True
        self._began = self._flight.evaluations
        self._archive = self._archive[:0]
        self._f[:], self._cr[:], self._slot = 0.5, 0.5, 0
