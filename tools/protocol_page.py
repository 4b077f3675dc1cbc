# SPDX-License-Identifier: BSD-3-Clause
"""Generates docs/reference/protocol.md from ext/covey/wire/protocol.pxd: run it after an edit there.

Why: the protocol has one home, and the page that people read must not drift from it. `python tools/protocol_page.py`
writes the page; tests/house compares it. Understands only what protocol.pxd uses: a comment above an enum or struct
tells what it is, a comment behind a line what the line is, and a line that is only a comment continues it.
"""
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "ext/covey/wire/protocol.pxd"
PARSER = ROOT / "ext/covey/wire/protocol.pyx"
PAGE = ROOT / "docs/reference/protocol.md"

WIDTHS = {"uint8_t": 1, "uint16_t": 2, "int16_t": 2, "int32_t": 4, "uint32_t": 4, "uint64_t": 8}

_BLOCK = re.compile(r"cdef (?P<sort>enum|packed struct) ?(?P<name>\w*):(?:\s*# (?P<about>.*))?$")
_CONSTANT = re.compile(r"    (?P<name>[A-Z_]+) = (?P<value>\S+)(?:\s+# (?P<about>.*))?$")
_FIELD = re.compile(r"    (?P<type>\w+) (?P<name>\w+)(?:\[(?P<count>\w+)\])?(?:\s+# (?P<about>.*))?$")
_SIZES = re.compile(r"    if (?P<test>kind == [^:]*):\n(?:        .*\n)*?        return sizeof\((?P<record>\w+)\)")


@dataclass(slots=True)
class Line:
    """A constant or a field."""

    name: str
    value: str          # of a constant its number, of a field its type
    about: str
    size: int = 0       # of a field


@dataclass(slots=True)
class Block:
    """An enum or a struct."""

    name: str
    about: str
    lines: list[Line]

    @property
    def size(self) -> int:
        """Bytes of a struct."""
        return sum(line.size for line in self.lines)


def read_blocks(text: str) -> list[Block]:
    """The enums and structs of a .pxd, in its order."""
    blocks: list[Block] = []
    above: list[str] = []
    inside = False
    for line in text.splitlines():
        if match := _BLOCK.match(line):
            blocks.append(Block(match["name"], match["about"] or " ".join(above), []))
            inside = True
        elif inside and (match := _CONSTANT.match(line)):
            blocks[-1].lines.append(Line(match["name"], match["value"], match["about"] or ""))
        elif inside and (match := _FIELD.match(line)):
            # A length is a number, or a name that was given one above.
            named = {line.name: line.value for block in blocks for line in block.lines}
            count = int(named.get(match["count"], match["count"] or 1))
            sort = match["type"] + (f"[{count}]" if match["count"] else "")
            blocks[-1].lines.append(Line(match["name"], sort, match["about"] or "", WIDTHS[match["type"]] * count))
        elif inside and line.startswith("     ") and line.strip().startswith("# "):
            blocks[-1].lines[-1].about += " " + line.strip()[2:]
        else:
            inside = False
        above = [*above, line[2:]] if line.startswith("# ") else []
    return blocks


def record_of_kinds() -> dict[str, str]:
    """Which struct the records of a kind are, as the parser has it."""
    found: dict[str, str] = {}
    for match in _SIZES.finditer(PARSER.read_text(encoding="utf-8")):
        for kind in re.findall(r"kind == (\w+)", match["test"]):
            found[kind] = match["record"]
    return found


def _rows(head: str, rows: list[list[str]]) -> list[str]:
    columns = head.count("|") - 1
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return [head, "|" + "---|" * columns, *("| " + " | ".join(row) + " |" for row in cells), ""]


def _enum(block: Block, records: dict[str, str]) -> list[str]:
    if block.name == "Kind":
        carried = {kind: f"`{record}`" for kind, record in records.items()}
        rows = [[f"`{x.name}`", x.value, carried.get(x.name, "–"), x.about] for x in block.lines]
        return _rows("| kind | number | record | meaning |", rows)
    return _rows("| name | value | meaning |", [[f"`{x.name}`", x.value, x.about] for x in block.lines])


def _struct(block: Block) -> list[str]:
    at = 0
    rows = []
    for line in block.lines:
        rows.append([str(at), f"`{line.name}`", line.value.replace("_t", ""), line.about])
        at += line.size
    return _rows("| offset | field | type | meaning |", rows)


def page() -> str:
    """The page's text."""
    text = SOURCE.read_text(encoding="utf-8")
    theory = text.split('"""')[1]
    title, _, body = theory.partition("\n")
    out = [
        "<!-- Generated from ext/covey/wire/protocol.pxd by tools/protocol_page.py; do not edit. -->",
        "# " + title.rstrip("."),
        body.rstrip(),
        "",
    ]
    records = record_of_kinds()
    for block in read_blocks(text):
        if block.name.startswith("_"):
            continue
        is_struct = bool(block.size)
        heading = block.name or block.about.partition(" ")[0].rstrip(":").capitalize()
        if not block.name and heading == "Magic":
            heading = "Magic and version"
        out += [f"## {heading}" + (f" ({block.size} bytes)" if is_struct else ""), ""]
        about = re.sub(r"^[A-Z]\w+: ", "", block.about).rstrip(".")
        if about and about != block.name:
            out += [about[0].upper() + about[1:] + ".", ""]
        out += _struct(block) if is_struct else _enum(block, records)
    return "\n".join(out).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
