# SPDX-License-Identifier: BSD-3-Clause
"""See update.pxd, the contents page."""
from libc.stdint cimport int64_t, uint64_t

from covey.swarm.counter cimport place, uniform

# One stream of numbers for moves; the others are named in draws.py.
cdef enum:
    MOVES = 1


def move(
    const int64_t[::1] rows, double[:, ::1] x, double[:, ::1] v, const double[:, ::1] own, const double[:, ::1] best,
    const int64_t[::1] leader, const int64_t[::1] step, const double[::1] lower, const double[::1] upper,
    uint64_t seed, double inertia, double toward_own, double toward_best, bint bounce,
):
    """Moves the particles `rows`: v = inertia·v + toward_own·r₁(own − x) + toward_best·r₂(best − x), x = x + v.

    `best` has a row for each swarm, and `leader` says for each particle which. `bounce` reflects a particle at its bounds
    and turns its velocity round; without it, the position is clipped and the velocity stays, as in Playdoh.
    """
    cdef Py_ssize_t k, i, j, swarm, width = x.shape[1]
    cdef uint64_t start
    cdef double speed, at, low, high, reach
    with nogil:
        for k in range(rows.shape[0]):
            i = rows[k]
            swarm = leader[i]
            start = place(seed, MOVES, <uint64_t>step[i], <uint64_t>i)
            for j in range(width):
                at = x[i, j]
                low = lower[j]
                high = upper[j]
                reach = high - low
                speed = (
                    inertia * v[i, j] + toward_own * uniform(start, 2 * j) * (own[i, j] - at)
                    + toward_best * uniform(start, 2 * j + 1) * (best[swarm, j] - at)
                )
                if bounce:
                    # A speed over the whole width says no more than the width.
                    if speed > reach:
                        speed = reach
                    elif speed < -reach:
                        speed = -reach
                at += speed
                if bounce:
                    if at < low:
                        at = low + (low - at)
                        speed = -0.5 * speed
                    elif at > high:
                        at = high - (at - high)
                        speed = -0.5 * speed
                if at < low:
                    at = low
                elif at > high:
                    at = high
                v[i, j] = speed
                x[i, j] = at
