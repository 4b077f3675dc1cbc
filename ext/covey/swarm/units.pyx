# SPDX-License-Identifier: BSD-3-Clause
"""See units.pxd, the contents page."""
from libc.math cimport floor


def measure(
    double[:, ::1] out, const double[:, :] inner, const double[::1] scale, const double[::1] offset,
    const unsigned char[::1] whole, const double[::1] lower, const double[::1] upper,
):
    """Fills `out` with inner·scale + offset, to the nearest whole number where `whole` says so, within the bounds."""
    cdef Py_ssize_t row, column
    cdef double at
    if inner.shape[0] != out.shape[0] or inner.shape[1] != out.shape[1]:
        raise ValueError(f"inner positions have {out.shape[1]} numbers in each row, and these have {inner.shape[1]}")
    with nogil:
        for row in range(out.shape[0]):
            for column in range(out.shape[1]):
                at = inner[row, column] * scale[column] + offset[column]
                if whole[column]:
                    at = floor(at + 0.5)
                # Rounding can leave the bounds by a bit.
                at = lower[column] if at < lower[column] else at
                out[row, column] = upper[column] if at > upper[column] else at
