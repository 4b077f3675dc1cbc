# SPDX-License-Identifier: BSD-3-Clause
"""Which process has a port: for the sentence that somebody gets who wanted it.

May not know: sockets of ours. Guarantees: an answer or None, never an error; only what this user may see is seen.
"""

from __future__ import annotations

import contextlib
import os

__all__ = ["occupant_of"]

_LISTENING = "0A"


def occupant_of(port: int, root: str = "/proc") -> str | None:
    """'name (pid)' of a process that listens on the TCP port, if it can be told.

    >>> occupant_of(0) is None
    True
    """
    inodes = set(_listening(port, root))
    if not inodes:
        return None
    for pid in os.listdir(root):
        if not pid.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"{root}/{pid}/fd"):
                if os.readlink(f"{root}/{pid}/fd/{descriptor}") in inodes:
                    with open(f"{root}/{pid}/comm", encoding="utf-8", errors="replace") as file:
                        return f"{file.read().strip()} (pid {pid})"
    return None


def _listening(port: int, root: str) -> list[str]:
    found = []
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(OSError), open(f"{root}/{table}", encoding="ascii", errors="replace") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if len(fields) > 9 and fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.append(f"socket:[{fields[9]}]")
    return found
