# SPDX-License-Identifier: BSD-3-Clause
"""What went wrong in a fitness, counted.

Why: a value that is no number must cost its particle and nothing else, and yet must not be hidden: whoever reads a
result should see how much of it was guesswork.

May not know: where a fitness runs. Guarantees: a fitness that does nothing but raise ends the optimisation after its
first round, with the error and the traceback of the place where it ran: by then all groups have had their turn. If a
round takes long, its beginning is enough.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple, Never

import numpy as np
from numpy.typing import NDArray

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
        self.any_good = False
        # So many evaluations that do nothing but raise are enough; None: somebody else gives up.
        self._evidence = round_size
        self._clock = clock
        self._begun = clock()

    def on_values(self, values: Vector, raised: int, fault: Fault | None) -> bool:
        """Values came; `raised` of them are NaN because their call raised. Whether all are finite."""
        if raised:
            self.raised += raised
            self.first = self.first or fault
        if raised < len(values):
            self.any_good = True
        finite = np.isfinite(values)
        if finite.all():
            return True
        nan = int(np.isnan(values).sum())
        self.nan += nan - raised
        self.infinite += len(values) - nan - int(finite.sum())
        return False

    def on_raised(self, count: int, error: BaseException) -> None:
        """All of `count` evaluations raised; raises the error if a round, or a slow one so far, did nothing else."""
        self.raised += count
        self.first = self.first or Fault.of(error)
        if self.any_good or self._evidence is None:
            return
        slow = self.raised >= FEW and self._clock() - self._begun > PATIENCE
        if slow or self.raised >= self._evidence:
            self.give_up(self.raised, error)

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
        self.first = self.first or _fault(state)
        self.any_good = self.any_good or state["any_good"]

    def faults(self) -> Faults:
        """What a result says."""
        return Faults(self.raised, self.nan, self.infinite, "" if self.first is None else self.first.traceback)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "raised": self.raised, "nan": self.nan, "infinite": self.infinite, "first": self.first,
            "any_good": self.any_good,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Counts on from there."""
        for name in ("raised", "nan", "infinite", "any_good"):
            setattr(self, name, state[name])
        self.first = _fault(state)


def _fault(state: Mapping[str, Any]) -> Fault | None:
    return None if state["first"] is None else Fault(*state["first"])
