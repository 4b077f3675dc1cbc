# SPDX-License-Identifier: BSD-3-Clause
"""The Python view of the compiled module; ext/covey/swarm/update.pxd is its contents page."""
from covey.swarm.draws import Indices, Vector

def move(
    rows: Indices, x: Vector, v: Vector, own: Vector, swarm: Indices, step: Indices, best: Vector, middle: Vector,
    basis: Vector, turned: Indices, lower: Vector, upper: Vector, seed: int, inertia: float, toward_own: float,
    toward_best: float, blend: float, bounce: bool,
) -> None: ...
def learn(
    rows: Indices, values: Vector, x: Vector, own: Vector, own_value: Vector, swarm: Indices, first: Indices,
    best: Vector, best_value: Vector, middle: Vector, extent: Vector, since: Indices, gained: Indices,
    covariance: Vector, rate: float,
) -> None: ...
