# SPDX-License-Identifier: BSD-3-Clause
"""`covey status`: how a broker or a node stands, as a table or as JSON.

May not know: how it is asked. Guarantees: within five seconds the table, or one sentence why there is none.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from covey.terminal.inquiry import Inquiry, Target

__all__ = ["parser", "run", "table"]

_COLUMNS = ("name", "host", "slots", "gpus", "running", "state", "memory", "of each slot")
_JOB_COLUMNS = ("job", "calls", "unfinished", "unfetched")
_NUMBERS = ("slots", "gpus", "running", "calls", "unfinished", "unfetched")
# Of more slots, the largest is named: it is the one that somebody looks for.
_SLOTS_SHOWN = 8


def run(arguments: Sequence[str]) -> int:
    """`covey status …`."""
    reader = parser()
    chosen = reader.parse_args(arguments)
    if chosen.machine is not None and chosen.file is not None:
        reader.error("give FILE or --machine, not both")
    target = Target.of_machine(chosen.machine) if chosen.machine is not None else Target.of_file(chosen.file)
    with Inquiry(target) as inquiry:
        found = whole_status(inquiry)
    sys.stdout.write((json.dumps(found, indent=2) if chosen.json else table(found)) + "\n")
    return 0


def parser() -> ArgumentParser:
    """What may stand behind `covey status`.

    >>> parser().parse_args(["lab.json", "--json"]).json
    True
    """
    whole = ArgumentParser(
        prog="covey status", description="Show nodes, slots and tasks of a broker, or of a node that listens.",
        allow_abbrev=False)
    whole.add_argument("file", nargs="?", metavar="FILE", help="the broker's connection file (default: what "
                       "COVEY_CONNECTION names)")
    whole.add_argument("--machine", metavar="HOST[:PORT]", help="a node or worker script that listens there, asked "
                       "with the key file")
    whole.add_argument("--json", action="store_true", help="for programs")
    return whole


def whole_status(inquiry: Inquiry) -> dict[str, Any]:
    """The status with all its rows, however many answers they came in."""
    found = inquiry.ask("status")
    more = found.pop("more")
    while more is not None:
        page = inquiry.ask(f"status {more}")
        # A node that leaves meanwhile moves the others up; the page after it still lies further on.
        found["nodes"] += page["nodes"]
        more = page["more"]
    return found


def table(found: dict[str, Any]) -> str:
    """A status for people.

    >>> tasks = {"waiting": 3, "running": 1, "finished": 7}
    >>> row = {"name": "lab7", "host": "lab7", "slots": 2, "gpus": 0, "running": 1, "state": "up"}
    >>> row["memory"] = {"total": 16 << 30, "available": 9 << 30}
    >>> row["own_slots"] = [{"number": 1, "memory": 28 << 20}, {"number": 2, "memory": 931 << 20}]
    >>> about = {"name": "broker", "host": "login", "version": "1.0", "uptime_s": 61.0, "rate_per_s": 2.5}
    >>> print(table({**about, "slots": 2, "gpus": 0, "clients": 1, "tasks": tasks, "nodes": [row]}))
    broker on login, covey 1.0, up 1 min
    2 slots, 0 with a GPU; tasks (a bundle of calls is one): 3 waiting, 1 running, 7 finished; 2.5 a second; 1 asking
    <BLANKLINE>
    name  host  slots  gpus  running  state  memory                of each slot
    lab7  lab7      2     0        1  up     9.0 of 16.0 GiB free  28, 931 MiB
    """
    tasks = found["tasks"]
    slots = f"{found['slots']} slot{'s' * (found['slots'] != 1)}, {found['gpus']} with a GPU"
    counts = f"{tasks['waiting']} waiting, {tasks['running']} running, {tasks['finished']} finished"
    pace = f"{_rate(found['rate_per_s'])} a second"
    head = [
        f"{found['name']} on {found['host']}, covey {found['version']}, up {_span(found['uptime_s'])}",
        f"{slots}; tasks (a bundle of calls is one): {counts}; {pace}; {found['clients']} asking",
        *_memory(found.get("messages")),
        "",
    ]
    if found["nodes"]:
        head += _lines([_COLUMNS, *map(_cells, found["nodes"])])
    else:
        head.append("no node is here")
    if found.get("jobs"):
        more = found["jobs_kept"] - len(found["jobs"])
        head += ["", *_lines([_JOB_COLUMNS, *(tuple(str(cell) for cell in job.values()) for job in found["jobs"])])]
        head += [f"and {more} older ones"] * (more > 0)
    return "\n".join(head)


def _memory(messages: dict[str, Any] | None) -> list[str]:
    """What a broker has of messages, where that is bounded.

    >>> found = {"messages": 1 << 30, "held": 1 << 29, "spilled": 3 << 30, "place": "/tmp", "why": ""}
    >>> _memory({**found, "holds_back": True})
    ['messages: 512 of 1024 MiB in memory, 3072 MiB written to /tmp; clients wait, because it is full']
    """
    if messages is None:
        return []
    held = f"messages: {messages['held'] >> 20} of {messages['messages'] >> 20} MiB in memory"
    if messages["spilled"]:
        held += f", {messages['spilled'] >> 20} MiB written to {messages['place']}"
    if messages["why"]:
        held += f"; nothing can be written out: {messages['why']}"
    return [held + "; clients wait, because it is full" * bool(messages["holds_back"])]


def _lines(rows: list[tuple[str, ...]]) -> list[str]:
    """A table, its head first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = [column in _NUMBERS for column in rows[0]]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ]
        # A name comes from another machine, and a terminal obeys what it is sent.
        lines.append("".join(c if c.isprintable() else "?" for c in "  ".join(cells)).rstrip())
    return lines


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    memory = row["memory"]
    free = "" if memory is None else f"{memory['available'] / 2**30:.1f} of {memory['total'] / 2**30:.1f} GiB free"
    return (*(str(row[column]) for column in _COLUMNS[:-2]), free, _of_each(row["own_slots"]))


def _of_each(slots: list[dict[str, Any]]) -> str:
    sizes = [round(slot["memory"] / 2**20) for slot in slots if slot["memory"] is not None]
    if len(sizes) > _SLOTS_SHOWN:
        return f"at most {max(sizes)} MiB"
    return f"{', '.join(map(str, sizes))} MiB" if sizes else ""


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
