# SPDX-License-Identifier: BSD-3-Clause
"""Which slot has to go because of the memory that it takes.

    a slot over 80 % of its limit      a warning, once for each task
    over 95 %                          it is ended
    the machine short of memory        the task that began last is ended, of those that would be tried again

Why ended by us: what the kernel ends is whatever it finds largest, on the whole machine or in the container, and that
may be the node. The task that began last has least to lose.

May not know: processes, the loop; what they take and what is free are arguments. Guarantees: at one look at most one
slot is ended for the machine's sake, because only its end shows what that has helped.
"""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from covey.node.memory import Memory, reclaimable_memory, resident_memory

__all__ = ["RECYCLE_AT", "MemoryWatch", "Worker", "in_mib"]

# Of a slot's limit. Between tasks it leaves at the first, so that the next one begins with an empty slot.
WARN_AT = RECYCLE_AT = 0.80
END_AT = 0.95
# Of the machine's memory: less is looked at often, and less than the second is too little.
SCARCE = 0.20
SHORT = 0.05
# Seconds between two looks: a slot that takes a gigabyte a second is seen in time, and while nothing is scarce looking
# costs nothing that could be measured.
OFTEN = 0.2
SELDOM = 1.0

_log = logging.getLogger("covey.node")


@dataclass(frozen=True, slots=True)
class Worker:
    """A slot that runs a task: who it is, and which."""

    pid: int
    token: int
    number: int
    name: str = ""

    def __str__(self) -> str:
        return f"slot {self.number} (pid {self.pid})" + (f", which runs {self.name}()," if self.name else "")


class MemoryWatch:
    """`limit`: bytes that a slot may have; 0: as many as there are.

    >>> watch = MemoryWatch(1000, resident=lambda pid: 990, free=lambda: Memory(100, 50, ""))
    >>> watch.look([Worker(12, 1, 3)], lambda token: True)
    [(12, 'it had 990 bytes of the 1,000 bytes that a slot may have (slot_max_rss)')]
    """

    def __init__(
        self,
        limit: int = 0,
        *,
        resident: Callable[[int], int | None] = resident_memory,
        free: Callable[[], Memory] = reclaimable_memory,
    ) -> None:
        self._limit = limit
        self._resident = resident
        self._free = free
        self._warned: set[int] = set()
        # The order in which tasks were first seen: by token, which no later task has.
        self._since: dict[int, int] = {}
        self._count = 0
        self.pause = OFTEN if limit else SELDOM
        # Where a process cannot even be asked about itself nothing is to be seen.
        self.sees = resident(os.getpid()) is not None

    def look(self, workers: Iterable[Worker], may_starve: Callable[[int], bool]) -> list[tuple[int, str]]:
        """The pids of those that must go, and why. `may_starve`: whether a task would be tried again."""
        present = list(workers)
        for worker in present:
            if worker.token not in self._since:
                self._count += 1
                self._since[worker.token] = self._count
        running = {worker.token for worker in present}
        self._since = {token: since for token, since in self._since.items() if token in running}
        self._warned &= running
        ends = [end for worker in present if (end := self._judge(worker)) is not None] if self._limit else []
        memory = self._free()
        scarce = memory.available < SCARCE * memory.total
        self.pause = OFTEN if self._limit or scarce else SELDOM
        if not ends and scarce and memory.available < SHORT * memory.total:
            ends = self._relieve(present, memory, may_starve)
        return ends

    def _judge(self, worker: Worker) -> tuple[int, str] | None:
        has = self._resident(worker.pid) or 0
        if has > END_AT * self._limit:
            return worker.pid, f"it had {in_mib(has)} of the {in_mib(self._limit)} that a slot may have (slot_max_rss)"
        if has > WARN_AT * self._limit and worker.token not in self._warned:
            self._warned.add(worker.token)
            _log.warning(
                "%s has %s of the %s that a slot may have (slot_max_rss); at %.0f %% it is ended",
                worker, in_mib(has), in_mib(self._limit), 100 * END_AT,
            )
        return None

    def _relieve(
        self, present: list[Worker], memory: Memory, may_starve: Callable[[int], bool]
    ) -> list[tuple[int, str]]:
        # One that is alone already would gain nothing by it.
        if len(present) < 2:
            return []
        for worker in sorted(present, key=lambda worker: self._since[worker.token], reverse=True):
            if may_starve(worker.token):
                why = f"of {memory.because} only {in_mib(memory.available)} of {in_mib(memory.total)} were left"
                return [(worker.pid, f"{why}, and its task was the last to begin")]
        return []


def in_mib(size: int) -> str:
    """
    >>> in_mib(3 << 20)
    '3.0 MiB'
    """
    return f"{size / 2**20:,.1f} MiB" if size >= 2**17 else f"{size:,} bytes"
