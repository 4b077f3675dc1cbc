# SPDX-License-Identifier: BSD-3-Clause
"""covey itself, behind the same interface as everybody else."""

from collections.abc import Callable, Sequence
from typing import Any

import covey
from benchmarks.peers.base import ExecutorPeer

__all__ = ["Covey"]


class Covey(ExecutorPeer):
    chunks = True
    first_result = """\
import covey
print(covey.distribute(abs, max_cpu=2)([-1]), flush=True)
"""

    def start(self, slots: int) -> None:
        self.pool = covey.Client(max_cpu=slots)

    def distribute(self, function: Callable[..., Any], slots: int) -> Callable[[Sequence[Any]], list[Any]]:
        """The front door, for the questions that are about it."""
        return covey.distribute(function, max_cpu=slots)
