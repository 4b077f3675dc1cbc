# SPDX-License-Identifier: BSD-3-Clause
"""`covey doctor`: looks at this machine, and at a broker, and says for each thing what to do.

May not know: what is checked. Guarantees: one line a check, as it is done; exit code 1 if something must be done.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from covey.keys.connection import find_connection

__all__ = ["parser", "run"]


def run(arguments: Sequence[str]) -> int:
    """`covey doctor …`."""
    chosen = parser().parse_args(arguments)
    from covey.terminal.checks import all_checks

    ill = False
    for check in all_checks(find_connection(chosen.file)):
        ill = ill or bool(check.todo)
        sys.stdout.write(f"{check}\n")
        sys.stdout.flush()
    return 1 if ill else 0


def parser() -> ArgumentParser:
    """What may stand behind `covey doctor`.

    >>> parser().parse_args(["lab.json"]).file
    'lab.json'
    """
    whole = ArgumentParser(
        prog="covey doctor", description="Check versions, keys, ports, clock, encryption and GPUs, and say what to do. "
        "The exit code is 1 if something must be done.", allow_abbrev=False)
    whole.add_argument("file", nargs="?", metavar="FILE", help="a connection file, whose broker is checked too "
                       "(default: what COVEY_CONNECTION names)")
    return whole
