# SPDX-License-Identifier: BSD-3-Clause
"""What went wrong in a fitness, counted.

Why: a value that is no number must cost its particle and nothing else, and yet must not be hidden: whoever reads a
result should see how much of it was guesswork.

May not know: where a fitness runs. Guarantees: a fitness that does nothing but raise or give NaN ends the optimisation
after its first round, with the error and the traceback of the place where it ran: by then all groups have had their
turn. If a round takes long, its beginning is enough.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple, Never

import numpy as np
from numpy.typing import NDArray

from covey.errors import BadFitness

__all__ = ["Fault", "Faults", "Tally"]

Vector = NDArray[np.float64]


# Who must wait for a round whose every evaluation raises is told after so many of them and so many seconds.
FEW = 8
PATIENCE = 5.0


class Fault(NamedTuple):
    """How a fitness raised: in a line, and with the traceback."""

    said: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Fault:
        """What is to be said of an error; its notes, where covey says in which slot it was, only in the traceback.

        >>> Fault.of(ZeroDivisionError("no")).said
        'ZeroDivisionError: no'
        """
        line = next(iter(str(error).splitlines()), "")
        said = f"{type(error).__name__}: {line}" if line else type(error).__name__
        return cls(said, "".join(traceback.format_exception(error)).rstrip())


@dataclass(slots=True)
class Company:
    """Whether a function that is given several particles can do with that."""

    # A call of several gave values.
    kept: bool = False
    # How a call of several raised of which none did so alone.
    lost: Fault | None = None

    def add(self, other: Company) -> None:
        """What was seen elsewhere."""
        self.kept, self.lost = self.kept or other.kept, self.lost or other.lost

    @property
    def is_bad(self) -> bool:
        """Whether it takes particles one by one, and nothing else."""
        return self.lost is not None and not self.kept


@dataclass(frozen=True, slots=True)
class Faults:
    """How many evaluations raised, gave NaN or were infinite; all of them counted as the worst there is.

    >>> Faults(raised=2, nan=1).total
    3
    """

    raised: int = 0
    nan: int = 0
    infinite: int = 0
    # How the first that raised did, with its traceback.
    first_error: str = ""

    @property
    def total(self) -> int:
        """All of them."""
        return self.raised + self.nan + self.infinite


class Tally:
    """The counters while an optimisation runs."""

    def __init__(
        self, label: str, round_size: int | None, clock: Callable[[], float] = monotonic, *, advice: str = ""
    ) -> None:
        # As the call was written: optimize(f).
        self.label = label
        # What else is said of a fitness that does nothing but raise.
        self._advice = advice
        self.raised = self.nan = self.infinite = 0
        self.first: Fault | None = None
        # An evaluation gave a number, or an infinite one, which is at least an answer.
        self.any_good = False
        self.company = Company()
        # So many evaluations that do nothing but raise are enough; None: somebody else gives up.
        self._evidence = round_size
        self._clock = clock
        self._begun = clock()

    def on_values(self, values: Vector, raised: int, fault: Fault | None, company: Company | None = None) -> bool:
        """Values came; `raised` of them are NaN because their call raised. Whether all are finite."""
        if raised:
            self.raised += raised
            self.first = self.first or fault
        if company is not None:
            self.company.add(company)
        finite = np.isfinite(values)
        if finite.all():
            self.any_good = self.any_good or len(values) > 0
            return True
        nan = int(np.isnan(values).sum())
        self.any_good = self.any_good or nan < len(values)
        self.nan += nan - raised
        self.infinite += len(values) - nan - int(finite.sum())
        return False

    def on_raised(self, count: int, error: BaseException) -> None:
        """All of `count` evaluations raised; raises the error if a round, or a slow one so far, did nothing else."""
        self.on_lost(count, error)
        if self._has_seen_enough and not self.nan:
            self.give_up(self.raised, error)

    def on_lost(self, count: int, error: BaseException) -> None:
        """All of `count` evaluations raised, or died; somebody else judges what that means."""
        self.raised += count
        self.first = self.first or Fault.of(error)

    def require_any(self) -> None:
        """BadFitness if a round, or a slow one so far, has given nothing: no number, and nothing infinite either."""
        if self._has_seen_enough:
            raise self.nothing(self.raised + self.nan)

    @property
    def _has_seen_enough(self) -> bool:
        if self.any_good or self._evidence is None:
            return False
        seen = self.raised + self.nan
        return seen >= self._evidence or (seen >= FEW and self._clock() - self._begun > PATIENCE)

    def nothing(self, total: int) -> BadFitness:
        """The error for evaluations of which none can be the best."""
        counted = self.raised + self.nan + self.infinite
        limits = f"; for {total - counted} a constraint was NaN or infinite" * (counted < total)
        first = f"; the first that raised:\n{self.first.traceback}" if self.first else ""
        return BadFitness(
            f"{self.label}: {total} evaluations gave no finite number that could be the best ({self.raised} raised, "
            f"{self.nan} were NaN, {self.infinite} infinite{limits}){first}"
        )

    def give_up(self, count: int, error: BaseException) -> Never:
        """Raises how the last of `count` evaluations raised, as all before it."""
        error.add_note(
            f"{self.label}: the first {count} evaluations all raised, this was the last of them; "
            f"on_error='worst' forgives only some{self._advice}"
        )
        raise error

    def add(self, state: Mapping[str, Any]) -> None:
        """Counts what another tally counted; its `state()`."""
        for name in ("raised", "nan", "infinite"):
            setattr(self, name, getattr(self, name) + state[name])
        self.first = self.first or _fault(state["first"])
        self.any_good = self.any_good or state["any_good"]
        self.company.add(_company(state))

    def faults(self) -> Faults:
        """What a result says."""
        return Faults(self.raised, self.nan, self.infinite, "" if self.first is None else self.first.traceback)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "raised": self.raised, "nan": self.nan, "infinite": self.infinite, "first": self.first,
            "any_good": self.any_good, "kept": self.company.kept, "lost": self.company.lost,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Counts on from there."""
        for name in ("raised", "nan", "infinite", "any_good"):
            setattr(self, name, state[name])
        self.first = _fault(state["first"])
        self.company = _company(state)


def _company(state: Mapping[str, Any]) -> Company:
    return Company(state["kept"], _fault(state["lost"]))


def _fault(state: Sequence[str] | None) -> Fault | None:
    return None if state is None else Fault(*state)
