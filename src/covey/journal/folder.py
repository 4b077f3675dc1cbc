# SPDX-License-Identifier: BSD-3-Clause
"""The directory of a journal: it is its user's alone, and one broker's at a time.

May not know: what stands in the files. Guarantees: what others could have read or written is refused by a sentence;
the lock ends with the process, however that ends.
"""
from __future__ import annotations

import contextlib
import fcntl
import os
import stat

from covey.errors import JournalRefused

__all__ = ["claim", "sync_folder"]

_LOCK = "lock"


def claim(path: str) -> int:
    """Makes the directory if need be, and takes its lock: a descriptor to be kept open for as long as it is used."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
            # Whoever may write there and not read takes the risk that a power cut takes all of it.
            with contextlib.suppress(OSError):
                sync_folder(os.path.dirname(os.path.abspath(path)))
        found = os.stat(path)
    except OSError as error:
        raise JournalRefused(
            f"the journal {path} cannot be made ({error.strerror}): name a folder that this user may write to"
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise JournalRefused(f"the journal {path} is a file: name a folder")
    if found.st_uid != os.geteuid():
        raise JournalRefused(
            f"the journal {path} belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}: "
            "name a folder of your own")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise JournalRefused(f"the journal {path} can be read or changed by others (mode {mode:04o}): chmod 700 {path}")
    return _lock(path)


def _lock(path: str) -> int:
    name = os.path.join(path, _LOCK)
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalRefused(f"the journal {path} cannot be used ({error.strerror}): see that this user may write "
                             "there") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise JournalRefused(f"the journal {path} is in use by another broker (pid {holder}): stop it, or name another "
                             "folder") from None
    # The pid is for people alone: a disk that has no room for it must not keep a broker from serving what is kept.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def sync_folder(path: str) -> None:
    """What was made, renamed or removed in the directory stays so after a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
