# SPDX-License-Identifier: BSD-3-Clause
"""Generates docs/reference/settings.md from src/covey/settings.py: run it after an edit there.

Why: a default and its reason have one home. Understands what that file uses: inside the class, a comment of one word or
two that stands alone opens a group, a comment above a field is its reason.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/covey/settings.py"
PAGE = ROOT / "docs/reference/settings.md"

_FIELD = re.compile(r"    (?P<name>\w+): (?P<type>[^=]+) = (?P<default>.+)$")


def page() -> str:
    """The page's text."""
    out = [
        "<!-- Generated from src/covey/settings.py by tools/settings_page.py; do not edit. -->",
        "# Settings",
        "",
        "Each can be changed by an environment variable, read when a flock starts.",
        "Seconds and bytes unless the name says otherwise.",
        "",
    ]
    above: list[str] = []
    text = SOURCE.read_text(encoding="utf-8").partition("class Settings:")[2].partition("\ndef ")[0]
    for line in text.splitlines():
        match = _FIELD.match(line)
        if line.startswith("    # "):
            above.append(line[6:])
        elif match:
            default = match["default"].replace("* MIB", "MiB").replace("GIB", "1 GiB").replace("_", "")
            out += [f"- `COVEY_{match['name'].upper()}` ({match['type'].strip()}, {default}): {' '.join(above)}"]
            above = []
        elif len(above) == 1 and not line:
            out += [*([""] if out[-1] else []), "## " + above[0].rstrip("."), ""]
            above = []
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
