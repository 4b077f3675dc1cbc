# SPDX-License-Identifier: BSD-3-Clause
"""The Python view of the compiled module; ext/covey/swarm/units.pxd is its contents page."""
from numpy import bool_
from numpy.typing import NDArray

from covey.swarm.draws import Vector

def measure(
    out: Vector, inner: Vector, scale: Vector, offset: Vector, whole: NDArray[bool_], lower: Vector, upper: Vector,
) -> None: ...
