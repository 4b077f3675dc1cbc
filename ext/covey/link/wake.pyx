# SPDX-License-Identifier: BSD-3-Clause
"""See wake.pxd, the contents page."""
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close, read, write

cdef extern from *:
    """
    #include <fcntl.h>
    #include <poll.h>
    #include <sched.h>
    #include <unistd.h>
    static int covey_pipe(int* ends) {
        if (pipe(ends) < 0) { ends[0] = ends[1] = -1; return -1; }
        for (int i = 0; i < 2; i++) {
            fcntl(ends[i], F_SETFD, FD_CLOEXEC);
            fcntl(ends[i], F_SETFL, O_NONBLOCK);
        }
        return 0;
    }
    /* A bit for each readable descriptor, in the order given; negative descriptors are passed over. */
    static int covey_wait(int a, int b, int c, int milliseconds, int looks) {
        struct pollfd items[3] = {{a, POLLIN, 0}, {b, POLLIN, 0}, {c, POLLIN, 0}};
        int found = 0;
        for (; looks > 0 && milliseconds != 0; looks--) {
            found = poll(items, 3, 0);
            if (found) break;
            sched_yield();
        }
        if (!found) found = poll(items, 3, milliseconds);
        if (found <= 0) return 0;
        return (items[0].revents != 0) | (items[1].revents != 0) << 1 | (items[2].revents != 0) << 2;
    }
    static int covey_wait_many(
            int bell, const int* fds, unsigned char* readable, int count, int milliseconds, int looks) {
        struct pollfd items[count + 1];
        int found = 0;
        items[count] = (struct pollfd) {bell, POLLIN, 0};
        for (int i = 0; i < count; i++) items[i] = (struct pollfd) {fds[i], POLLIN, 0};
        for (; looks > 0 && milliseconds != 0; looks--) {
            found = poll(items, count + 1, 0);
            if (found) break;
            sched_yield();
        }
        if (!found) found = poll(items, count + 1, milliseconds);
        if (found <= 0) return 0;
        for (int i = 0; i < count; i++) if (items[i].revents) readable[i] = 1;
        return found - (items[count].revents != 0) + (items[count].revents ? 1 << 30 : 0);
    }
    """
    int covey_pipe(int* ends) noexcept nogil
    int covey_wait(int a, int b, int c, int milliseconds, int looks) noexcept nogil
    int covey_wait_many(
        int bell, const int* fds, unsigned char* readable, int count, int milliseconds, int looks) noexcept nogil


SOON = 0.00015


cdef double _clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <double> now.tv_sec + <double> now.tv_nsec * 1e-9


cdef int wake_init(Wake* self) noexcept nogil:
    self.quick = True
    return covey_pipe(self.ends)


cdef void wake_free(Wake* self) noexcept nogil:
    if self.ends[0] >= 0:
        close(self.ends[0])
        close(self.ends[1])
    self.ends[0] = self.ends[1] = -1


cdef void wake_ring(Wake* self) noexcept nogil:
    cdef char byte = 0
    # A full pipe has rung already.
    write(self.ends[1], &byte, 1)


cdef void wake_drain(Wake* self) noexcept nogil:
    cdef char bytes[256]
    while read(self.ends[0], bytes, sizeof(bytes)) == sizeof(bytes):
        pass


cdef int _milliseconds(double seconds) noexcept nogil:
    if seconds <= 0:
        return 0
    if seconds > 3600:
        return -1
    # Rounded up, lest a wait that is nearly over become a spin.
    return <int> (seconds * 1000) + 1


cdef int wake_wait(Wake* self, int fd, int other, double seconds, int looks) noexcept nogil:
    cdef int readable
    cdef double start = _clock()
    readable = covey_wait(self.ends[0], fd, other, _milliseconds(seconds), looks if self.quick else ASLEEP)
    if looks:
        self.quick = _clock() - start < SOON
    if readable & 1:
        wake_drain(self)
    return (readable >> 2) & 1


cdef int wake_wait_many(Wake* self, const int* fds, uint8_t* readable, int count, double seconds, int looks) noexcept nogil:
    cdef double start = _clock()
    cdef int found = covey_wait_many(
        self.ends[0], fds, readable, count, _milliseconds(seconds), looks if self.quick else ASLEEP)
    if looks:
        self.quick = _clock() - start < SOON
    if found >> 30:
        wake_drain(self)
    return found & ((1 << 30) - 1)
