# SPDX-License-Identifier: BSD-3-Clause
"""Random numbers by place: what a particle draws depends on the seed, what it is for, its step and its row alone.

Why: one seed must give one result for any number of slots, any order of arrival and any restart from a checkpoint. So
there is no generator whose state somebody could move on; the numbers are computed where they are needed.

May not know: algorithms. Guarantees: nothing is stored but the seed.
"""
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from covey.swarm.counter import fill_normals, fill_uniforms, hashed

Vector = NDArray[np.float64]        # of any number of dimensions
Indices = NDArray[np.int64]

# What numbers are for. Equal places of two streams share nothing; update.pyx holds MOVES, too.
MOVES, STARTS, SAMPLES, CHOICES, ISLANDS = 1, 2, 3, 4, 5


class Draws:
    """The random numbers of one seed.

    >>> a, b = Draws(7), Draws(7)
    >>> bool((a.uniforms(STARTS, 0, 2, (1, 3)) == b.uniforms(STARTS, 0, 0, (3, 3))[2]).all())
    True
    """

    __slots__ = ("seed",)

    def __init__(self, seed: int | None = None, entropy: Callable[[int], bytes] = os.urandom) -> None:
        # Six bytes: a seed that a person can copy and that any file format keeps whole.
        self.seed = int.from_bytes(entropy(6), "little") if seed is None else checked_seed(seed)

    def uniforms(self, stream: int, step: int, first: int, shape: tuple[int, int]) -> Vector:
        """Numbers between 0 and 1, both excluded; row i is that of (stream, step, first + i)."""
        out = np.empty(shape)
        fill_uniforms(out, self.seed, stream, step, first)
        return out

    def normals(self, stream: int, step: int, first: int, shape: tuple[int, int]) -> Vector:
        """Standard normal numbers; row i is that of (stream, step, first + i)."""
        out = np.empty(shape)
        fill_normals(out, self.seed, stream, step, first)
        return out

    def seed_of(self, number: int) -> int:
        """The seed of the `number`-th part that draws for itself, such as an island."""
        return hashed(self.seed, ISLANDS, 0, number) >> 16


def checked_seed(seed: object) -> int:
    """The seed as an int, or one sentence that says what a seed is."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed is a whole number from 0 to 2**64 - 1, or None for a fresh one, not {seed!r}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed is a whole number from 0 to 2**64 - 1, or None for a fresh one, and {seed} is outside")
    return int(seed)
