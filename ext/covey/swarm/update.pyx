# SPDX-License-Identifier: BSD-3-Clause
"""See update.pxd, the contents page."""
from libc.math cimport INFINITY, fabs, log, sqrt
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc

from covey.swarm.counter cimport place, uniform

cdef enum:
    MOVES = 1           # the stream of numbers; draws.py names the others
    CHOSEN = 5          # so many of a swarm's best make up its middle
    NOBODY = 0xFFFF


def attempt(
    double[:, ::1] out, int64_t[::1] tags, Py_ssize_t turn, const double[:, ::1] x, const double[:, ::1] v,
    const double[:, ::1] own, const int64_t[::1] step, int64_t[::1] tries, const double[::1] best,
    const double[::1] middle, const double[:, ::1] basis, const double[::1] lower, const double[::1] upper,
    uint64_t seed, int64_t life, double inertia, double toward_own, double toward_best, double blend, bint turned,
    bint bounce,
):
    """Fills the rows of `out` with tries, position then velocity, beginning with the particle `turn`.

    v = inertia·v + toward_own·r₁(own − x) + toward_best·r₂(leader − x) and x = x + v, where the leader is the swarm's best, or
    with the probability `blend` the middle of its best few. Where the swarm is `turned`, the random factors r act along the
    columns of `basis`, not along the axes. `bounce` reflects a particle at its bounds and turns its velocity
    round; without it the position is clipped and the velocity stays, as in Playdoh.
    """
    cdef Py_ssize_t first, k, i, j, d, width = x.shape[1]
    cdef uint64_t start
    cdef double speed, at, low, high, reach
    cdef bint led_by_middle
    cdef bint known[2]
    cdef double* own_part = <double*> malloc(5 * width * sizeof(double))
    cdef double* leader_parts = own_part + width
    cdef double* leader_part
    cdef double* along = own_part + 3 * width
    cdef double* pull = along
    if own_part == NULL:
        raise MemoryError()
    if turned:
        pull = own_part + 4 * width
    with nogil:
        # Particle by particle, because the tries of one differ in nothing but their numbers.
        for first in range(min(out.shape[0], x.shape[0])):
            i = (turn + first) % x.shape[0]
            known[0] = known[1] = False
            _differ(own_part, &own[i, 0], &x[i, 0], basis, turned, width)
            k = first
            while k < out.shape[0]:
                start = place(seed, MOVES, <uint64_t>tries[i], <uint64_t>i)
                tries[i] += 1
                tags[k] = (life << 48) | ((step[i] + 1) << 16) | i
                led_by_middle = blend > 0 and uniform(start, 2 * width) < blend
                leader_part = leader_parts + led_by_middle * width
                if not known[led_by_middle]:
                    known[led_by_middle] = True
                    _differ(leader_part, &middle[0] if led_by_middle else &best[0], &x[i, 0], basis, turned, width)
                for d in range(width):
                    along[d] = (
                        toward_own * uniform(start, 2 * d) * own_part[d]
                        + toward_best * uniform(start, 2 * d + 1) * leader_part[d]
                    )
                if turned:
                    _turn_back(pull, along, basis, width)
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
                    out[k, j] = at
                    out[k, width + j] = speed
                k += x.shape[0]
    free(own_part)


cdef inline void _differ(
    double* out, const double* there, const double* here, const double[:, ::1] basis, bint turned, Py_ssize_t width,
) noexcept nogil:
    """The way from `here` to `there`, along the columns of `basis` if `turned`, else along the axes."""
    cdef Py_ssize_t j, d
    cdef double a
    if not turned:
        for d in range(width):
            out[d] = there[d] - here[d]
        return
    for d in range(width):
        out[d] = 0
    # Sums side by side, so that the processor need not wait for one addition before the next.
    for j in range(width):
        a = there[j] - here[j]
        for d in range(width):
            out[d] += basis[j, d] * a


cdef inline void _turn_back(
    double* out, const double* along, const double[:, ::1] basis, Py_ssize_t width,
) noexcept nogil:
    """What lies `along` the columns of `basis`, along the axes."""
    cdef Py_ssize_t j, d
    cdef double even, odd
    cdef const double* row
    for j in range(width):
        row = &basis[j, 0]
        # Two sums, so that the processor need not wait for one addition before the next.
        even = odd = 0
        for d in range(0, width - 1, 2):
            even += row[d] * along[d]
            odd += row[d + 1] * along[d + 1]
        if width % 2:
            even += row[width - 1] * along[width - 1]
        out[j] = even + odd


