# SPDX-License-Identifier: BSD-3-Clause
"""What the algorithms have in common that keep their points in a book: all but how they search.

Why: being told, knowing the best, being saved and going on are the same for all of them.

May not know: any particular algorithm. Guarantees: `restore` after `state` changes nothing; the two share no memory.
"""
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from covey.swarm.draws import Indices, Vector
from covey.swarm.flight import Flight


class Booked:
    """An algorithm but for `ask`, `inject` and `batch`; its book is `_flight`."""

    asynchronous = True

    # The attributes that are its state, beside the book.
    _ARRAYS: ClassVar[tuple[str, ...]] = ()
    _NUMBERS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, columns: int) -> None:
        self._flight = Flight(columns)
        self._generation = 0

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def evaluations(self) -> int:
        return self._flight.evaluations

    @property
    def best(self) -> tuple[Vector | None, float]:
        return self._flight.best_x, self._flight.best_value

    def tell(self, ids: Indices, values: Vector) -> None:
        self._flight.tell(ids, values)

    def state(self) -> dict[str, Any]:
        return {"flight": self._flight.state()} | {name[1:]: getattr(self, name).copy() for name in self._ARRAYS} | {
            name[1:]: getattr(self, name) for name in self._NUMBERS
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where another of the same plan and optinfo was when its `state()` was taken."""
        self._flight = Flight.from_state(state["flight"])
        for name in self._ARRAYS:
            setattr(self, name, np.array(state[name[1:]]))
        for name in self._NUMBERS:
            setattr(self, name, state[name[1:]])
