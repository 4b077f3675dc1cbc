# SPDX-License-Identifier: BSD-3-Clause
"""What a client keeps for what few programs ask of it: its links, its broker's file, its initializer and its jobs, for
detached jobs; and its speculation.

Why: a client only keeps what a job asks for, and tells it the end; and it watches no call where nobody asked for that.

May not know: what a job does, when a call is begun again. Guarantees: a job that nobody holds any more is not kept here
either; nothing is watched, and no module loaded for it, before the first call that may be begun again.
"""
from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from covey.client.client import Client
    from covey.client.job import Job
    from covey.client.options import TaskSettings
    from covey.client.resume import Resumed
    from covey.client.speculation import Speculation, Speculator
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
    # None: no call of this client was ever one that may be begun again.
    speculation: Speculation | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def speculator(self, client: Client, settings: TaskSettings) -> Speculator:
        """The client, as it is for calls that may be begun again; raises why, if it takes none."""
        from covey.client.speculation import Speculation, Speculator

        # Ahead of the lock, which in a forked copy may be held by a thread that is not there.
        client.require_taking()
        with self._lock:
            if self.speculation is None:
                self.speculation = Speculation(client)
        return Speculator(client, self.speculation, settings)

    def let_go(self) -> None:
        """Tells the jobs that their client ends."""
        for job in list(self.jobs):
            job.let_go()
