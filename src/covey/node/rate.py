# SPDX-License-Identifier: BSD-3-Clause
"""How fast something that is counted grows.

May not know: what is counted, clocks. Guarantees: a bounded memory; the rate of the last seconds, not of a whole life.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Rate"]

# Long enough that a task a second shows, short enough that a lull shows as well.
_SPAN = 10.0


class Rate:
    """What a count gains a second, over the last ten seconds.

    >>> rate = Rate(0.0)
    >>> rate.note(2.0, 100)
    >>> rate.of(4.0, 300)
    75.0
    """

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now, 0)], maxlen=64)

    def note(self, now: float, count: int) -> None:
        """The count as it is now; to be told about once a second."""
        self._samples.append((now, count))
        while len(self._samples) > 1 and self._samples[1][0] <= now - _SPAN:
            self._samples.popleft()

    def of(self, now: float, count: int) -> float:
        """The rate, if the count is this now."""
        when, before = self._samples[0]
        return (count - before) / (now - when) if now > when else 0.0
