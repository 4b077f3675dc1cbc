# SPDX-License-Identifier: BSD-3-Clause
"""The run directory of a node: a private place for its socket, its outfit and what its slots say when they die.

Why: whoever can connect to the broker's socket can run code as this user, so on one machine the door is a
directory that only the user can enter (0700). Names of ipc sockets are limited to about 100 bytes, so it
lies in `/tmp` where the temporary directory has a long name.

May not know: slots, the broker. Guarantees: it is removed at `remove`, at garbage collection or at
interpreter exit, whichever is first, and never by a forked child. A node that was killed cannot remove its
own: the next one does (`sweep`). A directory is in use while a lock on its `owner` file is held, which ends
with the process, however that ends.
"""

import contextlib
import fcntl
import os
import stat
import sys
import time
import weakref
from typing import Self

__all__ = ["RunDir", "sweep"]

# sun_path takes 108 bytes on Linux and 104 on BSD, with the final zero; a socket in here needs "/broker" more.
_LONGEST = 96
# A directory without a lock may be one that another process has made and not locked yet.
_SWEEP_AFTER = 60.0


class RunDir:
    """A private directory for one node.

    >>> with RunDir() as folder:
    ...     path = folder.write("outfit", b"x")
    """

    def __init__(self, base: str | None = None) -> None:
        self.path = _make(base or _base())
        self._lock = os.open(os.path.join(self.path, "owner"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._remove = weakref.finalize(self, _remove, self.path, self._lock, os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<RunDir {self.path}{'' if self._remove.alive else ', removed'}>"

    def join(self, name: str) -> str:
        return os.path.join(self.path, name)

    def write(self, name: str, data: bytes) -> str:
        """Makes a file that only the user can read, and returns its path."""
        path = self.join(name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
        return path

    def remove(self) -> None:
        """Removes the directory and all in it. May be called again; a forked child only lets go of its copy."""
        self._remove()


def sweep(base: str | None = None) -> list[str]:
    """Removes what killed nodes of this user left behind, and returns what it removed."""
    base = base or _base()
    gone = []
    for name in os.listdir(base):
        path = os.path.join(base, name)
        if name.startswith("covey-") and _abandoned(path):
            _empty(path)
            gone.append(path)
    return gone


def _base() -> str:
    # Importing tempfile costs 10 ms, and all that it knows is this; a choice somebody made there is respected.
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        chosen = str(tempfile.gettempdir())
    else:
        places = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
        chosen = next((os.path.abspath(place) for place in places if place and os.access(place, os.W_OK)), "/tmp")
    return chosen if len(os.fsencode(chosen)) <= _LONGEST - len("/covey-4194304-0123456789ab") else "/tmp"


def _make(base: str) -> str:
    while True:
        path = os.path.join(base, f"covey-{os.getpid()}-{os.urandom(6).hex()}")
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            continue
        except OSError as error:
            sentence = f"covey cannot make its run directory ({error.strerror}): set TMPDIR to a place it may write to"
            raise OSError(error.errno, sentence, path) from None
        return path


def _remove(path: str, lock: int, owner: int) -> None:
    # A forked child holds a copy of this object; the directory is its parent's, the descriptor is its own.
    if os.getpid() == owner:
        _empty(path)
    os.close(lock)


def _empty(path: str) -> None:
    # Nobody can be helped by an error here: what is left is an unwilling file system's, or a user's own file.
    with contextlib.suppress(OSError):
        for name in os.listdir(path):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(path, name))
        os.rmdir(path)


def _abandoned(path: str) -> bool:
    try:
        what = os.lstat(path)
        if not stat.S_ISDIR(what.st_mode) or what.st_uid != os.getuid() or time.time() - what.st_mtime < _SWEEP_AFTER:
            return False
        owner = os.open(os.path.join(path, "owner"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(owner)
    return True
