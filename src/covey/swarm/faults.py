# SPDX-License-Identifier: BSD-3-Clause
"""What went wrong in a fitness, counted.

Why: a value that is no number must cost its particle and nothing else, and yet must not be hidden: whoever reads a
result should see how much of it was guesswork.

May not know: where a fitness runs. Guarantees: a fitness that does nothing but raise ends the optimisation after its
first chunk, with the error and the traceback of the place where it ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Faults", "Tally"]

Vector = NDArray[np.float64]

# So many evaluations that raise, before the first that does not, are enough to know.
EVIDENCE = 8


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

    def __init__(self, name: str, round_size: int) -> None:
        self.name = name
        self.raised = self.nan = self.infinite = 0
        self.first_error = ""
        self.any_good = False
        self._evidence = min(EVIDENCE, round_size)

    def on_values(self, values: Vector, raised: int, first_error: str) -> bool:
        """Values came; `raised` of them are NaN because their call raised. Whether all are finite."""
        if raised:
            self.raised += raised
            self.first_error = self.first_error or first_error
        if raised < len(values):
            self.any_good = True
        finite = np.isfinite(values)
        if finite.all():
            return True
        nan = int(np.isnan(values).sum())
        self.nan += nan - raised
        self.infinite += len(values) - nan - int(finite.sum())
        return False

    def on_raised(self, count: int, error: BaseException, told: str) -> None:
        """All of `count` evaluations raised; raises the error itself if that is all that this fitness ever does."""
        self.raised += count
        self.first_error = self.first_error or told
        if not self.any_good and self.raised >= self._evidence:
            error.add_note(
                f"optimize({self.name}): the first {self.raised} evaluations all raised, this was the last of them; "
                "on_error='worst' forgives only some"
            )
            raise error

    def add(self, state: Mapping[str, Any]) -> None:
        """Counts what another tally counted; its `state()`."""
        for name in ("raised", "nan", "infinite"):
            setattr(self, name, getattr(self, name) + state[name])
        self.first_error = self.first_error or state["first_error"]
        self.any_good = self.any_good or state["any_good"]

    def faults(self) -> Faults:
        """What a result says."""
        return Faults(self.raised, self.nan, self.infinite, self.first_error)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "raised": self.raised, "nan": self.nan, "infinite": self.infinite, "first_error": self.first_error,
            "any_good": self.any_good,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Counts on from there."""
        for name in ("raised", "nan", "infinite", "first_error", "any_good"):
            setattr(self, name, state[name])
