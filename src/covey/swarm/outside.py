# SPDX-License-Identifier: BSD-3-Clause
"""An optimiser from elsewhere, as one of ours: any object with `ask` and `tell`.

Why: people have optimisers, and ours should not be the only ones that may use a flock. Two manners of asking are
common: `ask(n) -> (ids, X)` with `tell(ids, values)`, which is ours, and pycma's `ask() -> list of points` with
`tell(points, values)`.

May not know: what the object does. Guarantees: it is told a whole generation at once in the order in which it gave
it, and sees minimisation and the user's units, within the bounds: what lies outside is evaluated at the nearest
point inside, and told as it was given.
"""
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from covey.swarm.booked import Booked
from covey.swarm.draws import Indices, Vector
from covey.swarm.space import Space

WANTED = ("algorithm= takes a name, or an object with ask(n) -> (ids, X) and tell(ids, values), or like pycma's "
          "ask() -> points and tell(points, values); it minimises, unless it is a covey.swarm.Optimizer that does not")


class Outside(Booked):
    """A foreign ask/tell object behind the protocol of `Algorithm`."""

    asynchronous = False

    def __init__(self, optimiser: Any, space: Space, sign: float = 1.0) -> None:
        if isinstance(optimiser, type):
            raise TypeError(f"{WANTED}. {optimiser.__name__} is a class: make one of it, {optimiser.__name__}(…)")
        if not callable(getattr(optimiser, "ask", None)) or not callable(getattr(optimiser, "tell", None)):
            lacking = "tell" if hasattr(optimiser, "ask") else "ask"
            raise TypeError(f"{WANTED}. This {type(optimiser).__name__} lacks {lacking}")
        self._optimiser, self._space, self._sign = optimiser, space, sign
        self._takes_number = _requires_argument(optimiser.ask)
        super().__init__(space.dimension)
        self._given: Any = []               # what the object itself calls these points: ids, or the points
        self._waiting: Vector = np.empty((0, space.dimension))     # of these, inner, not asked for yet
        self._asked = 0
        self._batch = int(getattr(optimiser, "batch", 0) or getattr(optimiser, "popsize", 0) or 1)

    @property
    def batch(self) -> int:
        return len(self._waiting) or self._batch

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        if not len(self._waiting):
            if self._flight.out:
                raise RuntimeError(f"all points of this generation of {type(self._optimiser).__name__} are out: tell() "
                                   "their values before asking for more")
            self._learn()
            self._next(n)
        x = self._waiting[: n or len(self._waiting)]
        self._waiting = self._waiting[len(x):]
        ids = self._flight.add(x, np.arange(self._asked, self._asked + len(x)))
        self._asked += len(x)
        return ids, x

    def tell(self, ids: Indices, values: Vector) -> None:
        super().tell(ids, values)
        if not self._flight.out and not len(self._waiting):
            self._learn()

    def _next(self, n: int | None) -> None:
        answer = self._optimiser.ask(n or self._batch) if self._takes_number else self._optimiser.ask()
        # Ours is a pair of ids and a matrix; pycma's is a list of points, which may be two.
        if isinstance(answer, tuple) and len(answer) == 2 and np.ndim(answer[1]) == 2:
            self._given, points = answer
        else:
            self._given = points = answer
        x = np.asarray(points, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self._space.dimension or not len(x):
            raise ValueError(f"{type(self._optimiser).__name__}.ask() gave points of shape {x.shape}, and the problem "
                             f"has {self._space.dimension} parameters: one row for each point is wanted")
        self._asked = 0
        self._batch = len(x)
        self._waiting = self._space.encode(np.nan_to_num(x))

    def _learn(self) -> None:
        if self._flight.told:
            taken = self._flight.take()
            values = self._sign * taken.values
            self._optimiser.tell(self._given, values.tolist() if isinstance(self._given, list) else values)
            self._generation += 1

    def inject(self, x: Vector, values: Vector) -> None:
        """Noted for `best`; and handed on if the object has an `inject` of its own."""
        for point, value in zip(x, values, strict=True):
            self._flight.note(point, float(value))
        if callable(getattr(self._optimiser, "inject", None)):
            self._optimiser.inject(self._space.decode(x), self._sign * values)

    def state(self) -> dict[str, Any]:
        raise TypeError(f"the state of a {type(self._optimiser).__name__} is its own: save that object, or use one of "
                        "covey's algorithms, which can be checkpointed")

    def restore(self, state: Mapping[str, Any]) -> None:
        raise TypeError(f"a {type(self._optimiser).__name__} cannot be restored by covey")


def _requires_argument(ask: Callable[..., Any]) -> bool:
    """Whether ask wants the number of points."""
    try:
        parameters = list(inspect.signature(ask).parameters.values())
    except (TypeError, ValueError):
        return False
    return bool(parameters) and (parameters[0].default is inspect.Parameter.empty or parameters[0].name == "n") and (
        parameters[0].kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    )
