# SPDX-License-Identifier: BSD-3-Clause
"""The two pools of the standard library, with the start method that this Python has by default."""

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.peers.base import ExecutorPeer, Peer

__all__ = ["Pool", "ProcessPool"]


class Pool(Peer):
    """`multiprocessing.Pool`."""

    chunks = True
    closures = False
    first_result = """\
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print(pool.map(abs, [-1]), flush=True)
"""
    pool: Any = None

    def start(self, slots: int) -> None:
        self.pool = multiprocessing.Pool(slots)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()
            self.pool.join()

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        results: list[Any] = self.pool.map(function, items)
        return results

    def submit(self, function: Callable[..., Any], item: Any) -> Any:
        return self.pool.apply_async(function, (item,))

    def result(self, handle: Any) -> Any:
        return handle.get()

    def submit_all(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        submit = self.pool.apply_async
        return [submit(function, (item,)) for item in items]

    def submit_triples(self, function: Callable[..., Any], rows: Iterable[tuple[Any, Any, Any]]) -> list[Any]:
        submit = self.pool.apply_async
        return [submit(function, row) for row in rows]

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        return [handle.get() for handle in handles]


class ProcessPool(ExecutorPeer):
    """`concurrent.futures.ProcessPoolExecutor`."""

    closures = False
    first_result = """\
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        print(list(pool.map(abs, [-1])), flush=True)
"""

    def start(self, slots: int) -> None:
        self.pool = ProcessPoolExecutor(slots)
