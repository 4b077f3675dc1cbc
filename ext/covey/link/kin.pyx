# SPDX-License-Identifier: BSD-3-Clause
"""See kin.pxd, the contents page."""

cdef extern from *:
    """
    #define _GNU_SOURCE
    #include <ctype.h>
    #include <dirent.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <poll.h>
    #include <signal.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/types.h>
    #include <unistd.h>
    #ifdef __linux__
    #include <sys/prctl.h>
    #include <sys/syscall.h>
    #ifndef SYS_pidfd_send_signal
    #define SYS_pidfd_send_signal 424
    #endif
    #define COVEY_KIN_ROUNDS 4

    /* Whether the mark stands in the environment that the process of this folder was started with. */
    static int covey_kin_marked(int folder, const char* mark, size_t size) {
        char piece[16384];
        size_t kept = 0;
        ssize_t more;
        int found = 0;
        int file = openat(folder, "environ", O_RDONLY | O_CLOEXEC);
        if (file < 0) return 0;
        if (size && size < sizeof(piece) / 2)
            while (!found && (more = read(file, piece + kept, sizeof(piece) - kept)) > 0) {
                size_t held = kept + (size_t) more;
                found = memmem(piece, held, mark, size) != NULL;
                /* It may be cut in two by the end of a piece. */
                kept = held < size ? held : size - 1;
                memmove(piece, piece + held - kept, kept);
            }
        close(file);
        return found;
    }

    static int covey_kin_round(DIR* all, const char* mark, int session) {
        struct dirent* entry;
        size_t size = strlen(mark);
        int count = 0;
        while ((entry = readdir(all)) != NULL) {
            int pid = isdigit((unsigned char) entry->d_name[0]) ? atoi(entry->d_name) : 0;
            int folder;
            if (pid <= 1 || pid == getpid() || pid == session) continue;
            folder = openat(dirfd(all), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (folder < 0) continue;
            if ((session > 0 && getsid(pid) == session) || covey_kin_marked(folder, mark, size)) {
                /* By the folder, which means this process even when its number has become another's. */
                int sent = (int) syscall(SYS_pidfd_send_signal, folder, SIGKILL, NULL, 0);
                if (sent < 0 && errno != ESRCH) sent = kill(pid, SIGKILL);
                count += sent == 0;
            }
            close(folder);
        }
        return count;
    }

    static int covey_kin_kill(const char* mark, int session) {
        DIR* all = opendir("/proc");
        int count = 0;
        int round, killed;
        if (all == NULL) return 0;
        for (round = 0; round < COVEY_KIN_ROUNDS; round++) {
            /* One that was killed may have started another before it died. */
            killed = covey_kin_round(all, mark, session);
            if (killed == 0) break;
            count = killed > count ? killed : count;
            rewinddir(all);
        }
        closedir(all);
        return count;
    }

    static int covey_adopt(int on) { return prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0); }
    #else
    static int covey_kin_kill(const char* mark, int session) { return 0; }
    static int covey_adopt(int on) { return -1; }
    #endif

    static void covey_die(void) {
        if (getpgrp() == getpid()) kill(0, SIGKILL);
        _exit(70);
    }

    static int covey_await_close(int fd) {
        struct pollfd one = {fd, POLLIN, 0};
        while (poll(&one, 1, -1) < 0 && errno == EINTR) {}
        return !(one.revents & POLLNVAL);
    }
    """
    int covey_kin_kill(const char* mark, int session) nogil
    void covey_die() nogil
    int covey_await_close(int fd) nogil
    int covey_adopt(int on) nogil


cdef int kin_kill(const char* mark, int session) noexcept nogil:
    return covey_kin_kill(mark, session)


cdef void kin_die(const char* mark) noexcept nogil:
    if mark != NULL:
        kin_kill(mark, -1)
    covey_die()


cdef void kin_guard(int lifeline, const char* mark) noexcept nogil:
    if covey_await_close(lifeline):
        kin_die(mark)


def kill_kin(bytes mark not None, int session=-1):
    """The same for Python, which lets go of the GIL meanwhile.

    >>> kill_kin(b"nobody has this mark")
    0
    """
    cdef const char* text = mark
    cdef int count
    with nogil:
        count = kin_kill(text, session)
    return count


def adopt_orphans(bint wanted):
    """Whether the orphans of this process's descendants become its children, to be reaped by it; False: not to be had."""
    return covey_adopt(wanted) == 0
