# SPDX-License-Identifier: BSD-3-Clause
"""What a client and its flock have done and are doing, as one frozen record.

Why: tests, logs and people look at the same numbers, and they are counted where the thing happens.
May not know: how the numbers are gathered. Guarantees: a record does not change after it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from covey.client.speculation import Speculation

__all__ = ["Statistics"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """A count of everything at one moment.

    Attributes:
        slots: how many slots the flock is meant to have.
        slots_up: how many of them are connected now; None where the flock belongs to another client.
        unfinished: tasks of this client whose outcome is not here yet. A bundle of a map is one task.
        waiting: tasks in the flock, of all its clients, that no slot has yet.
        assigned: tasks that slots hold, running ones included.
        running: those that run now, as far as the broker knows.
        finished: outcomes that the flock has delivered, ever.
        ended: tasks that ended without running to their end: cancelled, poisoned, timed out, lost.
        retried: how often a task was tried again after it raised.
        crashes: slots that died while a task ran in them.
        ooms: slots that were ended while a task ran in them, because memory ran out.
        losses: attempts at a task that were lost with the machine they were made on, or with the link to it.
        late: outcomes that nobody waited for any more, and that were dropped: the task was cancelled, or another
            attempt at it was sooner.
        retracted: tasks that were taken back from a busy slot and given to an idle one.
        decisions: how often a task was given to a slot.
        speculations: calls of this client that were begun a second time while they ran (`options(speculate=True)`).
        speculations_won: those of them whose second attempt had the outcome first.
    """

    slots: int
    slots_up: int | None
    unfinished: int
    waiting: int = 0
    assigned: int = 0
    running: int = 0
    finished: int = 0
    ended: int = 0
    retried: int = 0
    crashes: int = 0
    losses: int = 0
    late: int = 0
    retracted: int = 0
    decisions: int = 0
    ooms: int = 0
    speculations: int = 0
    speculations_won: int = 0

    def __str__(self) -> str:
        up = "" if self.slots_up is None else f", {self.slots_up} up"
        tasks = f"{self.unfinished} task{'s' * (self.unfinished != 1)}"
        return (
            f"{self.slots} slot{'s' * (self.slots != 1)}{up}; {tasks} unfinished here; in the flock "
            f"{self.waiting} waiting, {self.running} running, {self.finished} finished; {self.crashes} crashes, "
            f"{self.losses} losses, {self.retried} retries, {self.late} late outcomes"
        )


def statistics_of(
    slots: int, unfinished: int, totals: Mapping[str, int] | None, speculation: Speculation | None = None
) -> Statistics:
    """The record out of what the broker counts (`totals`, as scheduler.pxd names it), if it is ours."""
    begun, won = (0, 0) if speculation is None else (speculation.begun, speculation.won)
    if totals is None:
        return Statistics(
            slots=slots, slots_up=None, unfinished=unfinished, speculations=begun, speculations_won=won
        )
    return Statistics(
        slots=slots,
        slots_up=totals["doers"],
        unfinished=unfinished,
        waiting=totals["waiting"],
        assigned=totals["assigned"],
        running=totals["running"],
        finished=totals["accepted"],
        ended=totals["ended"],
        retried=totals["retried"],
        crashes=totals["crashes"],
        losses=totals["losses"],
        late=totals["stale"],
        retracted=totals["retracted"],
        decisions=totals["decisions"],
        ooms=totals["ooms"],
        speculations=begun,
        speculations_won=won,
    )
