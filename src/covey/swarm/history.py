# SPDX-License-Identifier: BSD-3-Clause
"""What happened in each iteration: the best so far, the mean and spread of its values, evaluations, time.

Why: convergence is judged by looking at it.

May not know: loops, algorithms. Guarantees: a row for each iteration, a column for each group; mean and spread are of
the finite values of that iteration that meet the constraints, NaN where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["History", "mean_and_spread"]

Vector = NDArray[np.float64]


def mean_and_spread(
    values: Vector, violations: Vector | None = None, *, clean: bool = False
) -> tuple[float, float]:
    """Of what is finite and meets the constraints; (nan, nan) of nothing. `clean`: that is known to be all of it.

    >>> mean_and_spread(np.array([1.0, 3.0, np.nan]))
    (2.0, 1.0)
    """
    if not clean:
        keep = np.isfinite(values)
        if violations is not None:
            keep &= violations <= 0.0
        values = values[keep]
        if not len(values):
            return float("nan"), float("nan")
    # Of the largest numbers there are, the mean may be infinite: that is no reason to warn.
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.add.reduce(values)) / len(values)
        beside = values - mean
        return mean, math.sqrt(float(beside.dot(beside)) / len(beside))


class History:
    """Arrays with a row for each iteration; all but `time` have a column for each group.

    Attributes:
        best: the best value so far. mean, spread: of the values of the iteration.
        evaluations: made so far. time: seconds since the beginning.

    >>> history = History(groups=1)
    >>> history.add(np.array([2.0]), [1.0], [0.5], np.array([20]), 0.1)
    >>> len(history), history.best.tolist()
    (1, [[2.0]])
    """

    def __init__(self, groups: int) -> None:
        self._groups = groups
        self._best: list[Vector] = []
        self._mean: list[list[float]] = []
        self._spread: list[list[float]] = []
        self._evaluations: list[NDArray[np.int64]] = []
        self._time: list[float] = []

    def add(
        self, best: Vector, mean: list[float], spread: list[float], evaluations: NDArray[np.int64], time: float
    ) -> None:
        """One more iteration."""
        self._best.append(best.copy())
        self._mean.append(mean)
        self._spread.append(spread)
        self._evaluations.append(evaluations.copy())
        self._time.append(time)

    def __len__(self) -> int:
        return len(self._time)

    @property
    def best(self) -> Vector:
        """The best value so far."""
        return np.array(self._best, dtype=np.float64).reshape(-1, self._groups)

    @property
    def mean(self) -> Vector:
        """The mean of the values of each iteration."""
        return np.array(self._mean, dtype=np.float64).reshape(-1, self._groups)

    @property
    def spread(self) -> Vector:
        """The standard deviation of the values of each iteration."""
        return np.array(self._spread, dtype=np.float64).reshape(-1, self._groups)

    @property
    def evaluations(self) -> NDArray[np.int64]:
        """Evaluations made so far."""
        return np.array(self._evaluations, dtype=np.int64).reshape(-1, self._groups)

    @property
    def time(self) -> Vector:
        """Seconds since the beginning."""
        return np.array(self._time, dtype=np.float64)

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row for each iteration and group."""
        pandas = wanted_module("pandas", "to_frame()")
        iterations, groups = np.indices((len(self), self._groups)).reshape(2, -1)
        columns = {name: getattr(self, name).ravel() for name in ("best", "mean", "spread", "evaluations")}
        return pandas.DataFrame(
            {"iteration": iterations + 1, "group": groups, **columns, "time": np.repeat(self.time, self._groups)}
        )

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {name: getattr(self, name) for name in ("best", "mean", "spread", "evaluations", "time")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """As it was then."""
        self._best, self._evaluations = list(np.array(state["best"])), list(np.array(state["evaluations"]))
        self._mean, self._spread = np.array(state["mean"]).tolist(), np.array(state["spread"]).tolist()
        self._time = np.array(state["time"]).tolist()


def wanted_module(name: str, call: str) -> Any:
    """An optional module, or a sentence that says how to get it."""
    try:
        return import_module(name)
    except ImportError:
        top = name.partition(".")[0]
        raise ModuleNotFoundError(f"{call} needs {top}, which is not installed: pip install {top}", name=name) from None
