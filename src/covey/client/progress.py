# SPDX-License-Identifier: BSD-3-Clause
"""The progress bar of a map, and of an optimisation.

Why: long work should show that it moves, without being asked, where somebody looks; and nothing where
the output goes into a file.

May not know: futures, bundles. It is told how many items are done, and what else is worth a word.
Guarantees: tqdm is imported only when a bar is drawn; a bar that cannot be drawn never disturbs the work.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import Any

# A map that is over sooner than this needs no bar.
PATIENCE = 1.0


class Progress:
    """Counts items and draws a bar once that is worth it."""

    def __init__(self, total: int | None, label: str, *, at_once: bool, unit: str = "item") -> None:
        self.total = total
        self.label = label
        self.unit = unit
        self._said = ""
        self.done = 0
        self._began = monotonic()
        self._patience = 0.0 if at_once else PATIENCE
        self._bar: Any = None
        self._broken = False
        if at_once:
            self._draw()

    def tick(self, items: int) -> None:
        """So many more items are done."""
        self.done += items
        if self._broken:
            return
        if self._bar is not None:
            self._bar.update(items)
        elif monotonic() - self._began >= self._patience:
            self._draw()

    def note(self, text: str) -> None:
        """What stands behind the numbers when the bar is drawn next."""
        self._said = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def close(self) -> None:
        """Leave the bar as it is. Safe to call twice."""
        bar, self._bar, self._broken = self._bar, None, True
        if bar is not None:
            bar.close()

    def _draw(self) -> None:
        try:
            from tqdm.auto import tqdm

            class Bar(tqdm):  # type: ignore[misc]
                # tqdm's monitor is a thread that stays for the life of the process
                monitor_interval = 0

            self._bar = Bar(total=self.total, desc=self.label, unit=self.unit, unit_scale=True, file=sys.stderr)
            self._bar.start_t -= monotonic() - self._began
            self._bar.set_postfix_str(self._said, refresh=False)
            if self.done:
                self._bar.update(self.done)
        except Exception:
            # a notebook without widgets, a closed stderr: the work matters, the bar does not
            self._broken = True


def maybe_progress(wanted: bool | None, total: int | None, label: str, unit: str = "item") -> Progress | None:
    """The bar that `progress=wanted` asks for: True always, None where somebody looks, False never."""
    if wanted is False or (wanted is None and not _somebody_looks()):
        return None
    return Progress(total, label, at_once=wanted is True, unit=unit)


def _somebody_looks() -> bool:
    if "ipykernel" in sys.modules:
        return True
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
