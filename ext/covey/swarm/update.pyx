# SPDX-License-Identifier: BSD-3-Clause
"""See update.pxd, the contents page."""
from libc.math cimport INFINITY, fabs, log
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc

from covey.swarm.counter cimport place, uniform

# The stream of numbers for moves; draws.py names the others.
cdef enum:
    MOVES = 1
# So many of a swarm's best make up its middle.
cdef enum:
    CHOSEN = 5


def move(
    const int64_t[::1] rows, double[:, ::1] x, double[:, ::1] v, const double[:, ::1] own, const int64_t[::1] swarm,
    const int64_t[::1] step, const double[:, ::1] best, const double[:, ::1] middle, const double[:, :, ::1] basis,
    const int64_t[::1] turned, const double[::1] lower, const double[::1] upper,
    uint64_t seed, double inertia, double toward_own, double toward_best, double blend, bint bounce,
):
    """Moves the particles `rows`: v = inertia·v + toward_own·r₁(own − x) + toward_best·r₂(leader − x), x = x + v.

    The leader is the swarm's best, or with the probability `blend` the middle of its best few. Where a swarm is `turned`,
    the random factors r act along the columns of its basis, not along the axes. `bounce` reflects a particle at its bounds and
    turns its velocity round; without it the position is clipped and the velocity stays, as in Playdoh.
    """
    cdef Py_ssize_t k, i, j, d, s, width = x.shape[1]
    cdef uint64_t start
    cdef double speed, at, low, high, reach, a, b
    cdef const double* leader
    cdef double* pull = <double*> malloc(3 * width * sizeof(double))
    cdef double* own_part = pull + width
    cdef double* best_part = pull + 2 * width
    if pull == NULL:
        raise MemoryError()
    with nogil:
        for k in range(rows.shape[0]):
            i = rows[k]
            s = swarm[i]
            start = place(seed, MOVES, <uint64_t>step[i], <uint64_t>i)
            leader = &best[s, 0]
            if blend > 0 and uniform(start, 2 * width) < blend:
                leader = &middle[s, 0]
            if turned[s]:
                for d in range(width):
                    own_part[d] = best_part[d] = 0
                # Sums side by side, so that the processor need not wait for one addition before the next.
                for j in range(width):
                    a = own[i, j] - x[i, j]
                    b = leader[j] - x[i, j]
                    for d in range(width):
                        own_part[d] += basis[s, j, d] * a
                        best_part[d] += basis[s, j, d] * b
                for d in range(width):
                    own_part[d] = (
                        toward_own * uniform(start, 2 * d) * own_part[d]
                        + toward_best * uniform(start, 2 * d + 1) * best_part[d]
                    )
                for j in range(width):
                    a = 0
                    b = 0
                    for d in range(0, width - 1, 2):
                        a += basis[s, j, d] * own_part[d]
                        b += basis[s, j, d + 1] * own_part[d + 1]
                    if width % 2:
                        a += basis[s, j, width - 1] * own_part[width - 1]
                    pull[j] = a + b
            else:
                for j in range(width):
                    pull[j] = (
                        toward_own * uniform(start, 2 * j) * (own[i, j] - x[i, j])
                        + toward_best * uniform(start, 2 * j + 1) * (leader[j] - x[i, j])
                    )
            for j in range(width):
                at = x[i, j]
                low = lower[j]
                high = upper[j]
                speed = inertia * v[i, j] + pull[j]
                if bounce:
                    # A speed over the whole width says no more than the width.
                    reach = high - low
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
    free(pull)


def learn(
    const int64_t[::1] rows, const double[::1] values, const double[:, ::1] x, double[:, ::1] own, double[::1] own_value,
    const int64_t[::1] swarm, const int64_t[::1] first, double[:, ::1] best, double[::1] best_value,
    double[:, ::1] middle, double[::1] extent, int64_t[::1] since, int64_t[::1] gained, double[:, :, ::1] covariance,
    double rate,
):
    """Takes in the `values` of the particles `rows`, in this order.

    Swarm s has the particles first[s] … first[s + 1] − 1. `since` counts values since a swarm's best improved, `gained` those
    that improved a particle's own best; steps that did so are learned into `covariance` at `rate` (0: not at all), as
    parts of the swarm's extent, which is the largest distance of an own best from the swarm's.
    """
    cdef Py_ssize_t k, i, j, d, s, width = x.shape[1]
    cdef double scale, a
    with nogil:
        for k in range(rows.shape[0]):
            i = rows[k]
            s = swarm[i]
            since[s] += 1
            if not values[k] < own_value[i]:
                continue
            if rate > 0 and own_value[i] < INFINITY:
                gained[s] += 1
                scale = rate / (extent[s] * extent[s] + 1e-300)
                for j in range(width):
                    a = scale * (x[i, j] - own[i, j])
                    # The lower half is all that anybody reads.
                    for d in range(j + 1):
                        covariance[s, j, d] = (1 - rate) * covariance[s, j, d] + a * (x[i, d] - own[i, d])
            for j in range(width):
                own[i, j] = x[i, j]
            own_value[i] = values[k]
        for s in range(first.shape[0] - 1):
            _lead(s, first[s], first[s + 1], own, own_value, best, best_value, middle, extent, since)


cdef void _lead(
    Py_ssize_t s, Py_ssize_t begin, Py_ssize_t end, double[:, ::1] own, double[::1] own_value, double[:, ::1] best,
    double[::1] best_value, double[:, ::1] middle, double[::1] extent, int64_t[::1] since,
) noexcept nogil:
    """The swarm's best, the middle of its best few, and its extent."""
    cdef Py_ssize_t chosen[CHOSEN]
    cdef Py_ssize_t count = 0, i, j, at, width = own.shape[1]
    cdef double weight, total = 0, far = 0
    for i in range(begin, end):
        # Insertion into the few best so far; of equal ones the earlier stays ahead.
        at = count
        while at > 0 and own_value[i] < own_value[chosen[at - 1]]:
            if at < CHOSEN:
                chosen[at] = chosen[at - 1]
            at -= 1
        if at < CHOSEN:
            chosen[at] = i
            if count < CHOSEN:
                count += 1
    if own_value[chosen[0]] < best_value[s]:
        best_value[s] = own_value[chosen[0]]
        since[s] = 0
        for j in range(width):
            best[s, j] = own[chosen[0], j]
    for j in range(width):
        middle[s, j] = 0
    for at in range(count):
        weight = log(CHOSEN + 0.5) - log(at + 1.0)
        total += weight
        for j in range(width):
            middle[s, j] += weight * own[chosen[at], j]
    for j in range(width):
        middle[s, j] /= total
    for i in range(begin, end):
        for j in range(width):
            far = max(far, fabs(own[i, j] - best[s, j]))
    extent[s] = far
