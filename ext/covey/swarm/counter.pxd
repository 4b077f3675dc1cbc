# SPDX-License-Identifier: BSD-3-Clause
"""Random numbers that are a function of their place: (seed, stream, step, row, column), and of nothing before them.

Why: with a generator that has a state, a number depends on who asked first; with these any particle can be moved by
anyone at any time, and one seed gives one result whatever the number of slots and the order of arrival. A row's numbers
are the SplitMix64 sequence (Steele, Lea & Flood 2014) from a start that is itself such a hash of the place, so
a number costs about a nanosecond and there is nothing to store.

May not know: particles, algorithms. Guarantees: uniform numbers lie strictly between 0 and 1, so that their logarithm exists;
normal ones come in pairs (Box-Muller), column 2k and 2k+1 from the same two uniforms.
"""
from libc.math cimport cos, log, sin, sqrt
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    ELEVEN = 11


cdef inline uint64_t mix(uint64_t z) noexcept nogil:
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EBULL
    return z ^ (z >> 31)


# Where a row's numbers start. The odd multipliers keep (stream 1, step 2) apart from (stream 2, step 1).
cdef inline uint64_t place(uint64_t seed, uint64_t stream, uint64_t step, uint64_t row) noexcept nogil:
    cdef uint64_t z = mix(seed + <uint64_t>0x9E3779B97F4A7C15ULL)
    z = mix(z ^ (stream * <uint64_t>0xD1342543DE82EF95ULL + 1))
    z = mix(z ^ (step * <uint64_t>0xA0761D6478BD642FULL + 2))
    return mix(z ^ (row * <uint64_t>0xE7037ED1A0B428DBULL + 3))


cdef inline double uniform(uint64_t start, uint64_t column) noexcept nogil:
    cdef uint64_t z = mix(start + (column + 1) * <uint64_t>0x9E3779B97F4A7C15ULL)
    # 2**-53; the half keeps it off 0. Signed, because processors turn only those into doubles in one instruction.
    return (<double><int64_t>(z >> ELEVEN) + 0.5) * 1.1102230246251565e-16


# Fills `count` normal numbers of one row.
cdef inline void normals_into(double* out, Py_ssize_t count, uint64_t start) noexcept nogil:
    cdef Py_ssize_t k = 0
    cdef double radius, angle
    while k < count:
        radius = sqrt(-2.0 * log(uniform(start, k)))
        angle = 6.283185307179586 * uniform(start, k + 1)
        out[k] = radius * cos(angle)
        if k + 1 < count:
            out[k + 1] = radius * sin(angle)
        k += 2
