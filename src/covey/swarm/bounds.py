# SPDX-License-Identifier: BSD-3-Clause
"""What a user says about parameters, read: a D × 2 array, names with intervals, or `Real`, `Integer` and `Choice`.

Why: bounds arrive in five forms and with every mistake there is; behind this file there is one form, a `Range` for
each parameter, and no mistake left.

May not know: the inner coordinates in which algorithms search. Guarantees: whatever is refused is refused with the
parameter's name, in one sentence that says what would be right.
"""
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

# Positions must be representable, and so must their squares' logarithms: nothing may be larger than this.
LARGEST = 1e150
# Up to here a float holds every whole number.
WHOLE = 2**53


@dataclass(frozen=True, slots=True)
class Real:
    """A number from `lo` to `hi`; `log` searches its logarithm, `init` is the interval in which the search starts.

    >>> Real(1e-6, 1.0, log=True)
    Real(lo=1e-06, hi=1.0, log=True, init=None)
    """

    lo: float
    hi: float
    log: bool = False
    init: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from `lo` to `hi`, both included; the function gets an int64.

    >>> Integer(1, 12)
    Integer(lo=1, hi=12)
    """

    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `values`. A vector of positions holds its number, a column of the function's arguments the value.

    Neighbours are searched together, so values that have an order should stand in it.

    >>> Choice(["tanh", "relu"]).values[1]
    'relu'
    """

    values: Sequence[object]


@dataclass(frozen=True, slots=True)
class Range:
    """One parameter, checked. Bounds may be infinite, the interval of the start never; `values` only for a Choice."""

    kind: str       # "real", "log", "integer", "choice"
    lower: float
    upper: float
    init_lower: float
    init_upper: float
    values: tuple[object, ...] = ()

    def __str__(self) -> str:
        """As it could have been given."""
        if self.kind == "choice":
            return f"Choice({list(self.values)!r})"
        lower, start, end, upper = map(_exactly, (self.lower, self.init_lower, self.init_upper, self.upper))
        if self.kind == "integer":
            return f"Integer({lower}, {upper})"
        if self.kind == "log":
            return f"Real({lower}, {upper}, log=True, init=({start}, {end}))"
        return f"[{start}, {end}]" if lower == "-inf" and upper == "inf" else f"[{lower}, {start}, {end}, {upper}]"


Parameter: TypeAlias = "Real | Integer | Choice | Sequence[float]"


def read_bounds(bounds: object) -> tuple[tuple[str, ...] | None, tuple[Range, ...]]:
    """The names (None where there are none) and the ranges of what a user gave as bounds."""
    if isinstance(bounds, Mapping):
        if not bounds:
            raise ValueError("there are no parameters to optimise: give at least one name with its interval")
        for name in bounds:
            if not isinstance(name, str):
                raise TypeError(f"names of parameters are strings, and {name!r} is of type {type(name).__name__}")
        return tuple(bounds), tuple(_read(f"parameter {name!r}", value, hard=False) for name, value in bounds.items())
    if isinstance(bounds, (list, tuple)) and any(isinstance(row, (Real, Integer, Choice)) for row in bounds):
        return None, tuple(_read(f"row {number} of the bounds", row, hard=True) for number, row in enumerate(bounds))
    return None, _read_array(bounds)


