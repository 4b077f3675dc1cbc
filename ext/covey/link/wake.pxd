# SPDX-License-Identifier: BSD-3-Clause
"""A bell: any thread rings it, one thread waits for it and for one file descriptor besides."""

from libc.stdint cimport uint8_t

cdef struct Wake:
    int ends[2]                     # a pipe, both ends non-blocking
    bint quick                      # the last wait was soon over, so the next one may be

cdef int wake_init(Wake* self) noexcept nogil
cdef void wake_free(Wake* self) noexcept nogil
cdef void wake_ring(Wake* self) noexcept nogil
cdef void wake_drain(Wake* self) noexcept nogil
# How often a wait looks before it sleeps. Waking a sleeping thread takes 10 to 20 µs, and a round trip crosses eight of
# them; what a caller waits for now is mostly there within the 80 µs that these looks take. Each look offers the
# core to whoever wants it. Whoever waited in vain sleeps at once the next time: where tasks take milliseconds, the
# looks of all who wait for them would cost a hundredth of the cores.
cdef enum:
    ASLEEP = 0                      # nobody waits for us just now: sleep at once
    EAGER = 100

# Seconds that a wait may take for the next one to begin with looks.
cdef double SOON

# Until the bell rings, `fd` (or -1) is readable, or `seconds` are over (infinity: no limit). Drains the bell.
# 1 if `other` (or -1) was readable: a third descriptor, for a lifeline. Else 0.
cdef int wake_wait(Wake* self, int fd, int other, double seconds, int looks) noexcept nogil
# As wake_wait for any number of descriptors; sets `readable` of those that are. Returns how many.
cdef int wake_wait_many(Wake* self, const int* fds, uint8_t* readable, int count, double seconds, int looks) noexcept nogil
