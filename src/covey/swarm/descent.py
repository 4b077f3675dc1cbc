# SPDX-License-Identifier: BSD-3-Clause
"""One descent of CMA-ES: a normal distribution that moves, grows and turns with the points that did best.

Why: covariance is what matters on problems whose parameters depend on each other; nothing else here learns it as
well. The update is that of Hansen's tutorial (arXiv 1604.00772) with negative weights.

May not know: restarts, ids, bounds beyond folding points back into them. Guarantees: what is stored stays finite;
points that came late or from elsewhere are used, but move the distribution no further than its own could.
"""
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from covey.swarm.algorithm import Domain
from covey.swarm.draws import Vector

# What a restart is worth: nothing below these can be told from rounding.
TOL_STEP = 1e-12        # of the first step
TOL_VALUE = 1e-12       # of the values of many generations
CONDITION = 1e14
# A bound with more than this share of the best points on it is where the best lies. Without selection it is a half.
PRESSED = 0.6
PRESS_RATE = 0.4
# So many deviations the mean may lie beyond such a bound: then nearly all points lie on it.
BEYOND = 2.0
_ARRAYS = ("pressed", "mean", "covariance", "basis", "axes", "path_sigma", "path_c")
_NUMBERS = ("sigma", "first_sigma", "generation", "stale", "ended")


class Rates(NamedTuple):
    """The learning rates and weights that suit a number of points and a dimension."""

    weights: Vector     # over the points from best to worst, the second half negative
    positive: int       # how many of them are above 0
    mu_eff: float
    c_sigma: float
    damping: float
    c_c: float
    c_1: float
    c_mu: float
    expected: float     # the length of a standard normal vector


@lru_cache(maxsize=64)
def rates_of(points: int, dimension: int) -> Rates:
    """The default rates of the tutorial."""
    n = float(dimension)
    raw = math.log((points + 1) / 2) - np.log(np.arange(1, points + 1))
    mu = max(1, points // 2)
    up = raw[:mu] / raw[:mu].sum() if points > 1 else np.ones(1)
    mu_eff = float(1 / (up**2).sum())
    c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)
    c_mu = min(1 - c_1, 2 * (0.25 + mu_eff + 1 / mu_eff - 2) / ((n + 2) ** 2 + mu_eff))
    down = raw[mu:]
    if len(down) and down.sum() < 0 and c_mu > 0:
        mu_eff_down = float(down.sum() ** 2 / (down**2).sum())
        size = min(1 + c_1 / c_mu, 1 + 2 * mu_eff_down / (mu_eff + 2), (1 - c_1 - c_mu) / (n * c_mu))
        down = down * (size / -down.sum())
    else:
        down = np.zeros(len(down))
    c_sigma = (mu_eff + 2) / (n + mu_eff + 5)
    return Rates(
        np.concatenate([up, down]), mu, mu_eff, c_sigma,
        1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (n + 1)) - 1) + c_sigma,
        (4 + mu_eff / n) / (n + 4 + 2 * mu_eff / n), c_1, c_mu,
        math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n)),
    )


