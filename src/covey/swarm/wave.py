# SPDX-License-Identifier: BSD-3-Clause
"""The legs of one number, of all islands: how long they are, what they begin with, what came of them.

Why: islands do not wait for each other, so legs of two numbers are under way at once; each number has books of its own.

May not know: slots, calls, clocks. Guarantees: what is planned follows from the numbers of legs and from what was
booked when the wave before began, never from which leg landed first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from covey.errors import WorkerDied
from covey.swarm.leg import Landfall
from covey.swarm.stops import Stops

__all__ = ["Island", "Migrants", "Outlook", "Voyage", "Wave", "find_generations"]

# A leg has at most so many times the generations that were made before it.
GROWTH = 4

# A group and the number of one of its islands.
Voyage = tuple[int, int]
# For each group, what each of its islands is told of its neighbour: a position and its rank, None before there is one.
Migrants = list[list[tuple[NDArray[np.float64], NDArray[np.float64]] | None]]


class Island(NamedTuple):
    """An island between two legs, and how often it was lost with its slots and has begun anew."""

    state: bytes
    losses: int


class Outlook(NamedTuple):
    """How far the books will be when a wave begins, as far as that is known when the wave before it does."""

    iterations: int
    total: int
    groups: list[int]


@dataclass(slots=True)
class Wave:
    """The legs of one number. What is in `left` was sent, what is in `landed` is back, its island in `reached`."""

    generations: int
    groups: list[int]
    migrants: Migrants
    left: dict[Voyage, Island] = field(default_factory=dict)
    landed: dict[Voyage, Landfall | WorkerDied] = field(default_factory=dict)
    reached: dict[Voyage, Island] = field(default_factory=dict)

    def voyages(self, islands: int) -> list[Voyage]:
        """Its legs, if each group has so many islands; in the order in which they are booked."""
        return [(group, island) for group in self.groups for island in range(islands)]


def find_generations(outlook: Outlook, stops: Stops, batches: Sequence[int], leg: int) -> int | None:
    """How many generations a wave has; None if the whole is over by then. `batches`: evaluations in one, by group.

    Legs end at multiples of `leg`, so that a run of so many iterations can be gone on with as if it had been longer.

    >>> stops = Stops(1, iterations=100, budget=None, target=None, ftol=None, xtol=None, widths=np.ones(1))
    >>> done, legs = 0, []
    >>> while (more := find_generations(Outlook(done, 50 * done, [0]), stops, [50], 20)) is not None:
    ...     legs.append(more)
    ...     done += more
    >>> legs
    [1, 4, 15, 20, 20, 20, 20]
    """
    each = sum(batches[group] for group in outlook.groups)
    generations = min(max(1, GROWTH * outlook.iterations), leg - outlook.iterations % leg)
    if stops.iterations is not None:
        generations = min(generations, stops.iterations - outlook.iterations)
    if stops.budget is not None and each:
        generations = min(generations, (stops.budget - outlook.total) // each)
    generations = max(1, generations)
    over = stops.reason(outlook.iterations, outlook.total, generations * each)
    return None if over is not None else generations
