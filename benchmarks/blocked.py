# SPDX-License-Identifier: BSD-3-Clause
"""Slots that are held, so that whatever is submitted next must queue.

Why: for the questions about queues. A held slot blocks in `open` of a fifo: it costs nothing and nobody polls.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.answer import WrongResult
from benchmarks.peers import Peer
from benchmarks.question import SLOTS
from benchmarks.tasks import hold

__all__ = ["blocked"]


@contextmanager
def blocked(peer: Peer) -> Iterator[Callable[[], None]]:
    """Every slot is held until the yielded function is called."""
    with tempfile.TemporaryDirectory(prefix="hold-") as folder:
        paths = [os.path.join(folder, str(slot)) for slot in range(SLOTS)]
        for path in paths:
            os.mkfifo(path)
        handles = peer.submit_all(hold, paths)
        deadline = time.monotonic() + 20
        while not all(os.path.exists(path + ".here") for path in paths):
            if time.monotonic() > deadline:
                raise WrongResult("not every slot took one of the tasks that hold it")
            time.sleep(0.001)

        def release() -> None:
            for path in paths:
                with open(path, "w", encoding="ascii"):
                    pass

        yield release
        peer.collect(handles)
