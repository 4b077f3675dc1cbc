# SPDX-License-Identifier: BSD-3-Clause
"""Particle swarms: small ones that follow their best, bounce at the bounds, and begin anew when they are stuck.

Why: at the budgets that people have, twenty particles that follow one leader beat every larger or cleverer swarm, so
a group of a hundred is several such swarms side by side, not one of a hundred. `optinfo` with `omega`, `cl` or
`cg` gives Playdoh's own rule instead: the whole group is one swarm, positions are clipped, nothing begins anew.

May not know: units, names, who evaluates. Guarantees: a particle's numbers depend on (seed, particle, its step)
alone; it moves when its own value has come, so points may be asked for one at a time, and values told in any order.
"""
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.swarm.algorithm import Plan, check_keys
from covey.swarm.draws import STARTS, Draws, Indices, Vector
from covey.swarm.flight import Flight
from covey.swarm.update import move

SIZE = 20
INERTIA, PULL = 0.6, 1.7
# Playdoh's defaults, for the keys that are not given where one is.
OMEGA, CL, CG = 0.9, 1.2, 1.8
PLAYDOH_SIZE = 100
# A swarm is stuck when its best has not improved for so many moves of each of its particles, or has no extent left.
PATIENCE = 30
EXTENT = 1e-11


class Pso:
    """The algorithm `"pso"`; optinfo: `omega`, `cl`, `cg` (Playdoh's rule)."""

    asynchronous = True
    _arrays = (
        "_x", "_v", "_own", "_own_value", "_leader", "_step", "_moved", "_flying", "_best", "_best_value", "_since",
    )

    def __init__(self, plan: Plan, optinfo: Mapping[str, Any]) -> None:
        check_keys(optinfo, ("omega", "cl", "cg"), "pso")
        self._domain, self._draws = plan.domain, Draws(plan.seed)
        self._playdoh = bool(optinfo)
        if self._playdoh:
            self._rule = (
                float(optinfo.get("omega", OMEGA)), float(optinfo.get("cl", CL)), float(optinfo.get("cg", CG)),
            )
            sizes = [plan.group_size or PLAYDOH_SIZE]
        else:
            self._rule = (INERTIA, PULL, PULL)
            group = plan.group_size or SIZE
            swarms = max(1, group // SIZE)
            sizes = [group // swarms + (number < group % swarms) for number in range(swarms)]
        dimension = plan.domain.dimension
        self._flight = Flight(dimension)
        self._planned = sum(sizes)
        self._x: Vector = np.empty((0, dimension))
        self._v: Vector = np.empty((0, dimension))
        self._own: Vector = np.empty((0, dimension))
        self._own_value: Vector = np.empty(0)
        self._leader: Indices = np.empty(0, dtype=np.int64)     # which swarm a particle is in
        self._step: Indices = np.empty(0, dtype=np.int64)       # only grows: the place of its numbers
        self._moved: NDArray[np.bool_] = np.empty(0, dtype=bool)    # False: its start was not evaluated yet
        self._flying: Indices = np.empty(0, dtype=np.int64)     # the id under which a particle is out, or -1
        self._best: Vector = np.empty((0, dimension))
        self._best_value: Vector = np.empty(0)
        self._since: Indices = np.empty(0, dtype=np.int64)      # values since a swarm's best improved
        for size in sizes:
            self._open(size)

    @property
    def batch(self) -> int:
        return self._planned

    @property
    def generation(self) -> int:
        return int(self._step[: self._planned].min())

    @property
    def evaluations(self) -> int:
        return self._flight.evaluations

    @property
    def best(self) -> tuple[Vector | None, float]:
        return self._flight.best_x, self._flight.best_value

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        if self._flight.told:
            self._learn()
        free = np.flatnonzero(self._flying < 0)
        if n is None:
            n = len(free) or self._planned
        while len(free) < n:
            # More points in flight than particles: another swarm explores beside the first ones.
            self._open(SIZE)
            free = np.flatnonzero(self._flying < 0)
        if n < len(free):
            free = np.sort(free[np.argsort(self._step[free], kind="stable")[:n]])
        going = free[self._moved[free]] if not self._moved[free].all() else free
        if len(going):
            domain = self._domain
            inertia, toward_own, toward_best = self._rule
            move(going, self._x, self._v, self._own, self._best, self._leader, self._step, domain.lower, domain.upper,
                 self._draws.seed, inertia, toward_own, toward_best, not self._playdoh)
        self._moved[free] = True
        self._step[free] += 1
        x = self._x[free]
        ids = self._flight.add(x, free)
        self._flying[free] = ids
        return ids, x

    def tell(self, ids: Indices, values: Vector) -> None:
        self._flight.tell(ids, values)
        rows = self._flight.tags_of(ids)
        rows = rows[self._flying[rows] == ids]
        self._flying[rows] = -1

    def inject(self, x: Vector, values: Vector) -> None:
        for point, value in zip(x, values, strict=True):
            self._flight.note(point, float(value))
            if not np.isfinite(value):
                continue
            swarm = int(self._best_value.argmax())
            if value < self._best_value[swarm]:
                self._best[swarm], self._best_value[swarm], self._since[swarm] = point, value, 0

    def _learn(self) -> None:
        """Uses what was told, in the order in which it was asked."""
        taken = self._flight.take()
        rows = taken.tags
        better = taken.values < self._own_value[rows]
        improved = rows[better]
        self._own[improved] = taken.x[better]
        self._own_value[improved] = taken.values[better]
        for swarm in np.unique(self._leader[rows]).tolist():
            members = np.flatnonzero(self._leader == swarm)
            first = members[self._own_value[members].argmin()]
            if self._own_value[first] < self._best_value[swarm]:
                self._best[swarm], self._best_value[swarm] = self._own[first], self._own_value[first]
                self._since[swarm] = 0
            else:
                self._since[swarm] += int((self._leader[rows] == swarm).sum())
            if not self._playdoh and self._is_stuck(swarm, members):
                self._restart(swarm, members)

    def _is_stuck(self, swarm: int, members: Indices) -> bool:
        if self._since[swarm] > PATIENCE * len(members):
            return True
        # An infinite best has no extent to speak of: nothing was found yet.
        return bool(
            np.isfinite(self._best_value[swarm])
            and np.abs(self._own[members] - self._best[swarm]).max() < EXTENT
        )

    def _open(self, size: int) -> None:
        """Adds a swarm."""
        first, swarm = len(self._x), len(self._best)
        dimension = self._domain.dimension
        grown: dict[str, Any] = {
            "_x": np.empty((size, dimension)), "_v": np.empty((size, dimension)), "_own": np.empty((size, dimension)),
            "_own_value": np.empty(size), "_leader": np.full(size, swarm), "_step": np.zeros(size, dtype=np.int64),
            "_moved": np.zeros(size, dtype=bool), "_flying": np.full(size, -1), "_best": np.empty((1, dimension)),
            "_best_value": np.full(1, np.inf), "_since": np.zeros(1, dtype=np.int64),
        }
        for name, rows in grown.items():
            setattr(self, name, np.concatenate([getattr(self, name), rows]))
        self._restart(swarm, np.arange(first, first + size))

    def _restart(self, swarm: int, members: Indices) -> None:
        """Begins anew. Who is still out stays counted as such by the flight, but comes back to nobody."""
        dimension = self._domain.dimension
        for i in members.tolist():
            start = self._draws.uniforms(STARTS, int(self._step[i]), i, (1, 2 * dimension))[0]
            self._x[i] = start[:dimension]
            self._v[i] = 0.5 * (start[dimension:] - start[:dimension])
        if self._playdoh:
            self._v[members] = 0.0
        self._own[members] = self._best[swarm] = self._x[members[0]]
        self._own[members] = self._x[members]
        self._own_value[members] = np.inf
        self._best_value[swarm] = np.inf
        self._since[swarm] = 0
        self._moved[members] = False
        self._flying[members] = -1

    def state(self) -> dict[str, Any]:
        return {"flight": self._flight.state()} | {name[1:]: getattr(self, name).copy() for name in self._arrays}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where another of the same plan and optinfo was when its `state()` was taken."""
        self._flight = Flight.from_state(state["flight"])
        for name in self._arrays:
            setattr(self, name, np.array(state[name[1:]]))
