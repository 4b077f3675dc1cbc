# SPDX-License-Identifier: BSD-3-Clause
"""The popular pools of one machine: loky, joblib, mpire, pathos."""

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.peers.base import ExecutorPeer, Peer

__all__ = ["Joblib", "Loky", "Mpire", "Pathos"]


class Loky(ExecutorPeer):
    first_result = """\
import loky
print(list(loky.get_reusable_executor(max_workers=2).map(abs, [-1])), flush=True)
"""

    def __init__(self) -> None:
        self.loky = importlib.import_module("loky")

    def start(self, slots: int) -> None:
        self.pool = self.loky.get_reusable_executor(max_workers=slots)


class Joblib(Peer):
    """It has no futures: only map."""

    futures = False
    chunks = True
    first_result = """\
import joblib
print(joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(x) for x in [-1]), flush=True)
"""
    parallel: Any = None

    def __init__(self) -> None:
        self.joblib = importlib.import_module("joblib")

    def start(self, slots: int) -> None:
        # as a context, so that its processes are kept between calls
        self.parallel = self.joblib.Parallel(n_jobs=slots).__enter__()

    def close(self) -> None:
        if self.parallel is not None:
            self.parallel.__exit__(None, None, None)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        delayed = self.joblib.delayed(function)
        return list(self.parallel(delayed(item) for item in items))


class GetPeer(Peer):
    """Pools whose handles are multiprocessing's: read with `get`."""

    def result(self, handle: Any) -> Any:
        return handle.get()

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        return [handle.get() for handle in handles]


class Mpire(GetPeer):
    """apply_async and map must not be mixed on one pool of it (it breaks): no question does."""

    chunks = True
    # a lambda given to map of a kept-alive pool kills its workers
    closures = False
    first_result = """\
import mpire
if __name__ == "__main__":
    with mpire.WorkerPool(n_jobs=2) as pool:
        print(pool.map(abs, [-1]), flush=True)
"""
    pool: Any = None

    def __init__(self) -> None:
        self.mpire = importlib.import_module("mpire")

    def start(self, slots: int) -> None:
        self.pool = self.mpire.WorkerPool(n_jobs=slots, keep_alive=True)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.stop_and_join()

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        results: list[Any] = self.pool.map(function, items)
        return results

    def submit(self, function: Callable[..., Any], item: Any) -> Any:
        return self.pool.apply_async(function, (item,))

    def submit_all(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        submit = self.pool.apply_async
        return [submit(function, (item,)) for item in items]

    def submit_triples(self, function: Callable[..., Any], rows: Iterable[tuple[Any, Any, Any]]) -> list[Any]:
        submit = self.pool.apply_async
        return [submit(function, row) for row in rows]


class Pathos(GetPeer):
    chunks = True
    first_result = """\
from pathos.pools import ProcessPool
if __name__ == "__main__":
    print(ProcessPool(nodes=2).map(abs, [-1]), flush=True)
"""
    pool: Any = None

    def __init__(self) -> None:
        self.pools = importlib.import_module("pathos.pools")

    def start(self, slots: int) -> None:
        self.pool = self.pools.ProcessPool(nodes=slots)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()
            self.pool.join()
            self.pool.clear()

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        results: list[Any] = self.pool.map(function, items)
        return results

    def submit(self, function: Callable[..., Any], item: Any) -> Any:
        return self.pool.apipe(function, item)

    def submit_all(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        submit = self.pool.apipe
        return [submit(function, item) for item in items]

    def submit_triples(self, function: Callable[..., Any], rows: Iterable[tuple[Any, Any, Any]]) -> list[Any]:
        submit = self.pool.apipe
        return [submit(function, a, b, c) for a, b, c in rows]
