# SPDX-License-Identifier: BSD-3-Clause
"""How much memory a shared broker may have, and where it puts what is too much.

Why: the arguments of many clients' tasks, and results that are not taken, can be more than a login node has. The
broker's own loop writes them out and holds credit back (`covey.broker.pressure`, `covey.wire.spill`); here it is told
the numbers.

May not know: messages, command lines. Guarantees: what lies in memory itself (tmpfs) is no place; without a place the
bound holds nevertheless, by holding back; after `close` the thread is gone, and no file was ever seen.
"""

import errno
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from covey.errors import BadSetting
from covey.node.memory import available_memory, resident_memory
from covey.settings import MIB, Settings
from covey.wire.spill import spill_begin, spill_end, spill_figures, spill_serve

__all__ = ["LEAST_MEMORY", "Bound", "Spilling", "find_place"]

# Python and the tables take half of it.
LEAST_MEMORY = 64 * MIB
# File systems that are memory themselves.
_IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")


class BoundLoop(Protocol):
    """What is needed of the loop."""

    @property
    def holds_back(self) -> bool: ...
    def allow_memory(self, messages: int, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Bound:
    """What the process may have, in bytes, and the folder for what is too much; None: `why` there is none."""

    memory: int
    place: str | None
    why: str = ""

    @classmethod
    def of(cls, settings: Settings, total: int | None = None) -> "Bound | None":
        """As the settings say; None where nothing is said and nobody knows how much memory there is.

        >>> Bound.of(Settings(max_memory=1 << 30, spill_dir="/nowhere")).place is None
        True
        """
        memory = settings.max_memory
        if 0 < memory < LEAST_MEMORY:
            raise BadSetting(f"a broker with max_memory={memory} could not begin: give at least {LEAST_MEMORY} bytes "
                             "(64 MiB), or 0 for half of what there is")
        if not memory:
            memory = (available_memory().total if total is None else total) // 2
        return cls(memory, *find_place(settings.spill_dir)) if memory else None


def find_place(
    chosen: str | None = None, *, environ: Sequence[str] = ("TMPDIR",), mounts: Iterable[str] | None = None
) -> tuple[str | None, str]:
    """The folder for what is too much, and why there is none. `mounts`: the lines of /proc/mounts.

    >>> find_place("/dev/shm", mounts=["none / ext4 rw 0 0", "tmpfs /dev/shm tmpfs rw 0 0"])
    (None, '/dev/shm is no disk but memory (tmpfs): name a folder on a disk (COVEY_SPILL_DIR)')
    """
    wanted = [chosen] if chosen else [*filter(None, map(os.environ.get, environ)), "/var/tmp", "/tmp"]
    kinds = _kinds(_read_mounts() if mounts is None else mounts)
    why = ""
    for folder in wanted:
        kind = _kind_of(os.path.realpath(folder), kinds)
        if kind in _IN_MEMORY:
            why = why or f"{folder} is no disk but memory ({kind}): name a folder on a disk (COVEY_SPILL_DIR)"
        elif not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
            why = why or f"{folder} is no folder that can be written to: name another one (COVEY_SPILL_DIR)"
        else:
            return folder, ""
    return None, why


def _read_mounts() -> list[str]:
    try:
        with open("/proc/mounts", encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _kinds(mounts: Iterable[str]) -> dict[str, str]:
    fields = (line.split() for line in mounts)
    # The last one that is mounted there hides the others.
    return {field[1].replace("\\040", " "): field[2] for field in fields if len(field) > 2}


def _kind_of(path: str, kinds: dict[str, str]) -> str:
    while path not in kinds and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return kinds.get(path, "")


class Spilling:
    """Holds a loop to a bound, until it is closed."""

    def __init__(self, loop: BoundLoop, bound: Bound) -> None:
        self._loop = loop
        self._bound = bound
        # What is no message: the interpreter, libraries, tables.
        self._base = resident_memory(os.getpid()) or 0
        self._messages = max(bound.memory - self._base, bound.memory // 4)
        self._thread: threading.Thread | None = None
        if bound.place is not None:
            spill_begin(bound.place)
            self._thread = threading.Thread(target=spill_serve, name="covey-spill", daemon=True)
            self._thread.start()
        loop.allow_memory(self._messages)

    def figures(self) -> dict[str, object]:
        """For the status: bytes, and what is wrong if something is."""
        held, spilled, ever, error = spill_figures()
        return {
            "limit": self._bound.memory,
            "messages": self._messages,
            "held": held,
            "spilled": spilled,
            "spilled_ever": ever,
            "place": self._bound.place,
            "holds_back": self._loop.holds_back,
            "why": f"{self._bound.place}: {os.strerror(error)} ({errno.errorcode.get(error, error)})" if error
            else self._bound.why,
        }

    def close(self) -> None:
        """Ends the thread. What it has written stays readable until nobody needs it."""
        if self._thread is not None:
            spill_end()
            self._thread.join()
            self._thread = None
