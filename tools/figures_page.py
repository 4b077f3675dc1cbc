# SPDX-License-Identifier: BSD-3-Clause
"""Fills the last column of docs/explanation/figures.md with what `pytest --figures FILE` wrote to FILE.

Usage: python tools/figures_page.py FILE
"""
import json
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/explanation/figures.md"


def filled(page: str, measured: dict[str, str]) -> str:
    """The page with these figures; a row for which there is none stays as it is.

    >>> filled("| T1 | most | test | |", {"T1 short": "3 s", "T1 long": "5 s", "T11": "no"})
    '| T1 | most | test | short: 3 s; long: 5 s |'
    """
    return "\n".join(_row(line, measured) for line in page.split("\n"))


def _row(line: str, measured: dict[str, str]) -> str:
    cells = line.split("|")
    if len(cells) != 6:
        return line
    name = cells[1].strip()
    found = [
        f"{title}: {text}" if (title := known.removeprefix(name).strip()) else text
        for known, text in measured.items() if known == name or known.startswith(name + " ")
    ]
    return "|".join([*cells[:4], f" {'; '.join(found)} ", ""]) if found else line


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    # The last word of each counts: the long form comes after the short one.
    measured = {str(entry["name"]): str(entry["measured"]) for entry in map(json.loads, lines)}
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), measured), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
