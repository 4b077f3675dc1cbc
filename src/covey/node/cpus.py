# SPDX-License-Identifier: BSD-3-Clause
"""How many CPUs this process may use.

Why: `os.cpu_count` counts the machine. A container, a batch job or `taskset` gives a process less, and a
slot more than that only makes every slot slower. So the least of all that is said about it counts.

May not know: slots, settings, sockets. It reads `/proc` and `/sys` below a `root` that tests replace by a
folder of fixtures, and the environment it is given; `COVEY_…` variables are read by the settings alone.
Guarantees: at least one CPU, whatever the files say; a file or variable that is missing or odd limits nothing, and an
odd variable is named in the notes.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping

from covey.node.cgroups import group_folders, lines_of
from covey.node.counts import Counted

__all__ = ["available_cpus"]


def available_cpus(
    *, root: str = "/", environment: Mapping[str, str] | None = None, limit: int | None = None
) -> Counted:
    """The CPUs that this process may use: the least of affinity, container quota, scheduler and `limit`.

    `limit` is a wish from the settings, taken as the counts everywhere are (-1: all but one).

    >>> available_cpus().count >= 1
    True
    """
    environment = os.environ if environment is None else environment
    notes: list[str] = []
    found = [_affinity(), *_quotas(root), *_told(environment, notes)]
    least = min(found, key=lambda cpus: cpus.count)
    if limit is not None:
        wished = least.count + limit if limit < 0 else limit
        if wished < 1:
            notes.append(f"COVEY_MAX_CPU={limit} leaves none of {least.count} CPUs ({least.because}), so one is used")
        if wished < least.count:
            least = Counted(wished, "COVEY_MAX_CPU")
    return Counted(max(1, least.count), least.because, tuple(notes))


def _affinity() -> Counted:
    if hasattr(os, "sched_getaffinity"):
        return Counted(len(os.sched_getaffinity(0)), "the CPUs this process may run on")
    return Counted(os.cpu_count() or 1, "the CPUs of this machine")


def _told(environment: Mapping[str, str], notes: list[str]) -> Iterator[Counted]:
    python = _positive(environment.get("PYTHON_CPU_COUNT", ""))
    if python is not None:
        yield Counted(python, "PYTHON_CPU_COUNT")
    # Python's own word for no wish.
    elif environment.get("PYTHON_CPU_COUNT") != "default":
        _note_ignored("PYTHON_CPU_COUNT", environment, notes)
    # From the narrowest: a process that srun started owns what one task got, not what the node or the job got.
    for name, read in (
        ("SLURM_CPUS_PER_TASK", _positive),
        ("SLURM_CPUS_ON_NODE", _positive),
        ("SLURM_JOB_CPUS_PER_NODE", lambda text: _of_this_node(text, environment.get("SLURM_NODEID", "0"))),
    ):
        count = read(environment.get(name, ""))
        if count is not None:
            yield Counted(count, name)
            return
        _note_ignored(name, environment, notes)


def _note_ignored(name: str, environment: Mapping[str, str], notes: list[str]) -> None:
    if environment.get(name):
        notes.append(f"{name}={environment[name]} is no number of CPUs, and is ignored")


def _positive(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


_NODES = re.compile(r"(\d+)(?:\(x(\d+)\))?", re.ASCII)


def _of_this_node(text: str, node: str) -> int | None:
    """This node's entry of a list such as "4(x2),3": 4 on the nodes 0 and 1, 3 on node 2."""
    if not (node.isascii() and node.isdigit()):
        return None
    left = int(node)
    for entry in text.split(","):
        match = _NODES.fullmatch(entry.strip())
        if match is None:
            return None
        left -= int(match[2] or 1)
        if left < 0:
            return _positive(match[1])
    return None


def _quotas(root: str) -> Iterator[Counted]:
    """What the control groups grant, here and in every group above: each level limits on its own."""
    for version, folder in group_folders(root, "cpu"):
        share = _quota_v2(folder) if version == 2 else _quota_v1(folder)
        if share is not None:
            # Rounded up: half a CPU still needs a slot, and 1.5 are better used by two than by one.
            yield Counted(max(1, math.ceil(share)), "the CPU quota of this container")


def _quota_v2(folder: str) -> float | None:
    fields = " ".join(lines_of(folder, "cpu.max")).split()
    return _share(*fields) if len(fields) == 2 else None


def _quota_v1(folder: str) -> float | None:
    quota = lines_of(folder, "cpu.cfs_quota_us")
    period = lines_of(folder, "cpu.cfs_period_us")
    return _share(quota[0], period[0]) if quota and period else None


def _share(quota: str, period: str) -> float | None:
    # "max" (v2) and -1 (v1) mean without limit.
    if not (quota.isdigit() and period.isdigit()) or int(period) == 0:
        return None
    return int(quota) / int(period)
