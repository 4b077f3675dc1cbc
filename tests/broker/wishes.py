# SPDX-License-Identifier: BSD-3-Clause
"""What the model of the scheduler's test knows of a task and of a doer, and the settings that it is run with.

Why apart from the rules: they say what happens to these, and are many.
"""
from dataclasses import dataclass, field

from covey.settings import Settings

VALUE, ERROR, CANCELLED, POISONED, TIMED_OUT, LOST, BROKEN = range(1, 8)
MAYBE_RAN, OUT_OF_MEMORY = 9, 10
SPLITTABLE, ONCE = 1, 2
LIMITS = Settings(
    quantum=0.002, relay_quantum=0.004, lone_above=0.05, retract_after=0.001, lease=5.0, pause=1.0, first_guess=0.001,
    crash_limit=3, loss_limit=2, retry_wait_limit=0.1, credit_tasks=40, credit_bytes=200,
)


@dataclass
class Wish:
    """A task as its asker knows it."""

    asker: int
    ticket: int
    cargo: int
    needs: int
    retries: int
    crashes: int
    splittable: bool
    share: int = 0
    losses: int = 0
    ooms: int = 0       # once memory ran out under it, no slot of ours has anything beside it
    alone: bool = field(default=False)      # it crashed twice: whoever has it has nothing else
    once: bool = False
    spent: bool = False                     # once, and begun at a doer that is gone: nobody may have it again
    rest: float = 0.0                       # at most so long after it raised first
    rests_until: float = 0.0                # by then at the latest it waits again
    raised: int = 0

    def check_end(self, status: int, *, away: bool) -> None:
        """It may end so: `away` is its asker."""
        if status == POISONED:
            assert self.crashes >= LIMITS.crash_limit or self.losses >= LIMITS.loss_limit
        elif status == BROKEN:
            assert self.splittable
            assert self.crashes + self.ooms == 1 or self.losses >= LIMITS.loss_limit
        elif status == OUT_OF_MEMORY:
            assert self.ooms > LIMITS.oom_limit
        elif status == LOST:
            assert self.losses >= LIMITS.loss_limit or away
        elif status == MAYBE_RAN:
            assert self.once
        else:
            assert status in (CANCELLED, TIMED_OUT)


@dataclass
class Hand:
    """A doer as it knows itself: the tokens it was given and has not answered, oldest first."""

    kind: int
    capacity: int
    window: int
    relays: bool = False
    device: int = -1
    held: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    begun: set[int] = field(default_factory=set)    # what it said itself that it runs; it does so whatever its capacity
    barred: bool = False
    lost: bool = False

    def runs(self, token: int) -> bool:
        return token in self.begun or token in self.held[: self.capacity]

    def able(self) -> list[int]:
        return [token for token in self.held if self.runs(token)] or self.held[:1]
