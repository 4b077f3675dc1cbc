# SPDX-License-Identifier: BSD-3-Clause
"""See spill.pxd, the contents page."""
import os

from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock, PyThread_type_lock)
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, strdup
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from covey.wire.bale cimport Bale, Frame, bale_drop
from covey.wire.protocol cimport Header

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <fcntl.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <sys/statvfs.h>
    #include <unistd.h>
    #ifndef MAP_NORESERVE
    #define MAP_NORESERVE 0
    #endif

    static int64_t covey_held = 0, covey_spilled = 0;
    #define covey_add(at, n) __atomic_add_fetch((at), (n), __ATOMIC_RELAXED)
    #define covey_get(at) __atomic_load_n((at), __ATOMIC_RELAXED)

    /* A file without a name: with it goes whatever is in it, however this process ends. */
    static int covey_nameless(const char* folder) {
        char path[4096];
        int fd = -1;
    #ifdef O_TMPFILE
        fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
    #endif
        if (snprintf(path, sizeof(path), "%s/covey-spill-XXXXXX", folder) >= (int) sizeof(path)) return -1;
        fd = mkstemp(path);
        if (fd >= 0) {
            unlink(path);
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
        return fd;
    }

    /* A disk is left a twentieth of it: others write there, too. */
    static int covey_roomy(int fd, size_t size) {
        struct statvfs disk;
        if (fstatvfs(fd, &disk) < 0) return 0;
        return (uint64_t) disk.f_bavail * disk.f_frsize >= (uint64_t) disk.f_blocks * disk.f_frsize / 20 + size;
    }

    /* The bytes are on the disk, and read from there from now on. 0, or an errno; then nothing has changed. */
    static int covey_write_out(const char* folder, unsigned char* from, size_t size) {
        int fd = covey_nameless(folder);
        int error = 0;
        size_t done = 0;
        if (fd < 0) return errno ? errno : EIO;
        if (!covey_roomy(fd, size)) error = ENOSPC;
        while (!error && done < size) {
            ssize_t some = pwrite(fd, from + done, size - done, (off_t) done);
            if (some > 0) done += (size_t) some;
            else if (some == 0 || errno != EINTR) error = some == 0 ? EIO : errno;
        }
        /* Some file systems find out only here that there is no room. */
    #ifdef __APPLE__
        if (!error && fsync(fd) < 0) error = errno;
    #else
        if (!error && fdatasync(fd) < 0) error = errno;
        if (!error) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    #endif
        /* Private: should anybody write there after all, it is his copy. */
        if (!error && mmap(from, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED) error = errno;
        close(fd);
        return error;
    }

    static void* covey_pages(size_t size) {
        void* pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return pages == MAP_FAILED ? NULL : pages;
    }
    """
    int64_t covey_held
    int64_t covey_spilled
    int64_t covey_add(int64_t* at, int64_t n) noexcept nogil
    int64_t covey_get(int64_t* at) noexcept nogil
    int covey_write_out(const char* folder, unsigned char* start, size_t size) noexcept nogil
    void* covey_pages(size_t size) noexcept nogil
    int munmap(void* at, size_t size) noexcept nogil

cdef enum:
    HEAD = 4096                     # of a message with one record, the loop writes into no more than this
    CHUNK = 8388608                 # written at once
    # The kernel keeps 65,530 mappings for a process, and each of these may come to be two and more.
    MOST = 16384

# Seconds before a place where something could not be written is tried again.
cdef double PATIENCE = 2.0

cdef struct Large:
    Bale bale
    Large* newer
    Large* older
    size_t room                     # bytes of its pages
    size_t begin                    # what lies before stays. All of these: from its start
    size_t filled                   # what lies before has its bytes
    size_t spilled                  # from `begin` to here it is in files
    size_t counted                  # to here it was counted as held
    bint listed
    bint busy                       # the thread writes a chunk of it; then it is not let go
    bint dead                       # and should be, as soon as that is done

cdef size_t _page = os.sysconf("SC_PAGE_SIZE")

# What is large and not all in files, under `_lock`. Nobody else's lock is taken under it, and neither is the GIL.
cdef PyThread_type_lock _lock = PyThread_allocate_lock()
cdef PyThread_type_lock _bell = PyThread_allocate_lock()
cdef Large* _newest = NULL
cdef uint32_t _count = 0
cdef char* _folder = NULL           # NULL: there is no place
cdef int _error = 0                 # errno of the last chunk
cdef double _tried_at = 0           # when that was
cdef uint64_t _most = ~<uint64_t> 0
cdef bint _behind = False           # there may be something to write
cdef uint64_t _ever = 0             # bytes written, ever
cdef bint _ending = False


cdef void held_add(int64_t size) noexcept nogil:
    covey_add(&covey_held, size)


cdef uint64_t held_now() noexcept nogil:
    return <uint64_t> max(covey_get(&covey_held), <int64_t> 0)


cdef uint64_t spilled_now() noexcept nogil:
    return <uint64_t> max(covey_get(&covey_spilled), <int64_t> 0)


cdef inline size_t _up(size_t size, size_t unit) noexcept nogil:
    return (size + unit - 1) // unit * unit


cdef void _release(Large* self) noexcept nogil:
    """Under the lock."""
    covey_add(&covey_held, -<int64_t> (self.counted - (self.spilled - self.begin)))
    covey_add(&covey_spilled, -<int64_t> (self.spilled - self.begin))
    munmap(self, self.room)


cdef void _unlist(Large* self) noexcept nogil:
    """Under the lock."""
    global _newest
    if not self.listed:
        return
    self.listed = False
    if self.newer != NULL:
        self.newer.older = self.older
    else:
        _newest = self.older
    if self.older != NULL:
        self.older.newer = self.newer


cdef void _discard(Bale* bale) noexcept nogil:
    global _count
    cdef Large* self = <Large*> bale
    PyThread_acquire_lock(_lock, 1)
    _unlist(self)
    _count -= 1
    if self.busy:
        self.dead = True
    else:
        _release(self)
    PyThread_release_lock(_lock)


cdef inline uint64_t _size_at(const void* sizes, uint32_t number) noexcept nogil:
    # They may stand in a message, where nothing is aligned.
    cdef uint64_t size
    memcpy(&size, <const char*> sizes + number * sizeof(uint64_t), sizeof(uint64_t))
    return size


cdef Bale* large_new(const void* sizes, uint32_t count) noexcept nogil:
    global _newest, _count
    cdef uint64_t total = _up(sizeof(Large) + <uint64_t> count * sizeof(Frame), 16)
    cdef unsigned char* at
    cdef Large* self
    cdef uint32_t i
    for i in range(count):
        # No sum may pass what an address can be.
        if _size_at(sizes, i) > <uint64_t> 1 << 46 or total > <uint64_t> 1 << 46:
            return NULL
        # For the arrays that will be views of it.
        total += _up(_size_at(sizes, i), 16)
    self = <Large*> covey_pages(_up(total, _page))
    if self == NULL:
        return NULL
    self.room = _up(total, _page)
    self.bale.holders = 1
    self.bale.count = count
    self.bale.frames = <Frame*> (self + 1)
    self.bale.discard = _discard
    at = <unsigned char*> self + _up(sizeof(Large) + <uint64_t> count * sizeof(Frame), 16)
    for i in range(count):
        self.bale.frames[i].data = at
        self.bale.frames[i].size = _size_at(sizes, i)
        at += _up(self.bale.frames[i].size, 16)
    # Unknown as long as the first head is not there.
    self.begin = self.filled = self.spilled = self.room
    PyThread_acquire_lock(_lock, 1)
    self.older = _newest
    if _newest != NULL:
        _newest.newer = self
    _newest = self
    self.listed = True
    _count += 1
    PyThread_release_lock(_lock)
    return &self.bale


cdef void large_fill(Bale* bale, const unsigned char* end) noexcept nogil:
    global _behind
    cdef Large* self = <Large*> bale
    cdef const Frame* first = &bale.frames[0]
    cdef size_t filled = <size_t> (end - <unsigned char*> self)
    cdef size_t head = <size_t> (first.data - <unsigned char*> self)
    cdef bint whole = end >= bale.frames[bale.count - 1].data + bale.frames[bale.count - 1].size
    if filled < head + sizeof(Header):
        return
    PyThread_acquire_lock(_lock, 1)
    if self.begin == self.room:
        head += HEAD if (<const Header*> first.data).count <= 1 else first.size
        self.begin = self.spilled = min(_up(head, _page), self.room)
    self.filled = self.room if whole else filled
    covey_add(&covey_held, <int64_t> (self.filled - self.counted))
    self.counted = self.filled
    if whole and self.spilled == self.room:
        _unlist(self)
    _behind = _behind or _left(self) >= WORTH_IT
    PyThread_release_lock(_lock)
    if held_now() > _most:
        _ring()


cdef Bale* large_copy(const Bale* bale) noexcept nogil:
    cdef uint64_t sizes[8]
    cdef uint64_t total = 0
    cdef uint32_t i
    cdef Bale* copy
    if bale.count > 8 or _count >= MOST:
        return NULL
    for i in range(bale.count):
        sizes[i] = bale.frames[i].size
        total += sizes[i]
    if total < WORTH_IT:
        return NULL
    copy = large_new(sizes, bale.count)
    if copy == NULL:
        return NULL
    for i in range(bale.count):
        memcpy(copy.frames[i].data, bale.frames[i].data, bale.frames[i].size)
    large_fill(copy, copy.frames[bale.count - 1].data + copy.frames[bale.count - 1].size)
    return copy


cdef bint spill_has_place() noexcept nogil:
    return _folder != NULL and _error == 0


cdef bint spill_is_behind() noexcept nogil:
    return spill_has_place() and _behind and held_now() > _most


cdef void spill_above(uint64_t bytes) noexcept nogil:
    global _most
    _most = bytes
    _ring()


cdef void _ring() noexcept nogil:
    # Rung already or not: it is free to be taken once.
    PyThread_acquire_lock(_bell, 0)
    PyThread_release_lock(_bell)


cdef double _now() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <double> now.tv_sec + <double> now.tv_nsec * 1e-9


cdef size_t _left(const Large* self) noexcept nogil:
    """Bytes that may be written next, whole pages."""
    cdef size_t end = self.filled // _page * _page
    return min(end - self.spilled, <size_t> CHUNK) if end > self.spilled else 0


cdef bint _write_one() noexcept nogil:
    """A chunk of what came last, which is needed last; False: there is nothing, or it cannot be written."""
    global _behind, _error, _ever, _tried_at
    cdef Large* self
    cdef size_t size = 0
    cdef int error
    PyThread_acquire_lock(_lock, 1)
    self = _newest
    while self != NULL:
        size = _left(self)
        if size >= WORTH_IT or (size and self.filled == self.room):
            break
        self = self.older
    if self == NULL:
        _behind = False
        PyThread_release_lock(_lock)
        return False
    self.busy = True
    PyThread_release_lock(_lock)
    error = covey_write_out(_folder, <unsigned char*> self + self.spilled, size)
    PyThread_acquire_lock(_lock, 1)
    self.busy = False
    _error = error
    _tried_at = _now()
    if error == 0:
        self.spilled += size
        _ever += size
        covey_add(&covey_held, -<int64_t> size)
        covey_add(&covey_spilled, <int64_t> size)
        if self.spilled == self.room:
            _unlist(self)
    if self.dead:
        _release(self)
    PyThread_release_lock(_lock)
    return error == 0


def spill_begin(str folder not None):
    """From now on nameless files in this folder are the place for what is too much; `spill_serve` writes them."""
    global _folder, _ending, _error
    if _folder != NULL:
        raise RuntimeError("what is too much for memory has a place in this process already")
    _error = 0
    _ending = False
    _folder = strdup(os.fsencode(folder))
    if _folder == NULL:
        raise MemoryError("no memory for a folder's name")


def spill_serve():
    """Writes what is too much, until `spill_end`; in a thread of its own, without the GIL. After `spill_begin`."""
    global _folder
    with nogil:
        while not _ending:
            PyThread_acquire_lock(_bell, 1)
            while not _ending and held_now() > _most and (_error == 0 or _now() > _tried_at + PATIENCE):
                if not _write_one():
                    break
        free(_folder)
        _folder = NULL


def spill_end():
    """Ends `spill_serve`; what is in files stays readable there."""
    global _ending
    _ending = True
    _ring()


def spill_figures():
    """Bytes of messages in memory, bytes in files, bytes ever written there, and why the last try failed (an errno, or 0)."""
    return held_now(), spilled_now(), _ever, _error


def spill_hold(frames not None, uint64_t most):
    """For tests: a message of these frames as a large one; no more than `most` bytes of messages are to be held."""
    return _Held(frames, most)


cdef class _Held:
    cdef Bale* bale

    def __cinit__(self, frames, uint64_t most):
        cdef uint64_t sizes[8]
        cdef const unsigned char[::1] flat
        cdef uint32_t i
        spill_above(most)
        for i in range(len(frames)):
            sizes[i] = len(frames[i])
        self.bale = large_new(sizes, len(frames))
        if self.bale == NULL:
            raise MemoryError("no memory for a large message")
        for i in range(len(frames)):
            flat = frames[i]
            memcpy(self.bale.frames[i].data, &flat[0], sizes[i])
            large_fill(self.bale, self.bale.frames[i].data + sizes[i])

    def frames(self):
        return [(<const char*> self.bale.frames[i].data)[:self.bale.frames[i].size] for i in range(self.bale.count)]

    def __dealloc__(self):
        bale_drop(self.bale)
