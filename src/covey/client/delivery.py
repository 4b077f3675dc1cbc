# SPDX-License-Identifier: BSD-3-Clause
"""Futures of detached calls, and maps over them: what was handed out is acknowledged, and nothing else.

May not know: how outcomes come here. Guarantees: a future that was asked for its outcome gives one receipt; a result of
a map gives its receipt when the next one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

from covey.client.futures import Future

if TYPE_CHECKING:
    from covey.client.progress import Progress

__all__ = ["JobFuture", "as_they_come", "in_order"]


class JobFuture(Future[Any]):
    """The future of a detached call; asked for its outcome, it tells the journal that this one is delivered."""

    index: int
    receipt: Callable[[JobFuture], object]

    def result(self, timeout: float | None = None) -> Any:
        """As any future's; from then on the journal does not keep it."""
        try:
            return super().result(timeout)
        finally:
            self.receipt(self)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As any future's; from then on the journal does not keep it."""
        try:
            return super().exception(timeout)
        finally:
            self.receipt(self)

    def taken(self, deadline: float | None) -> Any:
        """The result, without a receipt."""
        return super().result(None if deadline is None else max(0.0, deadline - monotonic()))


def in_order(
    futures: list[JobFuture], deadline: float | None, bar: Progress | None
) -> Generator[list[Any], None, None]:
    """Results in the order of the items."""
    futures.reverse()
    return _handed_out(lambda: futures.pop(), len(futures), deadline, bar)


def as_they_come(
    futures: list[JobFuture], deadline: float | None, bar: Progress | None
) -> Generator[list[Any], None, None]:
    """Results as they come."""
    bells: SimpleQueue[Any] = SimpleQueue()
    for future in futures:
        future.add_done_callback(bells.put)

    def next_done() -> JobFuture:
        # In pieces: Python may miss a Ctrl-C that comes just before it sleeps.
        while deadline is None or monotonic() < deadline:
            try:
                found: JobFuture = bells.get(timeout=0.3)
                return found
            except Empty:
                continue
        raise TimeoutError("imap_unordered: no further result was there when the timeout given to the call was over")

    return _handed_out(next_done, len(futures), deadline, bar)


def _handed_out(
    take: Callable[[], JobFuture], count: int, deadline: float | None, bar: Progress | None
) -> Generator[list[Any], None, None]:
    try:
        for _ in range(count):
            future = take()
            try:
                result = future.taken(deadline)
            except BaseException:
                future.receipt(future)
                raise
            yield [result]
            future.receipt(future)
            if bar is not None:
                bar.tick(1)
    finally:
        if bar is not None:
            bar.close()
