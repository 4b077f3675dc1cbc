# SPDX-License-Identifier: BSD-3-Clause
"""The rule of feasibility, folded into one number that any algorithm can compare.

Why: an algorithm is told one value a particle and remembers some for long. So what it is told must compare in the same
way for ever: feasible ones by value, others behind all of them, by how far they are from being allowed (Deb 2000).

May not know: algorithms. Guarantees: NaN for whatever is no finite number, so that nothing infinite is told; squares of
what is told do not overflow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["better", "told"]

Vector = NDArray[np.float64]

# Where what is forbidden begins, and squares of what is told are still numbers.
OUTSIDE = 1e100
# From where on values, and violations, are told by their logarithms. So the worst allowed value, 1.8e308, is told as
# less than OUTSIDE, and no violation goes beyond what can be squared.
STEEP, FARTHEST = 1e97, 1e40


def told(values: Vector, violations: Vector | None, minimize: bool) -> Vector:
    """What an algorithm is told.

    >>> told(np.array([3.0, 1.0, np.inf]), np.array([0.0, 1.0, 0.0]), True).tolist()
    [3.0, 2e+100, nan]
    """
    if violations is None:
        return values if np.isfinite(values).all() else np.where(np.isfinite(values), values, np.nan)
    sign = 1.0 if minimize else -1.0
    outside = OUTSIDE * (1.0 + _bent(violations, FARTHEST))
    result: Vector = sign * np.where(violations > 0.0, outside, _bent(sign * values, STEEP))
    bad = ~np.isfinite(values) | ~np.isfinite(violations)
    result[bad] = np.nan
    return result


def _bent(numbers: Vector, beyond: float) -> Vector:
    """The same numbers in the same order, but those `beyond` grow as their logarithms do."""
    far = (numbers > beyond) & np.isfinite(numbers)
    if not far.any():
        return numbers
    bent = numbers.copy()
    bent[far] = beyond * (1.0 + np.log(numbers[far] / beyond))
    return bent


def better(value: float, violation: float, than: float, its_violation: float, minimize: bool) -> bool:
    """Whether a finding beats another; NaN is beaten by everything else.

    >>> better(1.0, 0.0, float("nan"), 0.0, False), better(9.0, 0.1, 1.0, 0.0, False)
    (True, False)
    """
    if value != value:
        return False
    if than != than:
        return True
    if violation != its_violation:
        return violation < its_violation
    return value < than if minimize else value > than
