# SPDX-License-Identifier: BSD-3-Clause
"""What a long test has measured, on its way to the page of figures.

Why: a figure in the documentation was measured by the test that is named beside it, or it does not stand there. With
`pytest --figures FILE` each test that has one to say adds a line to the file, and `python tools/figures_page.py` fills
the page with them.

May not know: pytest, the page.
"""
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figures:
    """Where figures go; without a path they are only printed."""

    path: Path | None

    def say(self, name: str, measured: str) -> None:
        """This is what was measured for that figure."""
        print(f"{name}: {measured}")
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"name": name, "measured": measured}) + "\n")
