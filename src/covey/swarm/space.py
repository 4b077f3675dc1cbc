# SPDX-License-Identifier: BSD-3-Clause
"""The search space: named or nameless parameters, and the inner coordinates in which algorithms search.

Why: an algorithm should meet one kind of parameter. Inside, the interval of the start is [0, 1] for every
parameter, a logarithm is a length like any other, and a whole number is a cell of width `grain`. So a step means
the same in each direction, and no algorithm knows units.

May not know: algorithms. Guarantees: what `decode` gives lies within the bounds and is finite, for any inner
position whatever; the same inner position gives the same bits, so what was evaluated is what is remembered.
"""
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.swarm.bounds import LARGEST, Choice, Integer, Range, Real, read_bounds
from covey.swarm.draws import Vector
from covey.swarm.units import measure

__all__ = ["Choice", "Integer", "Real", "Space"]

# So many widths of its first interval a parameter without bounds may move. Squares of it must stay finite.
REACH = 1e30
# exp() of more than this is beyond LARGEST.
LOG_REACH = 345.0


class Space:
    """The parameters and their bounds; `Space.of` reads every form that `optimize` takes.

    >>> space = Space.of({"tau": Real(1e-3, 1.0, log=True), "n": Integer(1, 9)})
    >>> space.names, space.dimension
    (('tau', 'n'), 2)
    >>> space.columns(space.decode(space.encode([[0.5, 3]])))["n"]
    array([3])
    """

    def __init__(self, names: tuple[str, ...] | None, ranges: tuple[Range, ...]) -> None:
        self.names = names
        self.ranges = ranges
        self.dimension = len(ranges)
        self.lower, self.upper = _column(ranges, "lower"), _column(ranges, "upper")
        self.init_lower, self.init_upper = _column(ranges, "init_lower"), _column(ranges, "init_upper")
        self._log = np.array([r.kind == "log" for r in ranges])
        self._whole = np.array([r.kind in ("integer", "choice") for r in ranges])
        self._any_log = bool(self._log.any())
        # Logarithms are bounded when they are none any more; before, exp of them must be a number.
        self._least = np.where(self._log, -np.inf, self.lower)
        self._most = np.where(self._log, LOG_REACH, self.upper)
        start, end = self._stretched(self.init_lower, -0.5), self._stretched(self.init_upper, 0.5)
        self._offset, self._scale = start, end - start
        # The inner world: bounds of inner positions, and the width of a cell (0 where every position is one).
        self.inner_lower = self._inner_bound(self._stretched(self.lower, -0.5), -1.0)
        self.inner_upper = self._inner_bound(self._stretched(self.upper, 0.5), 1.0)
        self.grain: Vector = np.where(self._whole, 1.0 / self._scale, 0.0)

    @classmethod
    def of(cls, bounds: object) -> "Space":
        """The space that a D × 2 array, a dict of intervals, or a list of `Real`, `Integer` and `Choice` describes."""
        return bounds if isinstance(bounds, Space) else cls(*read_bounds(bounds))

    def decode(self, inner: Vector) -> Vector:
        """Positions in the user's units, of shape (n, D), for inner ones."""
        x: Vector = np.empty((len(inner), self.dimension))
        measure(x, inner, self._scale, self._offset, self._whole, self._least, self._most)
        if self._any_log:
            x[:, self._log] = np.clip(np.exp(x[:, self._log]), self.lower[self._log], self.upper[self._log])
        return x

    def encode(self, positions: Any) -> Vector:
        """Inner positions for those in the user's units; what lies outside the bounds is moved onto them."""
        x = np.array(positions, dtype=np.float64, ndmin=2)
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise ValueError(f"positions have the shape (n, {self.dimension}), one row each, not {x.shape}")
        if np.isnan(x).any():
            raise ValueError("a position holds NaN")
        np.clip(x, self.lower, self.upper, out=x)
        if self._any_log:
            x[:, self._log] = np.log(np.maximum(x[:, self._log], 1.0 / LARGEST))
        inner: Vector = np.clip((x - self._offset) / self._scale, self.inner_lower, self.inner_upper)
        return inner

    def columns(self, positions: Vector) -> dict[str, NDArray[Any]]:
        """A vector for each name, over the rows of `positions`, holding the user's own values."""
        names = self.names or tuple(f"x{number}" for number in range(self.dimension))
        return {name: self._values(number, positions[:, number]) for number, name in enumerate(names)}

    def _values(self, number: int, column: Vector) -> NDArray[Any]:
        kind = self.ranges[number].kind
        if kind == "integer":
            return column.astype(np.int64)
        if kind == "choice":
            values = np.empty(len(column), dtype=object)
            for row, index in enumerate(column):
                values[row] = self.ranges[number].values[int(index)]
            return values
        # A copy, contiguous: a fitness that writes into its argument must not change what the swarm remembers.
        return np.array(column)

    def matrix(self, positions: Vector) -> Vector:
        """Positions as a fitness with one row for each parameter wants them: of shape (D, n), contiguous."""
        return np.array(positions.T, order="C")

    def state(self) -> dict[str, Any]:
        """What `from_state` rebuilds the space from. Values of a Choice are in it as they are."""
        return {
            "names": None if self.names is None else list(self.names),
            "ranges": [
                {"kind": r.kind, "ends": [r.lower, r.init_lower, r.init_upper, r.upper], "values": list(r.values)}
                for r in self.ranges
            ],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Space":
        """The space whose `state()` this is."""
        names = None if state["names"] is None else tuple(state["names"])
        return cls(names, tuple(
            Range(r["kind"], r["ends"][0], r["ends"][3], r["ends"][1], r["ends"][2], tuple(r["values"]))
            for r in state["ranges"]
        ))

    def _stretched(self, ends: Vector, half: float) -> Vector:
        """Ends on the searched scale: logarithms, and whole numbers with the half cell beyond them."""
        stretched = np.array(ends)
        with np.errstate(divide="ignore"):
            stretched[self._log] = np.log(stretched[self._log])
        stretched[self._whole] += half
        return stretched

    def _inner_bound(self, ends: Vector, sign: float) -> Vector:
        """Inner bounds; those that are infinite are put where every position is still a number."""
        far = np.minimum(REACH * self._scale, LARGEST)
        far = np.where(self._log, np.clip(sign * LOG_REACH, -LOG_REACH, LOG_REACH), sign * far)
        bound: Vector = (np.where(np.isfinite(ends), ends, far) - self._offset) / self._scale
        return bound


def _column(ranges: tuple[Range, ...], what: str) -> Vector:
    return np.array([getattr(r, what) for r in ranges], dtype=np.float64)
