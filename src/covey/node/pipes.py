# SPDX-License-Identifier: BSD-3-Clause
"""Named pipes: a node and its callers on one machine meet at a name instead of a port.

Why: `named_pipe=True` is how Playdoh's users reached workers without opening a port. Here the name is a local socket
in a directory that only the user may enter; that, and nothing else, decides who may connect. On Windows it is the
system's own named pipe, which reaches other machines too, over a bridge (`bridge.py`).

May not know: loops, tasks. Guarantees: two nodes never share a name: the second is told which process has it; a name
that a killed node left behind is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat

from covey.errors import CoveyError, PlaceTaken

__all__ = ["DEFAULT_PIPE", "own_pipe", "pipe_address"]

DEFAULT_PIPE = "covey"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")


def pipe_address(
    name: bool | str, folder: str | None = None, *, machine: str | None = None, system: str = os.name
) -> str:
    r"""The address behind `named_pipe=True` or a name; on Windows that on another machine, if one is named.

    >>> import tempfile
    >>> pipe_address("lab", tempfile.mkdtemp())
    'ipc:///...lab.pipe'
    >>> print(pipe_address("lab", machine="lab7", system="nt"))
    pipe:\\lab7\pipe\covey-lab
    """
    text = DEFAULT_PIPE if name is True else name
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise ValueError(
            f"named_pipe={name!r}: True, or a name of at most 40 letters, digits, dots, dashes and underscores, is "
            "needed"
        )
    if system == "nt":
        # Not the bare name: on Windows all programs of a machine share one table of them.
        return rf"pipe:\\{machine or '.'}\pipe\covey-{text}"
    return f"ipc://{os.path.join(folder or _folder(), text)}.pipe"


def own_pipe(address: str) -> int:
    """Takes the name for this process, until the returned descriptor is closed or the process ends."""
    path = address.removeprefix("ipc://") + ".lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise PlaceTaken(
            f"the named pipe {os.path.basename(address)[:-len('.pipe')]!r} is served by process {owner or '?'} already"
            ": stop that one, or choose another name"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _folder() -> str:
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    # A socket's path has 108 bytes.
    path = os.path.join(base, "covey") if base and len(base) < 40 else f"/tmp/covey-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise CoveyError(
            f"named pipes stand in {path}, which is not a directory that you alone may enter: remove it, or chmod 700 "
            "it"
        )
    return path
