# SPDX-License-Identifier: BSD-3-Clause
"""What an evaluation takes, and what follows for where a round runs.

Why: shipping a microsecond of work costs a hundred, and running an hour of it here would leave the slots idle.

May not know: clocks, slots. It is told what was measured. Guarantees: it decides where a round runs, never what is in
it.
"""

from __future__ import annotations

__all__ = ["Pace"]

# What a round costs in slots beside its work, in seconds: a round of less work is over here when its first answers
# would come back.
CHEAP = 0.0008
# What it costs until slots that are not there yet have their first task; about so much is worth trying to save.
START = 0.2
# A round longer than this never waits for that: its slots should start.
SHORT = 0.02
# So much of a first round may be done here before it is known what it takes.
GLIMPSE = 0.005
# So many rounds in a row may be slow before that is believed: machines are busy. One of so many seconds is, at once.
HELD_UP = 3
LONG = 0.1


class Pace:
    """The seconds that one particle takes, as far as is known.

    >>> pace = Pace()
    >>> pace.is_cheap(100)
    False
    >>> pace.on_tried(16, 0.00001)
    >>> pace.is_cheap(100), pace.is_cheap(100_000)
    (True, False)
    >>> pace.is_cheap(2_000, slots=2), pace.is_cheap(2_000, slots=8)
    (True, False)
    >>> pace.may_stay(10_000), pace.may_stay(100_000)
    (True, False)
    """

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._tried = 0.0
        # Spent here all together.
        self._spent = 0.0
        # Rounds in a row that were not cheap here, though they should have been.
        self._slow = 0

    @property
    def may_try_more(self) -> bool:
        """Whether what was tried here took no time worth mentioning."""
        return self._tried < GLIMPSE

    def on_tried(self, particles: int, seconds: float) -> None:
        """A first chunk ran here. The quickest tells best: a first call often pays for what it imports."""
        self._tried += seconds
        self._spent += seconds
        each = seconds / particles
        self.seconds = each if self.seconds is None else min(each, self.seconds)

    def on_round(self, particles: int, seconds: float, *, here: bool = False) -> None:
        """A round took so much work. The latest counts most; but one that was slow `here` may have been held up."""
        each = seconds / particles
        if here:
            self._spent += seconds
        if here and CHEAP <= seconds < LONG and self._slow < HELD_UP:
            self._slow += 1
            return
        self._slow = 0
        self.seconds = each if self.seconds is None else 0.25 * self.seconds + 0.75 * each

    def is_cheap(self, particles: int, slots: int | None = None) -> bool:
        """Whether so many particles are better evaluated here; False as long as nobody knows.

        Two slots save half of the work, and nothing where that is less than what the round costs; many save all of it.
        """
        saved = 1.0 if slots is None else 1.0 - 1.0 / max(slots, 2)
        return self.seconds is not None and self.seconds * particles * saved < CHEAP

    def may_stay(self, particles: int) -> bool:
        """Whether so many particles may be evaluated here rather than start slots: nobody knows how many will follow.

        Until as much was spent here as the start takes. So whoever needs slots loses no more than twice what he must,
        and who is done before has not waited for them.
        """
        if self.seconds is None:
            return False
        coming = self.seconds * particles
        return coming < SHORT and self._spent + coming < START
