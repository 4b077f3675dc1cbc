# SPDX-License-Identifier: BSD-3-Clause
"""The area under the ECDF of hit targets, and how sure a difference of two areas is.

Why: one number for "how good how soon" that weighs the first evaluations as much as the last: 51 targets 1e2 … 1e-8
above the optimum, each scored by how early it was hit on a logarithmic axis from D evaluations (1) to the budget
(0).

May not know: problems, optimisers. Guarantees: pairs are of the same problem; the bootstrap is seeded.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["TARGETS", "area", "paired"]

TARGETS = 10.0 ** np.linspace(2, -8, 51)


def area(improved: Sequence[tuple[int, float]], dimension: int, budget: int) -> float:
    """The mean over the targets of how early each was hit."""
    if not improved:
        return 0.0
    when = np.array([count for count, _ in improved], dtype=float)
    value = np.array([found for _, found in improved])
    # Values fall, so the first improvement at or below each target is found from behind.
    first = np.searchsorted(-value, -TARGETS, side="left")
    hit = first < len(value)
    times = np.maximum(when[np.minimum(first, len(value) - 1)], dimension)
    early = np.where(hit, 1 - np.log(times / dimension) / np.log(budget / dimension), 0.0)
    return float(early.mean())


def paired(ours: Sequence[float], theirs: Sequence[float], draws: int = 4000) -> tuple[float, float, float]:
    """The mean difference with its 95 % interval, by resampling problems."""
    difference = np.asarray(ours) - np.asarray(theirs)
    rng = np.random.default_rng(12345)
    means = difference[rng.integers(0, len(difference), (draws, len(difference)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)
