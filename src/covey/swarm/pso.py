# SPDX-License-Identifier: BSD-3-Clause
"""Particle swarms: small ones that follow their best, learn which directions belong together, begin anew when stuck.

Why: at the budgets that people have, a dozen particles that follow one leader beat every larger swarm, so a group of a
hundred is several such swarms side by side, not one of a hundred. `optinfo` with `omega`, `cl` or `cg` gives Playdoh's
own rule instead: the whole group is one swarm, positions are clipped, nothing is learned and nothing begins anew.

May not know: units, names, who evaluates. Guarantees: a particle's numbers depend on (seed, particle, its step) alone;
it moves when its own value has come, so points may be asked for one at a time, and values told in any order.
"""
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from covey.swarm.algorithm import Plan, check_keys
from covey.swarm.draws import STARTS, Draws, Indices, Vector
from covey.swarm.flight import Flight
from covey.swarm.update import learn, move

SIZE = 12
INERTIA, TOWARD_OWN, TOWARD_BEST = 0.6, 1.0, 2.2
# How often the leader is the middle of the best few instead of the best.
BLEND = 0.5
# Playdoh's defaults, for the keys that are not given where one is.
OMEGA, CL, CG = 0.9, 1.2, 1.8
PLAYDOH_SIZE = 100
# A swarm is stuck when its best has not improved for so many moves of each of its particles, or has no extent left.
PATIENCE = 20
EXTENT = 1e-9
# Above this dimension the covariance costs more than the budgets for which swarms are good can repay.
LEARNED = 40
RATE = 0.2      # a step's share in the covariance, divided by the dimension
# Coordinates whose successful steps are correlated less than this count as independent: separable problems stay so.
CORRELATED = 0.25
# So many steps learned, for each dimension, before the basis is computed again.
DUE = 2
_ARRAYS = (
    "_x", "_v", "_own", "_own_value", "_swarm", "_step", "_moved", "_flying", "_first", "_best", "_best_value",
    "_middle", "_extent", "_since", "_gained", "_covariance", "_basis", "_turned",
)


