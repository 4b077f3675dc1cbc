# SPDX-License-Identifier: BSD-3-Clause
"""See kin.pxd, the contents page."""
from libc.stdlib cimport free, malloc
from posix.unistd cimport getpgid, getpid

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
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
    /* Of looks through all processes; the next one a millisecond later, should one just be changing its program. */
    #define COVEY_KIN_ROUNDS 100
    #define COVEY_KIN_GROUPS 1024

    /* What /proc says of the process of this folder, from the end of its name on; NULL: it is gone, or waits to be reaped. */
    static char* covey_kin_stat(int folder, char* text, size_t room) {
        char* at;
        ssize_t size = -1;
        int file = openat(folder, "stat", O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            size = read(file, text, room - 1);
            close(file);
        }
        if (size <= 0) return NULL;
        text[size] = 0;
        at = strrchr(text, ')');
        return at == NULL || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X' ? NULL : at;
    }

    /* Whether it is just changing its program: then it has no environment, and will have one. */
    static int covey_kin_changes(int folder) {
        char text[2048];
        char* at = covey_kin_stat(folder, text, sizeof(text));
        int field;
        /* Field 9 has the bit of the kernel's own threads, which have none ever; field 51 is where the environment ends. */
        for (field = 2; at != NULL && field < 51; field++) {
            if (field == 9 && strtoul(at, NULL, 10) & 0x00200000) return 0;
            at = strchr(at + 1, ' ');
        }
        return at != NULL && strtoull(at, NULL, 10) == 0;
    }

    /* Whether the mark stands in the environment that the process of this folder was started with. -1: it has none yet,
       because it is about to change its program. */
    static int covey_kin_marked(int folder, const char* mark, size_t size) {
        char piece[16384];
        size_t kept = 0;
        ssize_t more;
        int found = 0;
        int empty = 1;
        int file = openat(folder, "environ", O_RDONLY | O_CLOEXEC);
        if (file < 0) return 0;
        if (size && size < sizeof(piece) / 2)
            while (!found && (more = read(file, piece + kept, sizeof(piece) - kept)) > 0) {
                size_t held = kept + (size_t) more;
                empty = 0;
                found = memmem(piece, held, mark, size) != NULL;
                /* It may be cut in two by the end of a piece. */
                kept = held < size ? held : size - 1;
                memmove(piece, piece + held - kept, kept);
            }
        close(file);
        return empty && covey_kin_changes(folder) ? -1 : found;
    }

    static int covey_kin_among(int number, const int* numbers, int count) {
        while (count--) if (number == numbers[count]) return 1;
        return 0;
    }

    static int covey_kin_round(DIR* all, const char* mark, int* groups, int* number, int* undecided) {
        struct dirent* entry;
        size_t size = strlen(mark);
        int count = 0;
        while ((entry = readdir(all)) != NULL) {
            int pid = isdigit((unsigned char) entry->d_name[0]) ? atoi(entry->d_name) : 0;
            int folder, group, marked;
            char text[2048];
            if (pid <= 1 || pid == getpid()) continue;
            folder = openat(dirfd(all), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (folder < 0) continue;
            group = getpgid(pid);
            if (covey_kin_among(group, groups, *number))
                marked = group != pid && covey_kin_stat(folder, text, sizeof(text)) != NULL;
            else marked = covey_kin_marked(folder, mark, size);
            *undecided += marked < 0;
            if (marked > 0) {
                /* A slot of a flock in a task: it leads a group of its own, which its end takes out of sight. */
                if (group == pid && *number < COVEY_KIN_GROUPS) groups[(*number)++] = pid;
                /* By the folder, which means this process even when its number has become another's. */
                int sent = (int) syscall(SYS_pidfd_send_signal, folder, SIGKILL, NULL, 0);
                if (sent < 0 && errno != ESRCH) sent = kill(pid, SIGKILL);
                count += sent == 0;
            }
            close(folder);
        }
        return count;
    }

    static int covey_kin_kill(const char* mark, const int* groups, int number) {
        DIR* all = opendir("/proc");
        int known[COVEY_KIN_GROUPS];
        int count = 0;
        int round;
        if (number > COVEY_KIN_GROUPS) number = COVEY_KIN_GROUPS;
        if (number) memcpy(known, groups, number * sizeof(int));
        if (all == NULL) return 0;
        for (round = 0; round < COVEY_KIN_ROUNDS; round++) {
            int undecided = 0;
            /* One that was killed may have started another before it died. */
            int killed = covey_kin_round(all, mark, known, &number, &undecided);
            if (killed == 0 && undecided == 0) break;
            count = killed > count ? killed : count;
            usleep(1000);
            rewinddir(all);
        }
        closedir(all);
        return count;
    }

    static int covey_adopt(int on) { return prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0); }
    #else
    static int covey_kin_kill(const char* mark, const int* groups, int number) { return 0; }
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
    int covey_kin_kill(const char* mark, const int* groups, int number) nogil
    void covey_die() nogil
    int covey_await_close(int fd) nogil
    int covey_adopt(int on) nogil


cdef int kin_kill(const char* mark, const int* groups, int count) noexcept nogil:
    return covey_kin_kill(mark, groups, count)


cdef void kin_die(const char* mark) noexcept nogil:
    cdef int group = getpgid(0)
    if mark != NULL:
        # A slot leads its own group; whoever has been started otherwise may not end that of a terminal.
        kin_kill(mark, &group, group == getpid())
    covey_die()


cdef void kin_guard(int lifeline, const char* mark) noexcept nogil:
    if covey_await_close(lifeline):
        kin_die(mark)


def kill_kin(bytes mark not None, groups=()):
    """The same for Python, which lets go of the GIL meanwhile.

    >>> kill_kin(b"nobody has this mark")
    0
    """
    cdef const char* text = mark
    cdef int number = len(groups)
    cdef int* numbers = <int*> malloc((number + 1) * sizeof(int))
    cdef int count = 0
    if numbers == NULL:
        raise MemoryError("no memory for a list of groups")
    for group in groups:
        numbers[count] = group
        count += 1
    with nogil:
        count = kin_kill(text, numbers, number)
    free(numbers)
    return count


def adopt_orphans(bint wanted):
    """Whether the orphans of this process's descendants become its children, to be reaped by it; False: not to be had."""
    return covey_adopt(wanted) == 0
