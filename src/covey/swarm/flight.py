# SPDX-License-Identifier: BSD-3-Clause
"""The points that are out: asked for, not yet told or told and not yet used.

Why: values come back in any order, in parts, late. Every algorithm needs the same book of who is out, and the same
rule: what was told is used in the order in which it was asked, so that the order of arrival changes nothing.

May not know: what an algorithm does with values. Guarantees: each id is told once; `best` never holds a value that
is not a finite number; `take` gives what was told, sorted by id. A round that comes back whole is never copied.
"""
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from covey.swarm.draws import Indices, Vector

FREE, OUT, TOLD = 0, 1, 2
# Rows, where points are added to others that are out.
LEAST = 32


class Taken(NamedTuple):
    """Told points, sorted by id: ids, positions, values (inf where there was no finite one), tags."""

    ids: Indices
    x: Vector
    values: Vector
    tags: Indices


class Flight:
    """Points by id. `tag` is whatever number the algorithm wants back with each, such as its particle's."""

    def __init__(self, dimension: int) -> None:
        self._base = 0              # the id of row 0
        self._used = 0
        self._x: Vector = np.empty((0, dimension))
        self._values: Vector = np.empty(0)
        self._tags: Indices = np.empty(0, dtype=np.int64)
        self._status: NDArray[np.int8] = np.empty(0, dtype=np.int8)
        self._last: Indices = np.empty(0, dtype=np.int64)
        self.out = 0
        self.told = 0               # and not yet taken
        self.evaluations = 0
        self.best_value = np.inf
        self.best_id = -1
        self.best_x: Vector | None = None

    def add(self, x: Vector, tags: Indices) -> Indices:
        """Ids for new points. `x` and `tags` are the book's from now on: the caller may read them, not write."""
        count = len(x)
        rows = slice(self._used, self._used + count)
        if self._used:
            rows = self._make_room(count)
            self._x[rows] = x
            self._tags[rows] = tags
        else:
            self._x, self._tags = x, tags
            self._values, self._status = np.empty(count), np.empty(count, dtype=np.int8)
        self._status[rows] = OUT
        self._used = rows.stop
        self.out += count
        self._last = np.arange(self._base + rows.start, self._base + rows.stop)
        # So that `tell` may believe that what it is given back is what it gave.
        self._last.setflags(write=False)
        return self._last

    def tell(self, ids: Indices, values: Vector) -> None:
        """Values for points that are out; what is not finite is the worst there is."""
        if ids is self._last and self.out == self._used == len(ids):
            self._tell_all(values)
            return
        rows = ids - self._base
        if len(rows) == 0:
            return
        if rows.min() < 0 or rows.max() >= self._used or (self._status[rows] != OUT).any():
            raise ValueError(self._complaint(ids))
        if len(rows) > 1 and (np.bincount(rows - rows.min()) > 1).any():
            raise ValueError("an id is told twice in one tell()")
        values = np.where(np.isfinite(values), values, np.inf)
        self._values[rows] = values
        self._status[rows] = TOLD
        self.out -= len(rows)
        self.told += len(rows)
        self.evaluations += len(rows)
        lowest = values.min()
        if lowest <= self.best_value and lowest < np.inf:
            first = int(ids[values == lowest].min())
            if lowest < self.best_value or first < self.best_id:
                self.best_value, self.best_id, self.best_x = float(lowest), first, self._x[first - self._base].copy()

    def _tell_all(self, values: Vector) -> None:
        """What `tell` comes to where one round is out, and comes back whole; which is nearly always."""
        count = self._used
        first = int(values.argmin())
        # A NaN is found as the least, and as the greatest.
        if not (math.isfinite(values[first]) and math.isfinite(values[values.argmax()])):
            values = np.where(np.isfinite(values), values, np.inf)
            first = int(values.argmin())
        self._values[:count] = values
        self._status[:count] = TOLD
        self.out = 0
        self.told = count
        self.evaluations += count
        if values[first] < self.best_value:
            self.best_value, self.best_id = float(values[first]), self._base + first
            self.best_x = self._x[first].copy()

    def tags_of(self, ids: Indices) -> Indices:
        """The tags of points that are out or told and not taken."""
        tags: Indices = self._tags[ids - self._base]
        return tags

    def note(self, x: Vector, value: float) -> None:
        """A point that was evaluated elsewhere; it is best only if it is better."""
        if np.isfinite(value) and value < self.best_value:
            self.best_value, self.best_x = float(value), x.copy()
            self.best_id = self._base + self._used

    def take(self) -> Taken:
        """What was told and not taken yet. The rows are the caller's own."""
        if self.told == self._used:
            used = self._used
            ids = self._last if len(self._last) == used else np.arange(self._base, self._base + used)
            self._base += used
            self._used = self.told = 0
            # Given away: whatever is added to an empty book comes in arrays of its own.
            return Taken(ids, self._x[:used], self._values[:used], self._tags[:used])
        status = self._status[: self._used]
        rows = np.flatnonzero(status == TOLD)
        taken = Taken(rows + self._base, self._x[rows], self._values[rows], self._tags[rows])
        status[rows] = FREE
        self.told = 0
        if self.out == 0:
            self._base += self._used
            self._used = 0
        return taken

    def _make_room(self, count: int) -> slice:
        """Where `count` more rows go."""
        if self._used + count > len(self._values):
            # Rows before the first that is still wanted are done with; a straggler keeps those behind it.
            wanted = np.flatnonzero(self._status[: self._used] != FREE)
            first = int(wanted[0]) if len(wanted) else self._used
            kept = self._used - first
            size = max(LEAST, len(self._values))
            while kept + count > size // 2:
                size *= 2
            for name in ("_x", "_values", "_tags", "_status"):
                old = getattr(self, name)
                new = np.zeros((size, *old.shape[1:]), dtype=old.dtype)
                new[:kept] = old[first : self._used]
                setattr(self, name, new)
            self._base += first
            self._used = kept
        return slice(self._used, self._used + count)

    def _complaint(self, ids: Indices) -> str:
        for number in ids.tolist():
            row = number - self._base
            if row >= self._used or number < 0:
                return f"tell() got the id {number}, which ask() never gave"
            if row < 0 or self._status[row] != OUT:
                return f"tell() got the id {number}, whose value it knows already"
        return "tell() got ids that ask() never gave"

    def state(self) -> dict[str, Any]:
        used = self._used
        return {
            "base": self._base, "evaluations": self.evaluations, "best_value": self.best_value, "best_id": self.best_id,
            "best_x": None if self.best_x is None else self.best_x.copy(), "x": self._x[:used].copy(),
            "values": np.where(self._status[:used] == TOLD, self._values[:used], 0.0), "tags": self._tags[:used].copy(),
            "status": self._status[:used].copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Flight":
        self = cls(state["x"].shape[1])
        self._base = state["base"]
        self.evaluations = state["evaluations"]
        self.best_value, self.best_id, self.best_x = state["best_value"], state["best_id"], state["best_x"]
        if self.best_x is not None:
            self.best_x = np.array(self.best_x)
        self._used = len(state["values"])
        self._x, self._values = np.array(state["x"]), np.array(state["values"])
        self._tags, self._status = np.array(state["tags"]), np.array(state["status"])
        self.out = int((self._status == OUT).sum())
        self.told = int((self._status == TOLD).sum())
        return self
