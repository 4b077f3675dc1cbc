# SPDX-License-Identifier: BSD-3-Clause
"""The Python view of the compiled module; ext/covey/swarm/update.pxd is its contents page."""
from covey.swarm.draws import Indices, Vector

def move(
    rows: Indices, x: Vector, v: Vector, own: Vector, best: Vector, leader: Indices, step: Indices, lower: Vector,
    upper: Vector, seed: int, inertia: float, toward_own: float, toward_best: float, bounce: bool,
) -> None: ...
