# SPDX-License-Identifier: BSD-3-Clause
"""See counter.pxd, the contents page."""
from libc.stdint cimport uint64_t


def fill_uniforms(double[:, ::1] out, uint64_t seed, uint64_t stream, uint64_t step, uint64_t first):
    """Row i of `out` gets uniform numbers that depend on (seed, stream, step, first + i)."""
    cdef Py_ssize_t row, column
    cdef uint64_t start
    with nogil:
        for row in range(out.shape[0]):
            start = place(seed, stream, step, first + <uint64_t>row)
            for column in range(out.shape[1]):
                out[row, column] = uniform(start, column)


def fill_normals(double[:, ::1] out, uint64_t seed, uint64_t stream, uint64_t step, uint64_t first):
    """Row i of `out` gets standard normal numbers that depend on (seed, stream, step, first + i)."""
    cdef Py_ssize_t row
    if out.shape[1] == 0:
        return
    with nogil:
        for row in range(out.shape[0]):
            normals_into(&out[row, 0], out.shape[1], place(seed, stream, step, first + <uint64_t>row))


def hashed(uint64_t seed, uint64_t stream, uint64_t step, uint64_t row):
    """64 bits that depend on the place: the seed of something that draws for itself."""
    return place(seed, stream, step, row)
