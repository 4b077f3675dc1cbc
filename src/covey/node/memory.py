# SPDX-License-Identifier: BSD-3-Clause
"""How much memory there is for us, and how much of it a process has.

Why: a container's limit kills a slot long before the machine is full, and `/proc/meminfo` does not know of it.
psutil would not either (it reads the same file), and covey needs no more of it than two files of /proc; so it is not
a dependency, and where there is no /proc the memory of a process is unknown rather than wrong.

May not know: slots. Guarantees: reads below `root` only; what cannot be read limits nothing and counts as 0.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from covey.node.cgroups import group_folders, lines_of

__all__ = ["Memory", "available_memory", "reclaimable_memory", "resident_memory"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: what this machine or container has, and what of it is free for the asking. 0: not known."""

    total: int
    available: int
    because: str


def available_memory(*, root: str = "/", caches: Sequence[str] = ("inactive_file",)) -> Memory:
    """The memory of this machine, or the least that a control group leaves of it.

    `caches`: the sorts of cached files, as the kernel calls them, that count as available.

    >>> available_memory().total > 0
    True
    """
    least = _of_the_machine(root)
    available = least.available if least.total else None
    for version, folder in group_folders(root, "memory"):
        group = _of_a_group(folder, version, caches, available)
        if group is None:
            continue
        if least.total == 0 or group.total < least.total:
            least = group
        # Groups above hold other processes too: one that is nearly full leaves little, however large it is.
        available = group.available if available is None else min(available, group.available)
    return Memory(least.total, min(available or 0, least.total), least.because)


def reclaimable_memory(*, root: str = "/") -> Memory:
    """As `available_memory`, with all cached files counted as available, those in use too: before it kills, the kernel
    drops them, at the price of reading them again.

    >>> reclaimable_memory().available >= available_memory().available // 2
    True
    """
    return available_memory(root=root, caches=("inactive_file", "active_file"))


def resident_memory(pid: int, *, root: str = "/") -> int | None:
    """The bytes of memory that a process occupies; None if it is gone or this system does not say.

    >>> resident_memory(os.getpid(), root="/nowhere") is None
    True
    """
    fields = " ".join(lines_of(root, f"proc/{pid}/statm")).split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 and fields[1].isdigit() else None


def _of_the_machine(root: str) -> Memory:
    found: dict[str, int] = {}
    for line in lines_of(root, "proc/meminfo"):
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdigit():
            found[name] = int(number[0]) * 1024
    total = found.get("MemTotal", 0)
    if not total:
        # macOS has no /proc; the fixtures of a test that have none mean a machine that does not say.
        with contextlib.suppress(ValueError, OSError):
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if root == "/" else 0
    return Memory(total, found.get("MemAvailable", total), "the memory of this machine")


def _of_a_group(folder: str, version: int, caches: Sequence[str], least: int | None) -> Memory | None:
    limit, usage, prefix = (
        ("memory.max", "memory.current", "")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
    )
    # "max" is no number; version 1 says no limit by a number larger than any machine, which is never the least.
    total = _number(lines_of(folder, limit))
    if total is None:
        return None
    used = _number(lines_of(folder, usage)) or 0
    if least is not None and total - used >= least:
        # Already more than elsewhere. The kernel adds its statistics up when they are read, on each of its CPUs, and
        # this is read every second.
        return Memory(total, total - used, "the memory limit of this container")
    # Cached files are given back to whoever asks for memory.
    given_back = 0
    for line in lines_of(folder, "memory.stat"):
        name, _, number = line.partition(" ")
        if name.startswith(prefix) and name.removeprefix(prefix) in caches:
            given_back += _number([number]) or 0
    return Memory(total, max(0, total - max(0, used - given_back)), "the memory limit of this container")


def _number(lines: list[str]) -> int | None:
    return int(lines[0]) if lines and lines[0].isascii() and lines[0].isdigit() else None
