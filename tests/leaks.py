# SPDX-License-Identifier: BSD-3-Clause
"""What a test may leave behind: nothing.

Why: a process, thread, descriptor, run directory or segment that outlives its owner is a bug that no assertion of the
test's own would see. `Holdings.now()` counts them; what is held later and was not held before is a leak.

May not know: covey's modules; it looks at /proc and the file system only, so a bug in covey cannot hide from it.
Descriptors are compared by what they are, not by number, because numbers are used again.
"""
import gc
import os
import re
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass

from waiting import wait_until

# Helpers that the standard library keeps for the life of the process, once one is needed.
_KEPT_PROCESSES = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
_KEPT_THREADS = ("pydevd", "asyncio_", "QueueManagerThread")
# Native threads say what they are by their name; those of libraries such as OpenBLAS live as long as the process.
_NATIVE = ("ZMQbg", "covey")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What this process holds, each thing by a name that says what it is."""

    processes: frozenset[str]
    threads: frozenset[str]
    native: Counter[str]
    descriptors: Counter[str]
    places: frozenset[str]

    @classmethod
    def now(cls) -> "Holdings":
        return cls(_processes(), _threads(), _native(), _descriptors(), _places())

    def beyond(self, before: "Holdings") -> list[str]:
        """What is held now and was not before, one line each."""
        found = [f"process {name}" for name in sorted(self.processes - before.processes)]
        found += [f"thread {name}" for name in sorted(self.threads - before.threads)]
        for sort, more in (
            ("native thread", self.native - before.native),
            ("descriptor of", self.descriptors - before.descriptors),
        ):
            found += [f"{sort} {name}, {n} more" for name, n in sorted(more.items())]
        found += [f"left behind: {name}" for name in sorted(self.places - before.places)]
        return found


def check_nothing_left(before: Holdings) -> None:
    """Waits until nothing is held beyond `before`; AssertionError with the list if that does not come."""
    wait_until(
        lambda: _nothing_beyond(before),
        lambda: "the test left behind:\n  " + "\n  ".join(Holdings.now().beyond(before)),
        deadline=10.0,
    )


def _nothing_beyond(before: Holdings) -> bool:
    if not Holdings.now().beyond(before):
        return True
    # What waits for the garbage collector is not kept; it may have become garbage just now, so at each look.
    gc.collect()
    return not Holdings.now().beyond(before)


# Parent and command line of each process, read once: two thousand tests look at all of /proc.
_seen: dict[int, tuple[int, str]] = {}


def _processes() -> frozenset[str]:
    """Descendants of this process, and whoever names this session's temporary directory: a slot whose parent died."""
    present = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    for pid in _seen.keys() - present:
        del _seen[pid]
    for pid in present - _seen.keys():
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                command = file.read().replace("\0", " ").strip()
        except (OSError, IndexError):
            continue            # it ended while we looked
        _seen[pid] = parent, command or "(zombie)"
    mine = {os.getpid()}
    grown = True
    while grown:
        children = {pid for pid, (parent, _) in _seen.items() if parent in mine} - mine
        mine |= children
        grown = bool(children)
    runs = os.path.join(tempfile.gettempdir(), "covey-")
    mine |= {pid for pid, (_, command) in _seen.items() if runs in command}
    mine.discard(os.getpid())
    found = {pid: _seen[pid][1] for pid in mine}
    return frozenset(
        f"{pid}: {command[:150]}"
        for pid, command in found.items()
        if not any(kept in command for kept in _KEPT_PROCESSES)
    )


def _threads() -> frozenset[str]:
    return frozenset(
        f"{thread.name} ({thread.ident})"
        for thread in threading.enumerate()
        if not any(kept in thread.name for kept in _KEPT_THREADS)
    )


def _native() -> Counter[str]:
    found: Counter[str] = Counter()
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm", encoding="utf-8", errors="replace") as file:
                name = file.read().strip()
        except OSError:
            continue
        if name.startswith(_NATIVE):
            found[re.sub(r"\d+", "", name)] += 1
    return found


def _descriptors() -> Counter[str]:
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue            # the one that listed them
        if target.startswith(("/dev/", "/proc/")) or target.endswith((".so", ".py", ".pyc")):
            continue
        found[re.sub(r":\[\d+\]", "", target)] += 1
    return found


def _places() -> frozenset[str]:
    """Run directories and shared memory segments of covey."""
    found = set()
    for folder in {tempfile.gettempdir(), "/dev/shm"}:
        try:
            found |= {os.path.join(folder, name) for name in os.listdir(folder) if name.startswith("covey-")}
        except OSError:
            continue
    return frozenset(found)
