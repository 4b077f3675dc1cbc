# SPDX-License-Identifier: BSD-3-Clause
"""What a slot does for `optimize()`: a few chunks of particles, evaluated and checked.

Why: what a fitness returns is anybody's guess until it was looked at, and the slot is where a wrong answer can be told
from a right one before it travels.

May not know: clients, algorithms, signs. Guarantees: each chunk is one call of the fitness, so the same chunks give the
same bits wherever they run; a chunk that raises is looked at particle by particle, so one bad particle costs
one value; what is no list of real numbers of the right length is BadFitness, by a sentence.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey import slot
from covey.errors import BadFitness
from covey.swarm.fitness import Fitness

__all__ = ["Evaluation", "Outcome", "numbers_of"]

Vector = NDArray[np.float64]


@dataclass(slots=True)
class Outcome:
    """What became of some particles, in their order. NaN stands where a call raised."""

    values: Vector
    # How far a particle is from what the constraints allow; None where there are none.
    violations: Vector | None
    # Of particles that raised, and how the first of them did.
    raised: int
    first_error: str
    seconds: float
    # The slot, so that the caller can count them; None in the caller's own process.
    who: tuple[str, int] | None


class Evaluation:
    """The fitness and the constraints, called chunk by chunk."""

    __slots__ = ("constraints", "fitness", "forgiving")

    def __init__(self, fitness: Fitness, constraints: Sequence[Fitness], forgiving: bool) -> None:
        self.fitness = fitness
        self.constraints = tuple(constraints)
        self.forgiving = forgiving

    def __call__(self, positions: Vector, groups: NDArray[np.int64], cuts: Sequence[int]) -> Outcome:
        """Particles whose chunks end at `cuts`; raises what the fitness raised if no particle was spared."""
        began = perf_counter()
        count = len(positions)
        values = np.empty(count)
        violations = np.empty(count) if self.constraints else None
        raised, first = 0, ""
        error: Exception | None = None
        start = 0
        for stop in cuts:
            try:
                self._chunk(positions, groups, start, stop, values, violations)
            except BadFitness:
                raise
            except Exception as fault:
                if not self.forgiving:
                    raise
                if stop - start == 1:
                    failed, error = 1, error or fault
                    values[start] = np.nan
                else:
                    failed, spared = self._singly(positions, groups, start, stop, values, violations)
                    error = error or spared
                if failed and not first and error is not None:
                    first = "".join(traceback.format_exception(error)).rstrip()
                raised += failed
            start = stop
        if raised == count and error is not None:
            raise error
        where = None if slot.number is None else (os.uname().nodename, os.getpid())
        return Outcome(values, violations, raised, first, perf_counter() - began, where)

    def _chunk(
        self, positions: Vector, groups: NDArray[np.int64], start: int, stop: int, values: Vector,
        violations: Vector | None
    ) -> None:
        here, mine = positions[start:stop], groups[start:stop]
        if violations is not None:
            total = np.zeros(stop - start)
            for constraint in self.constraints:
                with np.errstate(invalid="ignore"):
                    total += np.maximum(self._called(constraint, here, mine), 0.0)
            # A constraint that cannot be computed is not met.
            violations[start:stop] = np.where(np.isnan(total), np.inf, total)
        values[start:stop] = self._called(self.fitness, here, mine)

    def _singly(
        self, positions: Vector, groups: NDArray[np.int64], start: int, stop: int, values: Vector,
        violations: Vector | None
    ) -> tuple[int, Exception | None]:
        failed, first = 0, None
        for row in range(start, stop):
            try:
                self._chunk(positions, groups, row, row + 1, values, violations)
            except BadFitness:
                raise
            except Exception as fault:
                first = first or fault
                failed += 1
                values[row] = np.nan
                if violations is not None:
                    violations[row] = np.inf
        return failed, first

    def _called(self, fitness: Fitness, positions: Vector, groups: NDArray[np.int64]) -> Vector:
        if fitness.vectorized:
            return numbers_of(fitness(positions, groups), len(positions), fitness.name)
        calls: list[Callable[[], Any]] = fitness.call_each(positions, groups)
        return np.array([_number_of(call(), fitness.name) for call in calls])


def numbers_of(returned: Any, count: int, name: str) -> Vector:
    """What a fitness returned for `count` particles, as real numbers; BadFitness says what it is instead.

    >>> numbers_of([1, 2.5], 2, "f")
    array([1. , 2.5])
    """
    array = _real(returned, name)
    if array.shape == (count,) or (count == 1 and array.size == 1):
        return array.reshape(count)
    if array.ndim == 0:
        raise BadFitness(
            f"{name}() returned a single value for {count} particles: it must return one for each, or be declared "
            "with vectorized=False"
        )
    got = f"{len(array)} values" if array.ndim == 1 else f"an array of shape {array.shape}"
    raise BadFitness(f"{name}() returned {got} for {count} particles: it must return one value for each")


def _number_of(returned: Any, name: str) -> float:
    if type(returned) is float:
        return returned
    array = _real(returned, name)
    if array.size != 1:
        raise BadFitness(
            f"{name}() returned {array.size} values for one particle (vectorized=False): it must return a single number"
        )
    return float(array.reshape(()))


def _real(returned: Any, name: str) -> Vector:
    if type(returned) is np.ndarray and returned.dtype == np.float64:
        found: Vector = returned
        return found
    if returned is None:
        raise BadFitness(f"{name}() returned None: it must return one number for each particle (is a return missing?)")
    try:
        array = np.asarray(returned)
    except ValueError:
        raise BadFitness(f"{name}() returned {type(returned).__name__} of uneven parts: numbers are needed") from None
    if array.dtype.kind == "c":
        raise BadFitness(f"{name}() returned complex numbers, which have no order: return abs() or a real part of them")
    if array.dtype.kind not in "biuf":
        what = "strings" if array.dtype.kind in "US" else f"values of type {array.dtype}"
        if array.dtype.kind == "O" and array.size:
            what = f"values of type {type(array.flat[0]).__name__}"
        raise BadFitness(f"{name}() returned {what}: it must return one real number for each particle")
    numbers: Vector = array.astype(np.float64)
    return numbers
