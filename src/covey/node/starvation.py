# SPDX-License-Identifier: BSD-3-Clause
"""Whether the kernel has ended something here because memory ran out.

Why: a slot that the kernel ends for that is killed by SIGKILL, as by anybody who types kill -9. What tells them apart
is that the kernel counts: in the control group of the slot, and (version 2) in all above it.

May not know: slots, processes; a slot stays in the group of the node that started it. Guarantees: reads below `root`
only; each step of a counter explains one death; where nothing counts it says so, rather than no.
"""

from collections.abc import Mapping

from covey.node.cgroups import group_folders, lines_of

__all__ = ["KillCounter"]


class KillCounter:
    """The kernel's counts of what it has killed for want of memory, by the file that each stands in.

    >>> KillCounter(root="/nowhere").explains({}) is None
    True
    """

    def __init__(self, *, root: str = "/") -> None:
        self._files = [
            (folder, "memory.events" if version == 2 else "memory.oom_control")
            for version, folder in group_folders(root, "memory")
        ]
        # Of the whole machine: for a node in no group at all, or in the root of version 2, which counts nothing.
        self._last_resort = (root, "proc/vmstat")
        # Up to here the counts are explained by deaths.
        self._used: dict[str, int] = {}

    def now(self) -> dict[str, int]:
        """The counts, to be remembered when a slot is started."""
        counts = {folder: count for folder, name in self._files if (count := _kills(folder, name)) is not None}
        if not counts and (count := _kills(*self._last_resort)) is not None:
            counts[""] = count
        return counts

    def explains(self, before: Mapping[str, int]) -> bool | None:
        """Whether it was the kernel who killed a slot that was started at these counts; None: nobody can tell."""
        now = self.now()
        if not now:
            return None
        found = False
        for folder, count in now.items():
            used = max(before.get(folder, count), self._used.get(folder, 0))
            if count > used:
                found = True
                used += 1
            self._used[folder] = used
        return found


def _kills(folder: str, name: str) -> int | None:
    for line in lines_of(folder, name):
        word, _, count = line.partition(" ")
        if word == "oom_kill" and count.strip().isdecimal():
            return int(count)
    return None
