# SPDX-License-Identifier: BSD-3-Clause
"""Imports and cimports go down the stairs.

Why: import-linter holds this for Python files, but does not look into .pyx and .pxd, nor at imports of what is
compiled. The table of floors is import-linter's own, in pyproject.toml.
"""
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from house import ROOT, files, floors, name, rooms

_IMPORT = re.compile(r"^\s*(?:from\s+(?P<origin>[\w.]+)\s+c?import\s+(?P<names>.*)|c?import\s+(?P<module>[\w.]+))")
FLOORS = floors()


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """The dotted names of covey that a file imports, with their lines."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _IMPORT.match(line)
        if match is None:
            continue
        origin = match["origin"] or match["module"]
        assert not origin.startswith("."), f"line {number}: a relative import hides which floor it goes to"
        if origin == "covey" and match["names"]:
            for part in match["names"].split(","):
                yield number, "covey." + part.split()[0].strip("()")
        elif origin.startswith("covey."):
            yield number, origin


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[2:]
    return parts[0]


@pytest.mark.parametrize("path", files("src/covey", "ext/covey"), ids=name)
def test_imports_go_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    for number, target in imported(path):
        other = target.split(".")[1]
        if other == room or other not in FLOORS:
            continue
        assert FLOORS[other] > FLOORS[room], f"line {number}: {room} may not import {other}"
        assert (room, other) != ("broker", "codec"), f"line {number}: the broker never opens a parcel"


def test_every_room_has_a_floor() -> None:
    compiled = {path.name for path in (ROOT / "ext/covey").iterdir() if path.is_dir()}
    assert (set(rooms()) | compiled) - {"__pycache__"} <= set(FLOORS)


def test_the_map_shows_these_floors() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Floors")[2]
    drawn = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    shown = {room.strip(): number for number, line in enumerate(drawn) for room in line.split("|")}
    present = [room for room in rooms() if room != "testing"]
    assert set(present) <= set(shown), "ARCHITECTURE.md lacks a room"
    below = {room: {other for other in present if FLOORS[other] > FLOORS[room]} for room in present}
    assert {room: {other for other in present if shown[other] > shown[room]} for room in present} == below


def test_the_parser_sees_what_it_must(tmp_path: Path) -> None:
    page = tmp_path / "x.pyx"
    page.write_text("from covey.api cimport a\n    import covey.wire.protocol\ncimport covey.link.post as p\n"
                    "from covey import settings, errors as e\nimport os\n# from covey.node import x\n")
    assert list(imported(page)) == [
        (1, "covey.api"), (2, "covey.wire.protocol"), (3, "covey.link.post"),
        (4, "covey.settings"), (4, "covey.errors"),
    ]
