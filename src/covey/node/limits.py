# SPDX-License-Identifier: BSD-3-Clause
"""How long a slot is kept: so many tasks, so many bytes.

Why: libraries leak, and a slot that is replaced now and then gives everything back. The two mean the same wherever they
are given: to a client, a decorator, a worker script or `covey node`.

May not know: slots. Guarantees: what makes no sense is refused by one sentence, in the name of the call it was given
to.
"""

from dataclasses import dataclass
from typing import Self

from covey.errors import BadSetting
from covey.node.watch import RECYCLE_AT
from covey.settings import MIB, Settings

__all__ = ["NO_LIMITS", "SlotLimits"]

# Python and numpy alone take half of it: below, every slot would be replaced after every task.
LEAST_RSS = 64 * MIB


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """After `max_tasks` tasks a slot is replaced, and after one that leaves it with more than 80 % of `max_rss` bytes;
    over 95 % of them it is ended while the task runs. 0: no limit.

    >>> SlotLimits.checked("Client", 100, None)
    SlotLimits(max_tasks=100, max_rss=0)
    """

    max_tasks: int = 0
    max_rss: int = 0

    @classmethod
    def checked(cls, call: str, max_tasks_per_slot: int | None, slot_max_rss: int | None) -> Self:
        """As they were given to `call`; None is no limit of its own."""
        for name, value, least, unit in (
            ("max_tasks_per_slot", max_tasks_per_slot, 1, ""),
            ("slot_max_rss", slot_max_rss, LEAST_RSS, " bytes (64 MiB)"),
        ):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{call}({name}={value!r}): a whole number is needed, or None")
            if value < least:
                raise ValueError(f"{call}({name}={value}): at least {least}{unit} is needed, or None for no limit")
        return cls(max_tasks_per_slot or 0, slot_max_rss or 0)

    def under(self, settings: Settings) -> Self:
        """With the settings' in place of what is not limited here; BadSetting if these make no sense."""
        if not self.max_rss and 0 < settings.slot_max_rss < LEAST_RSS:
            raise BadSetting(
                f"COVEY_SLOT_MAX_RSS={settings.slot_max_rss}: at least {LEAST_RSS} bytes (64 MiB) is needed, or 0 for "
                "no limit"
            )
        return type(self)(self.max_tasks or settings.max_tasks_per_slot, self.max_rss or settings.slot_max_rss)

    @property
    def recycle_rss(self) -> int:
        """Bytes over which a slot is replaced once its task is done; 0: never."""
        return int(RECYCLE_AT * self.max_rss)


NO_LIMITS = SlotLimits()
