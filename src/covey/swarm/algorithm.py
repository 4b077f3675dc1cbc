# SPDX-License-Identifier: BSD-3-Clause
"""What every algorithm of the swarm is: something that is asked for points and told their values.

Why: the loops (rounds, stream, islands), the portfolio and `Optimizer` treat all algorithms alike.

May not know: any particular algorithm, units, names. Guarantees: algorithms minimise, in inner coordinates in which
the search starts in [0, 1]; a generation ends when it is next asked, with all that was told until then in the order
of ids.
"""
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

import numpy as np

from covey.swarm.draws import Indices, Vector
from covey.swarm.space import Space


@dataclass(frozen=True, slots=True)
class Domain:
    """Where an algorithm searches: inner bounds, and the width of a cell (0 where there are none) in each direction."""

    lower: Vector
    upper: Vector
    grain: Vector

    @property
    def dimension(self) -> int:
        return len(self.lower)

    @classmethod
    def of(cls, space: Space) -> "Domain":
        return cls(np.ascontiguousarray(space.inner_lower), np.ascontiguousarray(space.inner_upper), space.grain)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an algorithm is told before it begins."""

    domain: Domain
    seed: int
    group_size: int | None = None       # points a round, if somebody decides that; None: what the algorithm likes
    budget: int | None = None           # evaluations in all, if known: a help, not a limit


class Algorithm(Protocol):
    """One algorithm at work. A class is called with a Plan and the user's optinfo; `state` and `restore` keep it."""

    asynchronous: bool      # whether values may come in parts and points be asked for meanwhile

    @property
    def batch(self) -> int:
        """How many points `ask()` gives when nobody says a number."""

    @property
    def generation(self) -> int:
        """How often it has learned."""

    @property
    def evaluations(self) -> int:
        """How many values it was told."""

    @property
    def best(self) -> tuple[Vector | None, float]:
        """The best position and its value; (None, inf) before there is a finite one."""

    def ask(self, n: int | None = None) -> tuple[Indices, Vector]:
        """Ids and inner positions, one row each, of the next points; both are to be read, not written."""

    def tell(self, ids: Indices, values: Vector) -> None:
        """Values of points asked for; infinite or NaN is the worst there is."""

    def inject(self, x: Vector, values: Vector) -> None:
        """Points that were evaluated elsewhere."""

    def state(self) -> dict[str, Any]:
        """Everything, in dicts of numbers, strings and arrays. It shares no memory with the algorithm."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where another of the same plan and optinfo was when its `state()` was taken."""


def number_of(optinfo: Mapping[str, Any], key: str, usual: float) -> float:
    """A number that the user may give in `optinfo`."""
    value = optinfo.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"optinfo[{key!r}] is a number, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"optinfo[{key!r}] is a finite number, and here {value!r}")
    return float(value)


def check_keys(optinfo: Mapping[str, Any], known: tuple[str, ...], algorithm: str) -> None:
    """Raises for a key of `optinfo` that the algorithm does not know."""
    for key in optinfo:
        if key in known:
            continue
        near = get_close_matches(str(key), known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(known)}"
        raise ValueError(f"algorithm {algorithm!r} knows no {key!r} in optinfo; {hint}")