def _read_array(bounds: object) -> tuple[Range, ...]:
    form = "bounds are an array of one row [lo, hi] for each parameter, or a dict {name: [lo, hi]}"
    try:
        rows = np.asarray(bounds, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{form}, not {bounds!r}") from None
    if rows.size == 0:
        raise ValueError(f"there are no parameters to optimise: {form}")
    if rows.ndim == 2 and rows.shape[1] == 4:
        return tuple(_read(f"row {number} of the bounds", row, hard=True) for number, row in enumerate(rows))
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(f"{form}, and this one has the shape {rows.shape}")
    return tuple(
        _read(f"row {number} of the bounds", (float(lo), float(hi)), hard=True) for number, (lo, hi) in enumerate(rows)
    )


def _read(where: str, given: object, *, hard: bool) -> Range:
    if isinstance(given, Choice):
        if not isinstance(given.values, Iterable):
            raise TypeError(f"{where}: a Choice wants a list, such as Choice(['a', 'b']), not {given.values!r}")
        values = tuple(given.values)
        if len(values) < 2:
            raise ValueError(f"{where} is a Choice of {len(values)}: there must be two values at least")
        return Range("choice", 0.0, len(values) - 1.0, 0.0, len(values) - 1.0, values)
    if isinstance(given, Integer):
        if any(math.isfinite(end) and int(end) != end for end in (_number(where, given.lo), _number(where, given.hi))):
            raise ValueError(f"{where}: the ends of an Integer are whole numbers, not {given.lo!r} and {given.hi!r}")
        if any(WHOLE < abs(end) < math.inf for end in (given.lo, given.hi)):
            raise ValueError(f"{where}: whole numbers beyond 2**53 cannot be told from their neighbours; use Real")
        return _checked(where, "integer", (given.lo, given.lo, given.hi, given.hi))
    if isinstance(given, Real):
        if not isinstance(given.log, (bool, np.bool_)):
            raise TypeError(f"{where}: log is True or False, not {given.log!r}")
        start = (given.lo, given.hi) if given.init is None else given.init
        if isinstance(start, str) or not hasattr(start, "__len__") or len(start) != 2:
            raise ValueError(f"{where}: init is the pair (init_lo, init_hi), not {given.init!r}")
        return _checked(where, "log" if given.log else "real", (given.lo, *start, given.hi))
    form = f"{where} wants [init_lo, init_hi], [lo, init_lo, init_hi, hi], Real, Integer or Choice"
    if isinstance(given, str) or not isinstance(given, (Sequence, np.ndarray)):
        raise TypeError(f"{form}, not {given!r}")
    if len(given) == 2:
        lo, hi = given
        return _checked(where, "real", (lo, lo, hi, hi) if hard else (-math.inf, lo, hi, math.inf))
    if len(given) == 4:
        return _checked(where, "real", tuple(given))
    raise ValueError(f"{form}, and this has {len(given)} numbers")


def _exactly(number: float) -> str:
    """All its digits, and no '.0' behind a whole number."""
    return repr(number).removesuffix(".0")


def _number(where: str, value: object) -> float:
    try:
        number = float(value)   # type: ignore[arg-type]  # what is no number raises, and is named
    except (TypeError, ValueError):
        raise TypeError(f"{where}: bounds are numbers, not {value!r}") from None
    if math.isnan(number):
        raise ValueError(f"{where}: a bound is NaN")
    return number


def _checked(where: str, kind: str, ends: tuple[object, ...]) -> Range:
    lower, init_lower, init_upper, upper = (_number(where, end) for end in ends)
    if init_lower == init_upper or lower == upper:
        raise ValueError(f"{where}: both ends are {init_lower:g}; leave out what is not to be optimised")
    if init_lower > init_upper or lower > upper:
        pair = (lower, upper) if lower > upper else (init_lower, init_upper)
        raise ValueError(f"{where}: the bounds are swapped: {pair[0]:g} is above {pair[1]:g}")
    if not (math.isfinite(init_lower) and math.isfinite(init_upper)):
        raise ValueError(
            f"{where}: the search must start in finite bounds, not in [{init_lower:g}, {init_upper:g}]; where "
            "there are no bounds, give [lo, init_lo, init_hi, hi]"
        )
    if init_lower < lower or init_upper > upper:
        raise ValueError(f"{where}: the search starts in [{init_lower:g}, {init_upper:g}], which leaves the bounds "
                         f"[{lower:g}, {upper:g}]")
    if any(math.isfinite(end) and abs(end) > LARGEST for end in (lower, upper)) or init_upper - init_lower > LARGEST:
        raise ValueError(f"{where}: bounds beyond {LARGEST:g} leave no room to compute in; use other units")
    if kind == "log" and min(lower, init_lower) <= 0:
        raise ValueError(f"{where}: log=True wants bounds above 0, and the lower one is {min(lower, init_lower):g}")
    if init_lower + (init_upper - init_lower) / 2 in (init_lower, init_upper):
        raise ValueError(f"{where}: there is no number between {init_lower!r} and {init_upper!r}")
    return Range(kind, lower, upper, init_lower, init_upper)
