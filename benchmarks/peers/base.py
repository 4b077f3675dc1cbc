# SPDX-License-Identifier: BSD-3-Clause
"""The small interface that covey and every peer get, so that all are asked in the same words.

Why the loops are in here: a wrapper called per task would cost more than covey's `submit`, so whole loops are
methods, written with each library's own calls. Nothing is tuned for anybody: every library is used as its first
page of documentation shows, with its own default chunking and start method.
Guarantees: an instance can be made only where the library is installed (its `__init__` imports it); `start`
comes once, `close` once, whatever happened in between.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

__all__ = ["ExecutorPeer", "NotInstalled", "Peer"]


class NotInstalled(Exception):
    """The library, or something that it needs, is not on this machine."""


class Peer(ABC):
    """One way of running Python functions in other processes."""

    futures: ClassVar[bool] = True
    """There is a submit that gives a handle for each call."""
    chunks: ClassVar[bool] = False
    """Its map puts several items into one message unasked. If not, each item costs the same: a short run is fair."""
    closures: ClassVar[bool] = True
    """It takes functions that cannot be imported by name."""
    first_result: ClassVar[str] = ""
    """A whole program that prints `[1]`, computed by `abs` in another process, as the documentation would write it."""

    @abstractmethod
    def start(self, slots: int) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        """The library's map with its own defaults."""

    def submit(self, function: Callable[..., Any], item: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no futures")

    def result(self, handle: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no futures")

    def submit_all(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        """One handle for each item."""
        return [self.submit(function, item) for item in items]

    def submit_triples(self, function: Callable[..., Any], rows: Iterable[tuple[Any, Any, Any]]) -> list[Any]:
        """One handle for each row; the function gets three arguments."""
        raise NotImplementedError(f"{type(self).__name__} has no futures")

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        """All results, in order."""
        return [self.result(handle) for handle in handles]


class ExecutorPeer(Peer):
    """A library whose pool is a `concurrent.futures.Executor`; a subclass's `start` sets `pool`."""

    pool: Any = None

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown()

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self.pool.map(function, items))

    def submit(self, function: Callable[..., Any], item: Any) -> Any:
        return self.pool.submit(function, item)

    def result(self, handle: Any) -> Any:
        return handle.result()

    def submit_all(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        submit = self.pool.submit
        return [submit(function, item) for item in items]

    def submit_triples(self, function: Callable[..., Any], rows: Iterable[tuple[Any, Any, Any]]) -> list[Any]:
        submit = self.pool.submit
        return [submit(function, a, b, c) for a, b, c in rows]

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        return [handle.result() for handle in handles]
