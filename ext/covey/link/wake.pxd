# SPDX-License-Identifier: BSD-3-Clause
"""A bell: any thread rings it, one thread waits for it and for one file descriptor besides."""

cdef struct Wake:
    int ends[2]                     # a pipe, both ends non-blocking

cdef int wake_init(Wake* self) noexcept nogil
cdef void wake_free(Wake* self) noexcept nogil
cdef void wake_ring(Wake* self) noexcept nogil
cdef void wake_drain(Wake* self) noexcept nogil
# Until the bell rings, `fd` (or -1) is readable, or `seconds` are over (infinity: no limit). Drains the bell.
# 1 if `other` (or -1) was readable: a third descriptor, for a lifeline. Else 0.
cdef int wake_wait3(Wake* self, int fd, int other, double seconds) noexcept nogil
cdef void wake_wait(Wake* self, int fd, double seconds) noexcept nogil
