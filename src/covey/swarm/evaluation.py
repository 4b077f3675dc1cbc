# SPDX-License-Identifier: BSD-3-Clause
"""What a slot does for `optimize()`: a few chunks of particles, evaluated and checked.

Why: what a fitness returns is anybody's guess until it was looked at, and the slot is where a wrong answer can be told
from a right one before it travels.

May not know: clients, algorithms, signs. Guarantees: each chunk is one call of the fitness, so the same chunks give the
same bits wherever they run; what raises is cut into the problem's chunks and then into particles, so one bad particle
costs one value, wherever it was; what is no list of real numbers of the right length is BadFitness, by a sentence.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.errors import BadFitness
from covey.swarm.chunks import counted, ends_of
from covey.swarm.faults import Company, Fault
from covey.swarm.fitness import Fitness

__all__ = ["Evaluation", "Outcome"]

Vector = NDArray[np.float64]

_HOST = os.uname().nodename


@dataclass(slots=True)
class Outcome:
    """What became of some particles, in their order. NaN stands where a call raised."""

    values: Vector
    # How far a particle is from what the constraints allow; None where there are none.
    violations: Vector | None
    # Of particles that raised, and how the first of them did.
    raised: int
    fault: Fault | None
    seconds: float
    # Host, process and thread: so that the caller can count whoever took part.
    who: tuple[str, int, int]
    # All values are finite; the caller looks.
    clean: bool = False
    company: Company = field(default_factory=Company)


class Evaluation:
    """The fitness and the constraints, called chunk by chunk."""

    __slots__ = ("chunk", "constraints", "exact", "fitness", "forgiving")

    def __init__(
        self, fitness: Fitness, constraints: Sequence[Fitness], forgiving: bool, chunk: int, *, exact: bool = True
    ) -> None:
        self.fitness = fitness
        self.constraints = tuple(constraints)
        self.forgiving = forgiving
        # Particles in a chunk of the problem, and whether none may have one more. Several chunks may be called at once
        # where that is cheaper.
        self.chunk = chunk
        self.exact = exact

    def __call__(self, positions: Vector, groups: NDArray[np.int64], cuts: Sequence[int]) -> Outcome:
        """Particles whose chunks end at `cuts`; raises what the fitness raised if no particle was spared."""
        began = perf_counter()
        count = len(positions)
        values = np.empty(count)
        violations = np.zeros(count) if self.constraints else None
        failed, error = 0, None
        company = Company()
        if self.fitness.vectorized:
            start = 0
            for stop in cuts:
                more, fault = self._chunk(positions, groups, start, stop, values, violations, company)
                failed, error, start = failed + more, error or fault, stop
        else:
            failed, error = self._each(positions, groups, values, violations)
        if error is not None and failed == count:
            raise error
        if not self.forgiving:
            self._require_finite(positions, values)
        who = (_HOST, os.getpid(), threading.get_ident())
        first = None if error is None else Fault.of(error)
        return Outcome(values, violations, failed, first, perf_counter() - began, who, company=company)

    def _chunk(
        self, positions: Vector, groups: NDArray[np.int64], start: int, stop: int, values: Vector,
        violations: Vector | None, company: Company
    ) -> tuple[int, Exception | None]:
        """One call of the fitness; how many particles of it failed, and how the first did."""
        here, mine = positions[start:stop], groups[start:stop]
        try:
            if violations is not None:
                limits = [numbers_of(each(here, mine), stop - start, each.told) for each in self.constraints]
                violations[start:stop] = _beyond(limits)
            values[start:stop] = numbers_of(self.fitness(here, mine), stop - start, self.fitness.told)
            company.kept = company.kept or stop - start > 1
            return 0, None
        except BadFitness:
            raise
        except Exception as fault:
            if not self.forgiving:
                raise
            values[start:stop] = np.nan
            count = stop - start
            if count == 1:
                return 1, fault
            # First as it would have been cut elsewhere: the neighbours of what raised keep their bits.
            parts = ends_of(count, self.chunk, exact=self.exact)
            ends = [start + end for end in (parts if len(parts) > 1 else ends_of(count, 1))]
            starts = [start, *ends[:-1]]
            outcomes = [
                self._chunk(positions, groups, first, end, values, violations, company)
                for first, end in zip(starts, ends, strict=True)
            ]
            if not any(type(error) is type(fault) for _, error in outcomes):
                company.lost = company.lost or Fault.of(fault)
            return sum(failed for failed, _ in outcomes), next((error for _, error in outcomes if error), None)

    def _each(
        self, positions: Vector, groups: NDArray[np.int64], values: Vector, violations: Vector | None
    ) -> tuple[int, Exception | None]:
        """A function of one particle, called for each."""
        failed, first = 0, None
        name = self.fitness.told
        function, calls = self.fitness.call_each(positions, groups)
        limits = [(constraint.told, *constraint.call_each(positions, groups)) for constraint in self.constraints]
        for row, (args, named) in enumerate(calls):
            try:
                if violations is not None:
                    beyond = [
                        np.array([number_of(limit(*its[row][0], **its[row][1]), called)])
                        for called, limit, its in limits
                    ]
                    violations[row] = _beyond(beyond)[0]
                values[row] = number_of(function(*args, **named), name)
            except BadFitness:
                raise
            except Exception as fault:
                if not self.forgiving:
                    raise
                values[row] = np.nan
                failed, first = failed + 1, first or fault
        return failed, first

    def _require_finite(self, positions: Vector, values: Vector) -> None:
        """BadFitness that names the first particle whose value is no number; on_error='raise' wants it."""
        bad = np.flatnonzero(~np.isfinite(values))
        if not len(bad):
            return
        at, space = bad[:1], self.fitness.space
        place = positions[at[0]].tolist() if space.names is None else {
            name: column.tolist()[0] for name, column in space.columns(positions[at]).items()
        }
        more = f" (and no finite number for {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise BadFitness(
            f"{self.fitness.told} returned {values[at[0]]} for the particle {place}{more}: return finite numbers, or "
            "leave out on_error='raise', so that such values count as the worst there is"
        )


def _beyond(limits: Sequence[Vector]) -> Vector:
    """How far particles are from g <= 0 for every constraint; infinitely far where one cannot be computed."""
    total: Vector = np.sum([np.maximum(limit, 0.0) for limit in limits], axis=0)
    return np.where(np.isnan(total), np.inf, total)


def numbers_of(returned: Any, count: int, name: str) -> Vector:
    """What a fitness returned for `count` particles, as real numbers; BadFitness says what it is instead.

    >>> numbers_of([1, 2.5], 2, "f()")
    array([1. , 2.5])
    """
    array = _real(returned, name)
    if array.shape == (count,) or (count == 1 and array.size == 1):
        return array.reshape(count)
    if array.ndim == 0:
        raise BadFitness(
            f"{name} returned a single value for {count} particles: it must return one for each, or be declared "
            "with vectorized=False"
        )
    got = counted(len(array), "value") if array.ndim == 1 else f"an array of shape {array.shape}"
    many = counted(count, "particle")
    raise BadFitness(f"{name} returned {got} for {many}: it must return one value for each")


def number_of(returned: Any, name: str) -> float:
    if isinstance(returned, float):
        return returned
    array = _real(returned, name)
    if array.size != 1:
        raise BadFitness(
            f"{name} returned {array.size} values for one particle (vectorized=False): it must return a single number"
        )
    return float(array.reshape(()))


def _real(returned: Any, name: str) -> Vector:
    if type(returned) is np.ndarray and returned.dtype == np.float64:
        found: Vector = returned
        return found
    if returned is None:
        raise BadFitness(f"{name} returned None: it must return one number for each particle (is a return missing?)")
    try:
        # What is masked is not known, so it is no number; the values under a mask are anything.
        array = np.ma.filled(returned.astype(np.float64), np.nan) if np.ma.isMA(returned) else np.asarray(returned)
    except ValueError:
        raise BadFitness(f"{name} returned {type(returned).__name__} of uneven parts: numbers are needed") from None
    if array.dtype.kind == "c":
        raise BadFitness(f"{name} returned complex numbers, which have no order: return abs() or a real part of them")
    if array.dtype.kind == "O" and array.size and all(isinstance(value, (Real, Decimal)) for value in array.flat):
        # Fractions, decimals and whole numbers beyond 64 bits.
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        what = "strings" if array.dtype.kind in "US" else f"values of type {array.dtype}"
        if array.dtype.kind == "O" and array.size:
            what = f"values of type {type(array.flat[0]).__name__}"
        raise BadFitness(f"{name} returned {what}: it must return one real number for each particle")
    numbers: Vector = array.astype(np.float64)
    return numbers