def learn(
    const double[:, ::1] tried, const double[::1] values, const int64_t[::1] tags, int64_t life, double[:, ::1] x,
    double[:, ::1] v, double[:, ::1] own, double[::1] own_value, double[::1] value, int64_t[::1] step, double[::1] best,
    double[::1] middle, double[:, ::1] covariance, int64_t[::1] counts, double best_value, double extent, double rate,
):
    """Takes in the `values` of what was `tried`, in this order; gives the best value and the extent of the swarm.

    A particle goes where the first try of its next step was, and then where a better one of the same step was. A try that comes
    after its particle has moved on can still be its own best. `counts` holds the values since the best improved,
    and the steps learned into `covariance` since somebody looked; they are learned at `rate` (0: not at all), in the lower
    half only, as parts of the extent, which is the largest distance of an own best from the swarm's.
    """
    cdef Py_ssize_t k, i, j, d, width = x.shape[1]
    cdef int64_t when
    cdef double scale, a
    with nogil:
        for k in range(tried.shape[0]):
            i = tags[k] & NOBODY
            when = (tags[k] >> 16) & 0xFFFFFFFFLL
            if tags[k] >> 48 != life or i == NOBODY:
                continue
            counts[0] += 1
            if when > step[i] or (when == step[i] and values[k] < value[i]):
                step[i] = when
                value[i] = values[k]
                for j in range(width):
                    x[i, j] = tried[k, j]
                    v[i, j] = tried[k, width + j]
            if not values[k] < own_value[i]:
                continue
            if rate > 0 and own_value[i] < INFINITY:
                counts[1] += 1
                scale = rate / (extent * extent + 1e-300)
                for j in range(width):
                    a = scale * (tried[k, j] - own[i, j])
                    for d in range(j + 1):
                        covariance[j, d] = (1 - rate) * covariance[j, d] + a * (tried[k, d] - own[i, d])
            for j in range(width):
                own[i, j] = tried[k, j]
            own_value[i] = values[k]
        best_value = _lead(own, own_value, best, best_value, middle, counts, &extent)
    return best_value, extent


cdef double _lead(
    double[:, ::1] own, double[::1] own_value, double[::1] best, double best_value, double[::1] middle,
    int64_t[::1] counts, double* extent,
) noexcept nogil:
    """Finds the best, the middle of the best few, and the extent."""
    cdef Py_ssize_t chosen[CHOSEN]
    cdef Py_ssize_t count = 0, i, j, at, width = own.shape[1]
    cdef double weight, total = 0, far = 0
    for i in range(own.shape[0]):
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
    if own_value[chosen[0]] < best_value:
        best_value = own_value[chosen[0]]
        counts[0] = 0
        for j in range(width):
            best[j] = own[chosen[0], j]
    for j in range(width):
        middle[j] = 0
    for at in range(count):
        weight = log(CHOSEN + 0.5) - log(at + 1.0)
        total += weight
        for j in range(width):
            middle[j] += weight * own[chosen[at], j]
    for j in range(width):
        middle[j] /= total
    for i in range(own.shape[0]):
        for j in range(width):
            far = max(far, fabs(own[i, j] - best[j]))
    extent[0] = far
    return best_value


def clarify(double[:, ::1] out, const double[:, ::1] covariance, double threshold):
    """Fills the lower half of `out` with the covariances whose correlation is above `threshold`, 0 for the others.

    Gives whether there are any but the variances. The upper half is not touched.
    """
    cdef Py_ssize_t j, d, clear = 0, width = covariance.shape[0]
    cdef double* deviation = <double*> malloc(width * sizeof(double))
    if deviation == NULL:
        raise MemoryError()
    with nogil:
        for j in range(width):
            # The little keeps what does not vary at all from being correlated.
            deviation[j] = sqrt(covariance[j, j]) + 1e-150
            for d in range(j + 1):
                out[j, d] = 0
                if fabs(covariance[j, d]) > threshold * deviation[d] * deviation[j]:
                    out[j, d] = covariance[j, d]
                    clear += 1
    free(deviation)
    return clear > width
