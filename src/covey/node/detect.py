# SPDX-License-Identifier: BSD-3-Clause
"""How many CPUs this process may use, and what a user's count makes of it.

Why: `os.cpu_count` counts the machine. A container, a batch job or `taskset` gives a process less, and a
slot more than that only makes every slot slower. So the least of all that is said about it counts.

May not know: slots, settings, sockets. It reads `/proc` and `/sys` below a `root` that tests replace by a
folder of fixtures, and the environment it is given; `COVEY_…` variables are read by the settings alone.
Guarantees: at least one CPU, whatever the files say; a file that is missing or odd limits nothing.
"""

import math
import operator
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["Cpus", "available_cpus", "resolve_count"]


@dataclass(frozen=True, slots=True)
class Cpus:
    """How many CPUs may be used, and what says so (for the sentence that a clipped count gets)."""

    count: int
    because: str


def available_cpus(*, root: str = "/", environment: Mapping[str, str] | None = None, limit: int | None = None) -> Cpus:
    """The CPUs that this process may use: the least of affinity, container quota, scheduler and `limit`.

    `limit` is a wish from the settings, taken as the counts everywhere are (-1: all but one).

    >>> available_cpus().count >= 1
    True
    """
    environment = os.environ if environment is None else environment
    found = [_affinity(), *_quotas(root), *_told(environment)]
    least = min(found, key=lambda cpus: cpus.count)
    if limit is not None:
        wished = least.count + limit if limit < 0 else limit
        if wished < least.count:
            least = Cpus(wished, "COVEY_MAX_CPU")
    return Cpus(max(1, least.count), least.because)


def _affinity() -> Cpus:
    if hasattr(os, "sched_getaffinity"):
        return Cpus(len(os.sched_getaffinity(0)), "the CPUs this process may run on")
    return Cpus(os.cpu_count() or 1, "the CPUs of this machine")


def _told(environment: Mapping[str, str]) -> Iterator[Cpus]:
    for name in ("PYTHON_CPU_COUNT", "SLURM_CPUS_ON_NODE"):
        text = environment.get(name, "")
        if text.isascii() and text.isdigit() and int(text) > 0:
            yield Cpus(int(text), name)


def _quotas(root: str) -> Iterator[Cpus]:
    """What the control groups grant, here and in every group above: each level limits on its own."""
    mounts = list(_mounts(root))
    for line in _lines(root, "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        for kind, options, mount, mount_root in mounts:
            if kind == "cgroup2" and number == "0" and not controllers:
                read = _quota_v2
            elif kind == "cgroup" and "cpu" in controllers.split(",") and "cpu" in options:
                read = _quota_v1
            else:
                continue
            for folder in _upwards(root, mount, mount_root, group):
                share = read(folder)
                if share is not None:
                    # Rounded up: half a CPU still needs a slot, and 1.5 are better used by two than by one.
                    yield Cpus(max(1, math.ceil(share)), "the CPU quota of this container")


def _mounts(root: str) -> Iterator[tuple[str, list[str], str, str]]:
    # A line of mountinfo (proc(5)): id parent major:minor ROOT MOUNTPOINT options … - KIND source SUPEROPTIONS
    for line in _lines(root, "proc/self/mountinfo"):
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if separator and len(fields) >= 5 and len(kind) >= 3 and kind[0] in ("cgroup", "cgroup2"):
            yield kind[0], kind[2].split(","), fields[4], fields[3]


def _upwards(root: str, mount: str, mount_root: str, group: str) -> Iterator[str]:
    # Inside a container the group is named as the host sees it while only a part is mounted; and a group
    # outside the cgroup namespace is shown as /../…: what is not below the mount is looked for at its top.
    path = PurePosixPath(group)
    if mount_root != "/" and path.is_relative_to(mount_root):
        path = "/" / path.relative_to(mount_root)
    parts = () if ".." in path.parts else path.parts[1:]
    for depth in range(len(parts), -1, -1):
        yield os.path.join(root, mount.lstrip("/"), *parts[:depth])


def _quota_v2(folder: str) -> float | None:
    fields = " ".join(_lines(folder, "cpu.max")).split()
    return _share(*fields) if len(fields) == 2 else None


def _quota_v1(folder: str) -> float | None:
    quota = _lines(folder, "cpu.cfs_quota_us")
    period = _lines(folder, "cpu.cfs_period_us")
    return _share(quota[0], period[0]) if quota and period else None


def _share(quota: str, period: str) -> float | None:
    # "max" (v2) and -1 (v1) mean without limit.
    if not (quota.isdigit() and period.isdigit()) or int(period) == 0:
        return None
    return int(quota) / int(period)


def _lines(folder: str, name: str) -> list[str]:
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def resolve_count(asked: int | None, available: Cpus, *, name: str = "max_cpu") -> int:
    """What a count given by a user means here: None all, n at most n, 0 none, -n all but n.

    More than there is gives what there is, and says so once; nonsense raises TypeError or ValueError.

    >>> resolve_count(-1, Cpus(4, "an example"))
    3
    """
    if asked is None:
        return available.count
    if isinstance(asked, bool):
        raise TypeError(f"{name} counts CPUs, so it is an int or None (all of them), not {asked!r}")
    try:
        count = operator.index(asked)
    except TypeError:
        sentence = f"{name} counts CPUs, so it is an int or None (all of them), not {asked!r} ({type(asked).__name__})"
        raise TypeError(sentence) from None
    if count > available.count:
        _say_clipped(f"{name}={count} is more than the {available.count} available ({available.because}): using those")
        return available.count
    if count < 0:
        if available.count + count < 1:
            raise ValueError(f"{name}={count} means all CPUs but {-count}, and only {available.count} may be used here")
        return available.count + count
    return count


_said: set[str] = set()


def _say_clipped(sentence: str) -> None:
    if sentence in _said:
        return
    _said.add(sentence)
    # The warning belongs to the user's line, however deep in covey the count was resolved.
    level, frame = 2, sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "covey":
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, UserWarning, stacklevel=level + 1)
