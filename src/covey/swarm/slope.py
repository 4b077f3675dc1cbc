# SPDX-License-Identifier: BSD-3-Clause
"""Straight downhill: quasi-Newton descents whose gradients are differences of values, one after the other.

Why: many problems of fitting are smooth around where they start. There a hundred evaluations for each parameter do
what any swarm needs thousands for; where values are rough or noisy the descent gives up soon.

May not know: units, names, who evaluates, the other algorithms. Guarantees: the points of one decision may be
evaluated all at once and told in any order; `batch` is 0 while they are out; numbers beyond all bounds end a
descent, and nothing else.
"""
import math

import numpy as np

from covey.swarm.algorithm import Plan
from covey.swarm.booked import Booked
from covey.swarm.draws import STARTS, Draws, Indices, Vector

# What the points that are out are for: a value to begin with, differences to both sides, a step, differences to one.
BEGIN, AROUND, STEP, AHEAD = 0, 1, 2, 3
# The first differences, as a part of the interval of the start: ripples and noise that are narrower do not matter.
WIDE = 0.05
# Later ones are as narrow as values allow that are good to so many parts of their size, but within these widths.
NOISE = 1e-12
NARROWEST, NARROW = 1e-9, 1e-3
# A promise of less than this part of a value is not to be told from rounding.
WORTHLESS = 1e-15
# A step is taken if it gives this part of what the gradient promised. So often it may be shortened, or lengthened.
ENOUGH = 1e-4
SHORTER, LONGER = 6, 4
# A curvature of less than this part of the greatest is not believed at first.
FLATTEST = 1e-8
# Along a step that curves less than this part of what was expected the change is damped: so there is always a way down.
LEAST_TURN = 1e-8
# So many places are tried before a later descent begins at the best of them. The first has but one: what is simple
# should be found at once.
PLACES = 10


