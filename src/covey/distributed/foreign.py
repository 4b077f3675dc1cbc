# SPDX-License-Identifier: BSD-3-Clause
"""`distribute(fun, executor=E)`: the same calls on somebody else's Executor.

Why: dask, ray, mpi4py, Slurm tools and the standard library all speak `submit`; who already has a
cluster should keep it (DESIGN decision 14).

May not know: slots, bundles. Guarantees: at most WINDOW calls a worker are submitted and not collected;
after an error nothing more is submitted and what has not started is cancelled. The executor stays open.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any

from covey.client.progress import Progress

__all__ = ["map_over", "workers_of"]

WINDOW = 16


def workers_of(executor: Executor) -> int:
    """How many calls it runs at once, as far as it says."""
    for name in ("_max_workers", "max_workers", "_processes"):
        count = getattr(executor, name, None)
        if isinstance(count, int) and count > 0:
            return count
    return os.cpu_count() or 1


def map_over(
    executor: Executor, call: Callable[[Any], Any], items: Iterable[Any], progress: Progress | None
) -> list[Any]:
    """`call` of every item, in order."""
    window = WINDOW * workers_of(executor)
    pending: deque[Future[Any]] = deque()
    results: list[Any] = []

    def take() -> None:
        results.append(pending.popleft().result())
        if progress is not None:
            progress.tick(1)

    try:
        for item in items:
            if len(pending) >= window:
                take()
            pending.append(executor.submit(call, item))
        while pending:
            take()
    finally:
        for future in pending:
            future.cancel()
        if progress is not None:
            progress.close()
    return results
