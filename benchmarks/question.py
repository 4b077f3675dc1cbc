# SPDX-License-Identifier: BSD-3-Clause
"""What is asked, of whom, and which answer is good enough.

Why: a question and its targets stand at the top of the file that measures it, so that nobody has to look
elsewhere to see what a row of the table means. One question may have several checks: each is one row.

May not know: peers' code, processes, how a table is printed.
Guarantees: a ratio is always covey's value divided by the peer's, for rates and for times alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["BEST", "SLOTS", "Check", "Question", "Values"]

# Two for everybody: covey's slots, and every peer's worker processes.
SLOTS = 2

BEST = "best"

Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table: `metric` of covey against a bound, or against a peer's, times a bound."""

    says: str
    metric: str
    unit: str
    more: bool
    """More is better (a rate), or less is (a time)."""
    bound: float | None
    """None: printed for information."""
    against: tuple[str, ...] = ()
    """(): the bound is absolute. (BEST,): times the best peer's. Names: times the best of these."""
    besides: tuple[str, ...] = ()
    """Peers that are not asked for this row."""

    @property
    def target(self) -> str:
        if self.bound is None:
            return "-"
        sign = "≥" if self.more else "≤"
        if not self.against:
            return f"{sign} {self.bound:,g} {self.unit}"
        whom = "best peer" if self.against == (BEST,) else " or ".join(self.against)
        return f"{sign} {self.bound:g} × {whom}"


@dataclass(frozen=True, slots=True)
class Question:
    """What one `bench_….py` measures."""

    name: str
    asks: str
    checks: tuple[Check, ...]
    peers: tuple[str, ...] = ()
    """Asked beside covey. Those that a check names are asked in every round, the others until they are far behind."""
    quick: tuple[str, ...] = ("pool",)
    """Those asked in a quick run, beside those that a check names."""
    limit: float = 120.0
    """Seconds that one measurement, with its start and its end, may take."""
    together: bool = False
    """All contenders are up at once and take turns in short blocks, because what is measured drifts within seconds."""

    @property
    def named(self) -> frozenset[str]:
        return frozenset(name for check in self.checks for name in check.against if name != BEST)
