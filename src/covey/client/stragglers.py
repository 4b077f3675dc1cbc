# SPDX-License-Identifier: BSD-3-Clause
"""Which calls run so much longer than their siblings that another attempt at them is worth an idle slot.

Why: one slow core, disk or machine holds up a whole map at its end, when everything else is idle; but a call that is
merely long must not be begun twice.

May not know: clocks, futures, slots: times and counts come in. Guarantees: nothing is chosen without evidence, nothing
while a call of the client may wait for a slot, and never more than there are idle slots.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["LEAST_SECONDS", "Running", "Siblings", "Verdict", "choose"]

# Evidence: so many calls have finished, and such a part of those that were begun. Of 64 calls on 64 slots the first
# three to finish may just be the short ones.
LEAST_FINISHED = 3
LEAST_PART = 0.25
# Suspicious is what runs for longer than twice what three quarters of its siblings took. The median alone would suspect
# the longer half of calls that come in two lengths.
QUANTILE = 0.75
TIMES = 2.0
# Below this nobody waits long enough for it to be worth a slot; what the measurement is late by is far less.
LEAST_SECONDS = 0.1
# So soon an overdue call that found no idle slot is looked at again: who else uses the slots is not told here.
LOOK_AGAIN = 0.25
# Of so many finished calls the times are kept, the latest ones.
_KEPT = 256

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class Siblings:
    """What the finished calls of one function took.

    >>> siblings = Siblings()
    >>> for seconds in (1.0, 1.0, 1.5, 9.0):
    ...     siblings.on_done(seconds)
    >>> siblings.usual(running=1), siblings.usual(running=100)
    (1.5, None)
    """

    count: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def on_done(self, seconds: float) -> None:
        """A call took so long."""
        self.count += 1
        self.seconds.append(seconds)

    def usual(self, running: int) -> float | None:
        """What three quarters of them took at most; None while that says nothing about `running` others."""
        if self.count < max(LEAST_FINISHED, LEAST_PART * (self.count + running)):
            return None
        ordered = sorted(self.seconds)
        return ordered[math.ceil(QUANTILE * len(ordered)) - 1]


@dataclass(frozen=True, slots=True)
class Running:
    """A call that runs, and was not begun a second time. `kin` names its function; a bundle of a map has `size` calls;
    `slots` is how many there are for such calls."""

    kin: Hashable
    since: float
    slots: int
    size: int = 1


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Key]):
    """What to begin again, the most overdue first, and when to look again; inf: not before something happens."""

    again: tuple[Key, ...]
    look_at: float


def choose(
    running: Mapping[Key, Running], finished: Mapping[Hashable, Siblings], unfinished: int, now: float
) -> Verdict[Key]:
    """Looks at the calls that run, where the client has `unfinished` tasks in all, further attempts included.

    >>> siblings = Siblings(3, deque([1.0, 1.0, 1.2]))
    >>> choose({"a": Running("f", since=0.0, slots=2)}, {"f": siblings}, unfinished=1, now=2.5)
    Verdict(again=('a',), look_at=inf)
    """
    counts = Counter(call.kin for call in running.values())
    usual = {kin: finished[kin].usual(count) for kin, count in counts.items() if kin in finished}
    overdue: list[tuple[float, Key]] = []
    look_at = math.inf
    for key, call in running.items():
        one = usual.get(call.kin)
        if one is None:
            continue
        due = call.since + max(LEAST_SECONDS, TIMES * one * call.size)
        if due <= now:
            overdue.append((due, key))
        else:
            look_at = min(look_at, due)
    again: list[Key] = []
    for _, key in sorted(overdue, key=lambda pair: pair[0]):
        # Whatever is unfinished has a slot or waits for one: with fewer of them than slots, nothing waits.
        if unfinished + len(again) < running[key].slots:
            again.append(key)
        else:
            look_at = min(look_at, now + LOOK_AGAIN)
    return Verdict(tuple(again), look_at)
