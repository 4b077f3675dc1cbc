# SPDX-License-Identifier: BSD-3-Clause
"""`covey drain`: lets a node finish what runs there, and leave.

May not know: how a broker does it. Guarantees: nothing that runs is lost; what waits there goes to other nodes at once.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from covey.terminal.inquiry import Inquiry, Target

__all__ = ["parser", "run"]


def run(arguments: Sequence[str]) -> int:
    """`covey drain …`."""
    chosen = parser().parse_args(arguments)
    with Inquiry(Target.of_file(chosen.connect)) as inquiry:
        found = inquiry.ask(f"drain {chosen.node}")
    # A name comes from another machine, and a terminal obeys what it is sent.
    node = "".join(c if c.isprintable() else "?" for c in str(found["drained"]))
    sys.stdout.write(f"{node} gets no more tasks, finishes the {found['running']} that run there, and leaves\n")
    return 0


def parser() -> ArgumentParser:
    """What may stand behind `covey drain`.

    >>> parser().parse_args(["lab7", "--connect", "lab.json"]).node
    'lab7'
    """
    whole = ArgumentParser(
        prog="covey drain", description="Let a node finish what runs there, give it no more, and let it leave; "
        "what waits there goes to others.", allow_abbrev=False)
    whole.add_argument("node", metavar="NODE", help="its name, as `covey status` shows it, or its host's")
    whole.add_argument("--connect", metavar="FILE", help="the broker's connection file (default: what COVEY_CONNECTION "
                       "names)")
    return whole
