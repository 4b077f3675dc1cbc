# SPDX-License-Identifier: BSD-3-Clause
"""What the scheduler says, as Python sees it: for tests, the simulator and whoever looks in.

Why apart from the compiled Board: records are plain data and deserve plain Python. The numbers are those of
ext/covey/broker/orders.pxd.
"""
from dataclasses import dataclass
from enum import IntEnum


class Leaving(IntEnum):
    """Why a doer left."""

    PLANNED = 0
    CRASHED = 1
    LOST = 2
    KILLED = 3
    OOM = 4
    IDLE = 5


class Refusal(IntEnum):
    """Why a task is not taken."""

    DUPLICATE = -1
    OVER_CREDIT = -2
    NO_MEMORY = -3
    NO_SUCH = -4


class Ruling(IntEnum):
    """What became of an outcome."""

    STALE = 0
    ACCEPTED = 1
    AGAIN = 2


class OrderKind(IntEnum):
    """What is to be done."""

    ASSIGN = 1
    TAKE_BACK = 2
    REVOKE = 3
    KILL = 4
    BLAME = 5
    END = 6
    DISMISS = 7
    GIVE_BACK = 8


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One order. Fields that its kind does not use are 0, or -1 for an index."""

    kind: OrderKind
    doer: int
    asker: int
    function: int
    token: int
    ticket: int
    cargo: int
    length: int
    timeout_ms: int
    status: int
    why: int
    attempt: int
    flags: int
    crashes: int
    needs: int
    retries: int
    raised: int
    priority: int
    share: int


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """What became of an outcome, and whose it was if it was accepted."""

    ruling: Ruling
    asker: int
    ticket: int
    cargo: int


@dataclass(frozen=True, slots=True)
class BoardTotals:
    """A count of everything; the fields are those of Totals in orders.pxd."""

    waiting: int
    assigned: int
    running: int
    accepted: int
    ended: int
    stale: int
    retried: int
    crashes: int
    losses: int
    retracted: int
    given_back: int
    doers: int
    askers: int
    decisions: int
    capacity: tuple[int, ...]
    ooms: int