class Pso:
    """The algorithm `"pso"`; optinfo: `omega`, `cl`, `cg` (Playdoh's rule)."""

    asynchronous = True

    def __init__(self, plan: Plan, optinfo: Mapping[str, Any]) -> None:
        check_keys(optinfo, ("omega", "cl", "cg"), "pso")
        self._domain, self._draws = plan.domain, Draws(plan.seed)
        dimension = plan.domain.dimension
        self._playdoh = bool(optinfo)
        if self._playdoh:
            self._rule = (
                float(optinfo.get("omega", OMEGA)), float(optinfo.get("cl", CL)), float(optinfo.get("cg", CG)),
            )
            sizes = [plan.group_size or PLAYDOH_SIZE]
        else:
            self._rule = (INERTIA, TOWARD_OWN, TOWARD_BEST)
            group = plan.group_size or SIZE
            swarms = max(1, group // SIZE)
            sizes = [group // swarms + (number < group % swarms) for number in range(swarms)]
        self._rate = RATE / dimension if not self._playdoh and 1 < dimension <= LEARNED else 0.0
        side = dimension if self._rate else 1
        self._flight = Flight(dimension)
        self._planned = sum(sizes)
        # One row for each particle; a swarm's particles are neighbours.
        self._x, self._v, self._own = (np.empty((0, dimension)) for _ in range(3))
        self._own_value: Vector = np.empty(0)
        self._swarm: Indices = np.empty(0, dtype=np.int64)
        self._step: Indices = np.empty(0, dtype=np.int64)       # only grows: the place of its numbers
        self._moved: Indices = np.empty(0, dtype=np.int64)      # 0: its start was not asked for yet
        self._flying: Indices = np.empty(0, dtype=np.int64)     # its id when out, -2 - id when told, or -1
        # One row for each swarm.
        self._first: Indices = np.zeros(1, dtype=np.int64)      # where its particles begin; and where the last ends
        self._best, self._middle = np.empty((0, dimension)), np.empty((0, dimension))
        self._best_value, self._extent = np.empty(0), np.empty(0)
        self._since: Indices = np.empty(0, dtype=np.int64)      # values since its best improved
        self._gained: Indices = np.empty(0, dtype=np.int64)     # steps learned since its basis was computed
        self._covariance, self._basis = np.empty((0, side, side)), np.empty((0, side, side))
        self._turned: Indices = np.empty(0, dtype=np.int64)     # whether its basis is not just the axes
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
        free = np.flatnonzero(self._flying == -1)
        if n is None:
            n = len(free) or self._planned
        while len(free) < n:
            # More points in flight than particles: another swarm explores beside the first ones.
            self._open(SIZE)
            free = np.flatnonzero(self._flying == -1)
        if n < len(free):
            free = np.sort(free[np.argsort(self._step[free], kind="stable")[:n]])
        moved = self._moved[free]
        going = free if moved.all() else free[moved > 0]
        if len(going):
            inertia, toward_own, toward_best = self._rule
            move(
                going, self._x, self._v, self._own, self._swarm, self._step, self._best, self._middle, self._basis,
                self._turned, self._domain.lower, self._domain.upper, self._draws.seed, inertia, toward_own,
                toward_best, 0.0 if self._playdoh else BLEND, not self._playdoh,
            )
        self._moved[free] = 1
        self._step[free] += 1
        x = self._x[free]
        ids = self._flight.add(x, free)
        self._flying[free] = ids
        return ids, x

    def tell(self, ids: Indices, values: Vector) -> None:
        self._flight.tell(ids, values)
        rows = self._flight.tags_of(ids)
        # Who comes back to a swarm that began anew meanwhile is nobody's any more.
        mine = self._flying[rows] == ids
        self._flying[rows[mine]] = -2 - ids[mine]

    def inject(self, x: Vector, values: Vector) -> None:
        for point, value in zip(x, values, strict=True):
            self._flight.note(point, float(value))
            swarm = int(self._best_value.argmax())
            if value < self._best_value[swarm]:
                self._best[swarm], self._best_value[swarm], self._since[swarm] = point, value, 0

    def _learn(self) -> None:
        """Uses what was told, in the order in which it was asked."""
        taken = self._flight.take()
        mine = self._flying[taken.tags] == -2 - taken.ids
        rows, values = (taken.tags, taken.values) if mine.all() else (taken.tags[mine], taken.values[mine])
        self._flying[rows] = -1
        learn(
            rows, values, self._x, self._own, self._own_value, self._swarm, self._first, self._best, self._best_value,
            self._middle, self._extent, self._since, self._gained, self._covariance, self._rate,
        )
        if self._playdoh:
            return
        size = self._first[1:] - self._first[:-1]
        # An infinite best has no extent to speak of: nothing was found yet.
        stuck = (self._since > PATIENCE * size) | ((self._extent < EXTENT) & (self._best_value < math.inf))
        for swarm in np.flatnonzero(stuck).tolist():
            self._restart(swarm)
        if self._rate:
            for swarm in np.flatnonzero(self._gained >= DUE * self._domain.dimension).tolist():
                self._turn(swarm)

    def _turn(self, swarm: int) -> None:
        """Computes a swarm's basis from the correlations that are clear."""
        self._gained[swarm] = 0
        covariance = self._covariance[swarm]      # its lower half holds
        deviation = np.sqrt(covariance.diagonal()) + 1e-150
        clear = np.abs(covariance) > CORRELATED * deviation * deviation[:, None]
        turned = np.tril(clear, -1).any()
        self._turned[swarm] = turned
        if turned:
            # eigh reads the lower half, too.
            self._basis[swarm] = np.linalg.eigh(np.where(clear, covariance, 0.0))[1]

    def _open(self, size: int) -> None:
        """Adds a swarm."""
        dimension, swarm, side = self._domain.dimension, len(self._best), self._basis.shape[1]
        grown: dict[str, Any] = {
            "_x": np.empty((size, dimension)), "_v": np.empty((size, dimension)), "_own": np.empty((size, dimension)),
            "_own_value": np.empty(size), "_swarm": np.full(size, swarm), "_step": np.zeros(size, dtype=np.int64),
            "_moved": np.zeros(size, dtype=np.int64), "_flying": np.full(size, -1), "_first": self._first[-1:] + size,
            "_best": np.empty((1, dimension)), "_best_value": np.empty(1), "_middle": np.empty((1, dimension)),
            "_extent": np.empty(1), "_since": np.zeros(1, dtype=np.int64), "_gained": np.zeros(1, dtype=np.int64),
            "_covariance": np.empty((1, side, side)), "_basis": np.empty((1, side, side)),
            "_turned": np.zeros(1, dtype=np.int64),
        }
        for name, rows in grown.items():
            setattr(self, name, np.concatenate([getattr(self, name), rows]))
        self._restart(swarm)

    def _restart(self, swarm: int) -> None:
        """Begins anew. Who is still out comes back to nobody, but counts for the best."""
        dimension = self._domain.dimension
        members = slice(int(self._first[swarm]), int(self._first[swarm + 1]))
        for i in range(members.start, members.stop):
            start = self._draws.uniforms(STARTS, int(self._step[i]), i, (1, 2 * dimension))[0]
            self._x[i] = start[:dimension]
            self._v[i] = 0.0 if self._playdoh else 0.5 * (start[dimension:] - start[:dimension])
        self._own[members] = self._x[members]
        self._own_value[members] = np.inf
        self._moved[members] = 0
        self._flying[members] = -1
        self._best[swarm] = self._middle[swarm] = self._x[members.start]
        self._best_value[swarm] = np.inf
        self._extent[swarm] = 1.0
        self._since[swarm] = self._gained[swarm] = self._turned[swarm] = 0
        self._covariance[swarm] = self._basis[swarm] = np.eye(self._basis.shape[1])

    def state(self) -> dict[str, Any]:
        return {"flight": self._flight.state()} | {name[1:]: getattr(self, name).copy() for name in _ARRAYS}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where another of the same plan and optinfo was when its `state()` was taken."""
        self._flight = Flight.from_state(state["flight"])
        for name in _ARRAYS:
            setattr(self, name, np.array(state[name[1:]]))
