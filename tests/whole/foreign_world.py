# SPDX-License-Identifier: BSD-3-Clause
"""A slot that stands for one on another machine: a real process that sees nothing of the user's folder."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import covey
from covey.node.local import LocalNode


class Project:
    """The user's folder, on the caller's `sys.path` only, and a client of slots that cannot see it."""

    def __init__(self, folder: Path, there: Path) -> None:
        self.folder = folder
        self.there = there
        elsewhere = [os.path.abspath(entry) for entry in sys.path if Path(entry) != folder]
        self.node = LocalNode(max_cpu=1, path=[str(there), *elsewhere])
        self.node.start()
        try:
            self.client = covey.Client(self.node.address)
            self.client.book.ship = True
        except BaseException:
            self.node.close(kill=True)
            raise

    def write(self, path: str, source: str, *, there: bool = False) -> Path:
        file = (self.there if there else self.folder) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        return file

    def forget_modules(self, *names: str) -> None:
        """So that the next test's modules of the same names are its own."""
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            del sys.modules[name]

    def close(self) -> None:
        self.client.shutdown()
        self.node.close()