class Slope(Booked):
    """A member of the portfolio `"auto"`; it has no name and no optinfo of its own."""

    _ARRAYS = ("_x", "_gradient", "_curvature", "_width", "_direction", "_step", "_reached", "_beside", "_points",
               "_values")
    _NUMBERS = ("_value", "_first", "_reached_value", "_beside_value", "_promise", "_length", "_phase", "_given",
                "_missing", "_shortened", "_lengthened", "_fresh", "_sure", "_failures", "_failed", "_steps",
                "_descents", "_generation")

    def __init__(self, plan: Plan) -> None:
        dimension = plan.domain.dimension
        super().__init__(dimension)
        self._lower, self._upper = plan.domain.lower, plan.domain.upper
        self._draws = Draws(plan.seed)
        self._eye = np.eye(dimension, dtype=bool)
        self._descents = 0
        self._begin()

    @property
    def batch(self) -> int:
        """How many points it can give now; the rest of its decision waits for those that are out."""
        return len(self._points) - self._given

    @property
    def descents(self) -> int:
        """How often it has begun, the first time included."""
        return self._descents

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        """At most `n` points; there is none while `batch` is 0."""
        rows = np.arange(self._given, self._given + (self.batch if n is None else min(n, self.batch)))
        self._given += len(rows)
        x = self._points[rows]
        return self._flight.add(x, rows), x

    def tell(self, ids: Indices, values: Vector) -> None:
        super().tell(ids, values)
        taken = self._flight.take()
        self._values[taken.tags] = taken.values
        self._missing -= len(taken.values)
        if self._missing == 0:
            self._generation += 1
            with np.errstate(all="ignore"):
                self._decide()

    def inject(self, x: Vector, values: Vector) -> None:
        for point, value in zip(x, values, strict=True):
            self._flight.note(point, float(value))

    def _begin(self) -> None:
        """A descent from places drawn within the interval of the start."""
        dimension = len(self._lower)
        starts = self._draws.uniforms(STARTS, self._descents, 0, (PLACES if self._descents else 1, dimension))
        starts = np.clip(starts, self._lower, self._upper)
        self._descents += 1
        self._x: Vector = starts[0].copy()
        self._value = self._first = 0.0
        self._gradient: Vector = np.zeros(dimension)
        self._curvature: Vector = np.zeros((dimension, dimension))
        self._fresh = True          # whether the curvature is that of the axes alone, so that lengths are guesses
        self._sure = True           # whether the gradient is of differences to both sides
        self._width: Vector = np.full(dimension, WIDE)
        self._direction: Vector = np.zeros(dimension)
        self._promise = 0.0         # what the direction's whole length would change the value by, were it straight
        self._length = 1.0          # of the direction, that was tried last
        self._shortened = self._lengthened = 0
        self._reached, self._reached_value = self._x.copy(), 0.0        # by the step
        self._step: Vector = np.zeros(dimension)                        # the last that was taken
        self._beside, self._beside_value = self._x.copy(), 0.0          # the best of the differences
        self._failures = 0          # steps that failed, since one did not
        self._failed = self._steps = 0      # of the whole descent
        self._want(BEGIN, starts)

    def _want(self, phase: int, points: Vector) -> None:
        """What the next decision needs to know."""
        self._phase, self._points = phase, points
        self._values: Vector = np.zeros(len(points))
        self._given, self._missing = 0, len(points)

    def _decide(self) -> None:
        """All that was wanted is known."""
        if self._phase == STEP:
            self._judge_step(float(self._values[0]))
        elif self._phase == BEGIN and math.isfinite(self._values.min()):
            self._keep_best_beside()
            self._x, self._value = self._beside.copy(), self._beside_value
            self._first = self._value
            self._look_around()
        elif not np.isfinite(self._values).all():
            self._begin()
        else:
            if self._phase == AROUND:
                self._learn_around()
            else:
                self._learn_ahead()
            self._turn()

    def _look_around(self) -> None:
        x, width = self._x, self._width
        above, below = np.minimum(x + width, self._upper), np.maximum(x - width, self._lower)
        self._want(AROUND, np.concatenate([np.where(self._eye, above, x), np.where(self._eye, below, x)]))

    def _learn_around(self) -> None:
        """The gradient from both sides, and each axis' own curvature if there is no better."""
        dimension = len(self._x)
        above, below = self._values[:dimension], self._values[dimension:]
        up = self._points[:dimension].diagonal() - self._x
        down = self._x - self._points[dimension:].diagonal()
        rise = (above - self._value) / np.where(up > 0, up, 1)
        fall = (self._value - below) / np.where(down > 0, down, 1)
        inside = (up > 0) & (down > 0)
        self._gradient = np.where(inside, (rise * down + fall * up) / (up + down), np.where(up > 0, rise, fall))
        if self._fresh or self._failures >= 2:
            bend = np.where(inside, 2 * (rise - fall) / (up + down), 0.0)
            self._curvature = np.diag(_believable(bend, self._gradient))
            self._fresh = True
        self._sure = True
        self._keep_best_beside()

    def _look_ahead(self) -> None:
        """Differences wide enough to stand clear of rounding, and no wider; inwards where a bound is near."""
        size = max(abs(self._value), 1e-10 * abs(self._first), 1e-290)
        width = 2 * np.sqrt(NOISE * size / np.maximum(self._curvature.diagonal(), 1e-290))
        self._width = np.clip(width, NARROWEST * np.maximum(1.0, np.abs(self._x)), NARROW)
        there = np.where(self._x + self._width > self._upper, self._x - self._width, self._x + self._width)
        self._want(AHEAD, np.where(self._eye, there, self._x))

    def _learn_ahead(self) -> None:
        """The gradient from one side, and what it says about the curvature along the step (BFGS)."""
        moved = self._points.diagonal() - self._x
        bend = self._curvature.diagonal()
        gradient = (self._values - self._value) / moved - 0.5 * moved * bend
        step, change = self._step, gradient - self._gradient
        expected = self._curvature @ step
        along, turn = float(step @ expected), float(step @ change)
        if along > 0:
            if turn < LEAST_TURN * along:
                # Curved the other way: damped, as Powell did it.
                part = 0.8 * along / (along - turn)
                change = part * change + (1 - part) * expected
                turn = float(step @ change)
            if turn > 0:
                self._curvature = (
                    self._curvature - np.outer(expected, expected) / along + np.outer(change, change) / turn)
        self._gradient = gradient
        self._fresh = self._sure = False
        self._keep_best_beside()

    def _keep_best_beside(self) -> None:
        best = int(self._values.argmin())
        self._beside, self._beside_value = self._points[best].copy(), float(self._values[best])

    def _turn(self) -> None:
        """Where it goes down most, as the curvature has it, along the bounds that it would leave."""
        x, gradient = self._x, self._gradient
        free = ~(((x <= self._lower) & (gradient > 0)) | ((x >= self._upper) & (gradient < 0)))
        if not free.any():
            self._begin()
            return
        direction = np.zeros(len(x))
        try:
            direction[free] = -np.linalg.solve(self._curvature[np.ix_(free, free)], gradient[free])
        except np.linalg.LinAlgError:
            self._fail(worthless=False)
            return
        promise = float(gradient @ direction)
        if not (math.isfinite(promise) and promise < 0):
            self._fail(worthless=False)
            return
        if -promise / 2 <= WORTHLESS * max(abs(self._value), 1e-3 * abs(self._first - self._value)):
            self._fail(worthless=True)
            return
        # No further than the whole interval of the start at once.
        scale = max(1.0, float(np.abs(direction).max()))
        self._direction, self._promise = direction / scale, promise / scale
        self._shortened = self._lengthened = 0
        self._try(1.0)

    def _try(self, length: float) -> None:
        self._length = length
        self._want(STEP, np.clip(self._x + length * self._direction, self._lower, self._upper)[None])

    def _judge_step(self, value: float) -> None:
        length = self._length
        if self._lengthened:
            if value >= self._reached_value:
                self._take_step()
                return
        elif not value < self._value + ENOUGH * length * self._promise:
            self._shortened += 1
            if self._shortened == SHORTER:
                self._fail(worthless=False)
                return
            # The bottom of the parabola through what is known.
            above = 2 * (value - self._value - length * self._promise)
            bottom = -self._promise * length * length / above if math.isfinite(above) and above > 0 else 0.0
            self._try(min(max(bottom, 0.1 * length), 0.5 * length))
            return
        self._reached, self._reached_value = self._points[0].copy(), value
        # Whose curvature is a guess may be far from the bottom.
        if self._fresh and not self._shortened and self._lengthened < LONGER:
            self._lengthened += 1
            self._try(3 * length)
        else:
            self._take_step()

    def _take_step(self) -> None:
        if self._beside_value < self._reached_value:
            self._reached, self._reached_value = self._beside, self._beside_value
        self._step = self._reached - self._x
        self._x, self._value = self._reached.copy(), self._reached_value
        self._failures = 0
        self._steps += 1
        self._look_ahead()

    def _fail(self, worthless: bool) -> None:
        """No step helped, or none was worth it: looks again from both sides, then with another width, then ends."""
        self._failures += 1
        self._failed += 1
        if self._beside_value < self._value:
            self._x, self._value = self._beside.copy(), self._beside_value
        if (
            self._failures >= (2 if self._fresh else 3)
            or (worthless and self._sure)
            or self._failed > 3 + self._steps // 8
        ):
            self._begin()
            return
        narrower = self._sure and self._fresh
        self._width = np.clip(self._width * (0.1 if narrower else 30.0), 1e-7, WIDE)
        self._look_around()


def _believable(bend: Vector, gradient: Vector) -> Vector:
    """Curvatures to begin with: above 0, and none absurdly flat."""
    up = bend > 0
    if not up.any():
        return np.full(len(bend), float(np.sqrt(gradient @ gradient)) / 0.2 + 1e-290)
    believed: Vector = np.maximum(np.where(up, bend, np.median(bend[up])), FLATTEST * bend[up].max())
    return believed
