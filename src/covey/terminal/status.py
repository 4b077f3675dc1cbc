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

_COLUMNS = ("name", "host", "slots", "gpus", "running", "state")


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
    >>> about = {"name": "broker", "host": "login", "version": "1.0", "uptime_s": 61.0, "rate_per_s": 2.5}
    >>> print(table({**about, "slots": 2, "gpus": 0, "clients": 1, "tasks": tasks, "nodes": [row]}))
    broker on login, covey 1.0, up 1 min
    2 slots, 0 with a GPU; tasks (a bundle of calls is one): 3 waiting, 1 running, 7 finished; 2.5 a second; 1 asking
    <BLANKLINE>
    name  host  slots  gpus  running  state
    lab7  lab7      2     0        1  up
    """
    tasks = found["tasks"]
    slots = f"{found['slots']} slot{'s' * (found['slots'] != 1)}, {found['gpus']} with a GPU"
    counts = f"{tasks['waiting']} waiting, {tasks['running']} running, {tasks['finished']} finished"
    pace = f"{_rate(found['rate_per_s'])} a second"
    head = [
        f"{found['name']} on {found['host']}, covey {found['version']}, up {_span(found['uptime_s'])}",
        f"{slots}; tasks (a bundle of calls is one): {counts}; {pace}; {found['clients']} asking",
        "",
    ]
    if not found["nodes"]:
        return "\n".join([*head, "no node is here"])
    rows = [_COLUMNS, *(tuple(str(row[column]) for column in _COLUMNS) for row in found["nodes"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    numeric = [column in ("slots", "gpus", "running") for column in _COLUMNS]
    for row in rows:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ]
        # A name comes from another machine, and a terminal obeys what it is sent.
        head.append("".join(c if c.isprintable() else "?" for c in "  ".join(cells)).rstrip())
    return "\n".join(head)


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
