# SPDX-License-Identifier: BSD-3-Clause
"""What is optimised, and how: everything that decides the result, and nothing that does not.

Why: two calls with equal problems give equal results, on one core or a hundred; so what makes a problem stands in one
record, and a checkpoint is compared with it.

May not know: slots, limits of time. Guarantees: nothing here depends on how many slots there are, except `in_flight`
where the user left it open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.swarm.draws import Draws
from covey.swarm.optimizer import Optimizer
from covey.swarm.space import Space

__all__ = ["Problem"]

# Numbers of the parts that draw for themselves, beside those that algorithms give to theirs.
GROUPS, ISLANDS = 1 << 20, 1 << 30
# What a checkpoint decides, where the call leaves it open.
SEED, IN_FLIGHT, PLANNED = "seed", "number of tasks in flight", "planned evaluations of a group"


@dataclass(frozen=True, slots=True)
class Problem:
    """What decides the result of an optimisation."""

    space: Space
    algorithm: object
    optinfo: Mapping[str, Any] | None
    group_size: int | None
    group_count: int
    seed: int
    minimize: bool
    mode: str
    # Evaluations that will be made for each group, if that is known: algorithms plan with it.
    planned: int | None
    chunk: int
    noise: int | None
    # Tasks of a stream that are under way; 0 until somebody has counted the slots.
    in_flight: int
    islands: int
    leg: int

    def optimizer(self, group: int, island: int | None = None, beginning: int = 0) -> Optimizer:
        """The optimizer of a group, or of one of its islands, which may have to begin anew."""
        seed, size, planned = self.seed_of(group), self.group_size, self.planned
        if island is not None:
            seed = Draws(seed).seed_of(ISLANDS + island + beginning * self.islands)
            size = None if size is None else max(1, size // self.islands)
            planned = None if planned is None else max(1, planned // self.islands)
        return Optimizer(
            self.space, algorithm=self.algorithm, group_size=size, seed=seed, minimize=self.minimize,
            budget=planned, optinfo=self.optinfo,
        )

    def seed_of(self, group: int) -> int:
        """The seed of a group. The first has that of the call: it does what it would do alone."""
        return self.seed if group == 0 else Draws(self.seed).seed_of(GROUPS + group)

    @property
    def algorithm_name(self) -> str:
        """What the algorithm is called."""
        return self.algorithm if isinstance(self.algorithm, str) else type(self.algorithm).__name__

    @property
    def widths(self) -> NDArray[np.float64]:
        """How wide each parameter's initial interval is."""
        return self.space.init_upper - self.space.init_lower

    def identity(self) -> dict[str, str]:
        """What must be equal for a checkpoint to be of this problem, in the words of a message."""
        bounds = {
            "bounds of " + (f"parameter {name!r}" if self.space.names else f"row {name}"): str(part)
            for name, part in zip(self.space.names or range(self.space.dimension), self.space.ranges, strict=True)
        }
        modes = {
            "stream": {IN_FLIGHT: self.in_flight},
            "islands": {"number of islands": self.islands, "generations in a leg": self.leg},
        }
        rest = {
            "parameters": None if self.space.names is None else ", ".join(self.space.names),
            "number of parameters": self.space.dimension, "mode": self.mode,
            "direction": "minimize" if self.minimize else "maximize", "algorithm": self.algorithm_name,
            "optinfo": dict(sorted((self.optinfo or {}).items())), SEED: self.seed, "group_count": self.group_count,
            "group_size": self.group_size, PLANNED: self.planned, "chunk": self.chunk, "noise": self.noise,
            **modes.get(self.mode, {}),
        }
        return {name: str(value) for name, value in rest.items()} | bounds
