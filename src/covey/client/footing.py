# SPDX-License-Identifier: BSD-3-Clause
"""What a client stands on where its jobs are concerned: its links, its broker's file, its initializer, and the jobs.

Why: a detached job is the affair of few programs; a client only keeps what such a job asks for, and tells it the end.

May not know: what a job does. Guarantees: a job that nobody holds any more is not kept here either.
"""
from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from covey.client.job import Job
    from covey.client.resume import Resumed
    from covey.codec.functions import Setup
    from covey.node.machines import Machines

__all__ = ["Footing"]


@dataclass(slots=True)
class Footing:
    """Filled in by the client as it starts. `file` is "" for one without a broker.

    >>> Footing().file
    ''
    """

    machines: Machines | None = None
    file: str = ""
    setup: Setup | None = None
    jobs: weakref.WeakSet[Job | Resumed] = field(default_factory=weakref.WeakSet)

    def let_go(self) -> None:
        """Tells the jobs that their client ends."""
        for job in list(self.jobs):
            job.let_go()