class Descent:
    """A distribution, from its start until it has `ended`."""

    def __init__(self, domain: Domain, mean: Vector, sigma: float, points: int) -> None:
        dimension = domain.dimension
        self._domain = domain
        self.points = points
        self.mean = np.array(mean)
        self.sigma = self.first_sigma = sigma
        self.covariance: Vector = np.eye(dimension)
        self.basis: Vector = np.eye(dimension)      # columns are the axes' directions
        self.axes: Vector = np.ones(dimension)      # their lengths
        self.path_sigma: Vector = np.zeros(dimension)
        self.path_c: Vector = np.zeros(dimension)
        # How much of the weight of the best points lay on a bound, lately, in each direction.
        self.pressed: Vector = np.zeros(dimension)
        self._pressing = False
        self.generation = 0
        self.stale = 0              # generations since basis and axes were computed
        self.ended = ""             # why, if it is
        self.history: list[float] = []          # the best value of each generation, as many as are looked at
        self._grainy = bool(domain.grain.any())
        self._kept = 120 + int(30 * dimension / points)
        self._window = 10 + math.ceil(30 * dimension / points)
        rates = rates_of(points, dimension)
        # The basis ages by a hundredth of its memory before it is computed anew, which costs the cube of the dimension.
        self._gap = max(1, int(1 / (6 * dimension * (rates.c_1 + rates.c_mu))))
        self._limit = 100 + int(50 * (dimension + 3) ** 2 / math.sqrt(points))

    def sample(self, normals: Vector) -> Vector:
        """Points for standard normal rows, folded back at the bounds."""
        x: Vector = self.mean + self.sigma * ((normals * self.axes) @ self.basis.T)
        return x

    def learn(self, x: Vector, values: Vector, foreign: Vector | None = None) -> None:
        """Moves with the points `x`, of which rows marked in `foreign` were not drawn from the present distribution."""
        order = np.argsort(values, kind="stable")
        lowest = float(values[order[0]])
        if not math.isfinite(lowest):
            self.generation += 1
            self._remember(lowest)
            return
        x = self._inside(x)
        dimension = self._domain.dimension
        rates = rates_of(len(values), dimension)
        steps = (x[order] - self.mean) / self.sigma
        white = (steps @ self.basis) / self.axes
        lengths = np.sqrt((white * white).sum(axis=1))
        if foreign is not None:
            longest = math.sqrt(dimension) + 2 * dimension / (dimension + 2)
            shrink = np.where(foreign[order] & (lengths > longest), longest / np.maximum(lengths, 1e-300), 1.0)
            steps, white, lengths = steps * shrink[:, None], white * shrink[:, None], lengths * shrink
        mu = rates.positive
        up = rates.weights[:mu]
        step, white_step = up @ steps[:mu], up @ white[:mu]
        self.mean += self.sigma * step
        self._press(x[order[:mu]], up)
        c_sigma = rates.c_sigma
        self.path_sigma *= 1 - c_sigma
        self.path_sigma += math.sqrt(c_sigma * (2 - c_sigma) * rates.mu_eff) * (self.basis @ white_step)
        self.generation += 1
        length = math.sqrt(float(self.path_sigma @ self.path_sigma))
        grown = math.sqrt(1 - (1 - c_sigma) ** (2 * self.generation))
        rising = length / grown < (1.4 + 2 / (dimension + 1)) * rates.expected
        c_c, c_1, c_mu = rates.c_c, rates.c_1, rates.c_mu
        self.path_c *= 1 - c_c
        if rising:
            self.path_c += math.sqrt(c_c * (2 - c_c) * rates.mu_eff) * step
        # Bad steps are unlearned at the length that the distribution expects, however long they were.
        weights = rates.weights.copy()
        weights[mu:] *= dimension / np.maximum(lengths[mu:] ** 2, 1e-12)
        keep = 1 - c_1 - c_mu * float(rates.weights.sum()) + (0.0 if rising else c_1 * c_c * (2 - c_c))
        self.covariance *= keep
        self.covariance += (c_1 * self.path_c)[:, None] * self.path_c
        self.covariance += (steps.T * (c_mu * weights)) @ steps
        # Never more than e-fold at once: a first generation far from anything must not leave the numbers.
        self.sigma *= math.exp(min(1.0, (c_sigma / rates.damping) * (length / rates.expected - 1)))
        if self._grainy:
            self._keep_cells()
        self.stale += 1
        if self.stale >= self._gap:
            self._decompose()
        self._remember(lowest)
        self._judge(values[order])

    def _inside(self, x: Vector) -> Vector:
        """The points as they were evaluated, except where a bound is pressed against: there they stay as drawn."""
        inside: Vector = np.clip(x, self._domain.lower, self._domain.upper)
        return np.where(self.pressed > PRESSED, x, inside) if self._pressing else inside

    def _press(self, chosen: Vector, weights: Vector) -> None:
        """Learns which bounds the best points press against, and keeps the mean within them or a little beyond."""
        lower, upper = self._domain.lower, self._domain.upper
        at_bound = (chosen <= lower) | (chosen >= upper)
        if self._pressing or at_bound.any():
            self.pressed += PRESS_RATE * (weights @ at_bound - self.pressed)
            self._pressing = bool((self.pressed > PRESSED).any())
            beyond = np.where(self.pressed > PRESSED, BEYOND * self.sigma * np.sqrt(self.covariance.diagonal()), 0.0)
            np.clip(self.mean, lower - beyond, upper + beyond, out=self.mean)

    def _keep_cells(self) -> None:
        """A deviation far below a cell's width would see one value of a whole number for ever."""
        least = (0.3 * self._domain.grain / self.sigma) ** 2
        diagonal = self.covariance.diagonal()
        short = diagonal < least
        if short.any():
            self.covariance[np.diag_indices_from(self.covariance)] = np.maximum(diagonal, least)

    def _decompose(self) -> None:
        self.stale = 0
        try:
            values, self.basis = np.linalg.eigh(0.5 * (self.covariance + self.covariance.T))
        except np.linalg.LinAlgError:
            self.ended = "numbers"
            return
        if not values[-1] > 0 or values[0] <= values[-1] / CONDITION:
            self.ended = "condition"
            return
        self.axes = np.sqrt(values)

    def _remember(self, lowest: float) -> None:
        self.history.append(lowest)
        if len(self.history) > 2 * self._kept:
            del self.history[: self._kept]

    def _judge(self, ranked: Vector) -> None:
        """Whether going on is pointless."""
        if self.ended:
            return
        recent = self.history[-self._window:]
        best, worst = min(recent), max(recent)
        span = max(float(ranked[len(ranked) // 2]), worst) - best
        if len(recent) == self._window and span <= TOL_VALUE * min(1.0, max(abs(best), 1e-3)):
            self.ended = "flat"
        elif self.sigma * float(self.axes.max()) < TOL_STEP * self.first_sigma:
            self.ended = "small"
        elif self.sigma * float(self.axes.max()) > 1e4 * max(self.first_sigma, 1.0) and math.isfinite(
            float((self._domain.upper - self._domain.lower).max())
        ) and float((self._domain.upper - self._domain.lower).max()) < 1e4:
            self.ended = "wide"
        elif self.generation > self._limit:
            self.ended = "long"
        elif self.generation % 10 == 0 and len(self.history) >= self._kept:
            third = self._kept // 3
            window = np.array(self.history[-self._kept:])
            if np.median(window[-third:]) >= np.median(window[:third]):
                self.ended = "stagnant"

    def state(self) -> dict[str, Any]:
        return (
            {name: getattr(self, name).copy() for name in _ARRAYS}
            | {name: getattr(self, name) for name in _NUMBERS}
            | {"points": self.points, "history": np.array(self.history)}
        )

    @classmethod
    def from_state(cls, domain: Domain, state: Mapping[str, Any]) -> "Descent":
        self = cls(domain, state["mean"], state["first_sigma"], state["points"])
        for name in _ARRAYS:
            setattr(self, name, np.array(state[name]))
        for name in _NUMBERS:
            setattr(self, name, state[name])
        self.history = np.asarray(state["history"]).tolist()
        self._pressing = bool((self.pressed > PRESSED).any())
        return self
