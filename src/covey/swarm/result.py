# SPDX-License-Identifier: BSD-3-Clause
"""What an optimisation found: a mapping, as Playdoh's was, that also knows how it was found.

Why: `result["tau"]` is what most programs want, and a picture of the convergence is what most people want.

May not know: loops, slots. Guarantees: a value for each group, in an array, even for one group; the fitness has its
true sign; a group that found nothing has NaN (None where values are no numbers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.swarm.faults import Faults
from covey.swarm.history import History, wanted_module
from covey.swarm.picture import convergence
from covey.swarm.table import table_of

__all__ = ["Result", "print_results"]

FITNESS = "fitness"


@dataclass(frozen=True, slots=True, eq=False)
class Result(Mapping[str, Any]):
    """Parameter name → array of length `group_count`; and 'fitness'. Parameters without names are a matrix, 'x'.

    Attributes:
        best: the best group's parameters and fitness, each a single value.
        history: what happened in each iteration.
        evaluations: how many were made. seconds: how long that took.
        stopped_because: "iterations", "budget", "target", "ftol", "xtol", "timeout", "callback" or "interrupted".
        workers_used: how many slots took part; 0: everything ran in place, in the caller's process.
        faults: what raised, was NaN or infinite. seed: what gives this result again.
        feasible: for each group, whether its best meets the constraints.
        confirmed: whether that is the mean that noise= asks for; Ctrl-C before there is one gives what has been seen.

    >>> import covey
    >>> result = covey.minimize(lambda x: x * x, {"x": [-1, 1]}, seed=1, inline=True)
    >>> sorted(result), result["x"].shape, result.stopped_because, result.workers_used
    (['fitness', 'x'], (1,), 'iterations', 0)
    """

    columns: Mapping[str, Any]
    fitness: NDArray[np.float64]
    history: History
    evaluations: int
    seconds: float
    stopped_because: str
    workers_used: int
    faults: Faults
    seed: int
    feasible: NDArray[np.bool_]
    confirmed: NDArray[np.bool_]
    algorithm: str
    mode: str
    minimize: bool

    def __getitem__(self, name: str) -> Any:
        if name == FITNESS:
            return self.fitness
        try:
            return self.columns[name]
        except KeyError:
            raise KeyError(f"{name!r} is none of {', '.join(map(repr, self))}") from None

    def __iter__(self) -> Iterator[str]:
        yield from self.columns
        yield FITNESS

    def __len__(self) -> int:
        return len(self.columns) + 1

    # Arrays have no single truth: two results are equal if they are the same.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def group_count(self) -> int:
        """How many optimisations this was."""
        return len(self.fitness)

    @property
    def best(self) -> dict[str, Any]:
        """The best group's parameters and fitness; of groups that break constraints only if all do."""
        ranks = np.where(self.feasible | ~self.feasible.any(), self.fitness, np.nan)
        if np.isnan(ranks).all():
            group = 0
        else:
            group = int(np.nanargmin(ranks) if self.minimize else np.nanargmax(ranks))
        return {name: _single(self[name][..., group]) for name in self}

    def info(self) -> dict[str, Any]:
        """What `returninfo=True` gives beside the result: the same facts, by name."""
        names = ("history", "evaluations", "seconds", "stopped_because", "workers_used", "faults", "seed", "algorithm")
        return {name: getattr(self, name) for name in names}

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row for each group."""
        pandas = wanted_module("pandas", "to_frame()")
        columns: dict[str, Any] = {}
        for name in self:
            value = self[name]
            if value.ndim == 2:
                columns |= {f"{name}{number}": row for number, row in enumerate(value)}
            else:
                columns[name] = value
        return pandas.DataFrame(columns)

    def plot(self, axes: Any = None) -> Any:
        """The best value of each group over evaluations, drawn with matplotlib; returns the axes."""
        pyplot = wanted_module("matplotlib.pyplot", "plot()")
        if axes is None:
            axes = pyplot.figure().add_subplot()
        for group in range(self.group_count):
            axes.plot(self.history.evaluations[:, group], self.history.best[:, group], label=f"group {group}")
        axes.set_xlabel("evaluations")
        axes.set_ylabel("best fitness")
        if self.group_count > 1:
            axes.legend()
        return axes

    def __str__(self) -> str:
        where = "in place" if not self.workers_used else f"on {self.workers_used} slot{'s' * (self.workers_used != 1)}"
        what = "minimum" if self.minimize else "maximum"
        first = (
            f"{what} by {self.algorithm!r}, {self.evaluations:,} evaluations {where} in {self.seconds:.3g} s, "
            f"stopped because of {self.stopped_because}, seed {self.seed}"
        )
        lines = [first]
        faults = self.faults
        if faults.total:
            lines.append(f"of these {faults.raised} raised, {faults.nan} gave NaN, {faults.infinite} were infinite")
        if not self.feasible.all():
            lines.append(f"{int((~self.feasible).sum())} of {self.group_count} groups found nothing that is allowed")
        if not self.confirmed.all():
            lines.append(f"{int((~self.confirmed).sum())} of {self.group_count} groups have a best that is unconfirmed")
        return "\n".join([*lines, table_of(self, 4, 16)])

    def __repr__(self) -> str:
        return f"<covey.swarm.Result: fitness {np.array2string(self.fitness, threshold=6)}, {self.stopped_because}>"

    def _repr_html_(self) -> str:
        from html import escape

        picture = convergence(self.history.evaluations, self.history.best)
        return f"<div><pre>{escape(str(self))}</pre>{picture}</div>"


def print_results(results: Mapping[str, Any], precision: int = 4, colwidth: int = 16) -> None:
    """Prints a table: a row for each parameter by name, the fitness last, a column for each group.

    >>> import covey
    >>> covey.print_results({"x": [1.5, 2.5], "fitness": [3.0, 4.0]}, colwidth=8)
    RESULTS  Group 0 Group 1
    -------------------------
    x        1.5     2.5
    fitness  3       4
    """
    print(table_of(results, precision, colwidth))  # noqa: T201  printing is what it is for


def _single(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.item() if value.ndim == 0 else value.copy()
    return value.item() if isinstance(value, np.generic) else value
