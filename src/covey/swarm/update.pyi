# SPDX-License-Identifier: BSD-3-Clause
"""The Python view of the compiled module; ext/covey/swarm/update.pxd is its contents page."""
from covey.swarm.draws import Indices, Vector

def attempt(
    out: Vector, tags: Indices, turn: int, x: Vector, v: Vector, own: Vector, step: Indices, tries: Indices,
    best: Vector, middle: Vector, basis: Vector, lower: Vector, upper: Vector, seed: int, life: int, inertia: float,
    toward_own: float, toward_best: float, blend: float, turned: bool, bounce: bool,
) -> None: ...
def learn(
    tried: Vector, values: Vector, tags: Indices, life: int, x: Vector, v: Vector, own: Vector, own_value: Vector,
    value: Vector, step: Indices, best: Vector, middle: Vector, covariance: Vector, counts: Indices,
    best_value: float, extent: float, rate: float,
) -> tuple[float, float]: ...
def clarify(out: Vector, covariance: Vector, threshold: float) -> bool: ...
