# SPDX-License-Identifier: BSD-3-Clause
"""A client without slots: every call runs in this process, at once, so that a debugger works.

Why: a breakpoint in a slot is out of reach; `Client(inline=True)` brings the calls to the debugger.

May not know: slots, parcels. What differs from a flock, on purpose: arguments and results are not
copied (nothing is pickled), a map runs an item when its result is asked for, `timeout` of a task cannot
be enforced, and what would kill a slot kills this process. Everything else is the same: order, errors,
retries, futures, refusal after shutdown.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from random import random
from time import monotonic, sleep
from typing import Any

from covey import settings as settings_module
from covey.client.options import TaskSettings
from covey.client.progress import Progress
from covey.errors import ClientClosed

__all__ = ["InlineRunner"]


class InlineRunner:
    """Runs calls where they are made."""

    def __init__(self) -> None:
        self.finished = 0
        self.retried = 0
        self.closed = False
        self._most_rest = settings_module.read().retry_wait_limit

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done already."""
        return self.submit_with(TaskSettings(), fn, args, kwargs)

    def submit_with(
        self, settings: TaskSettings, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[Any]:
        if self.closed:
            raise ClientClosed
        if not callable(fn):
            raise TypeError(f"submit({fn!r}, …): a function or another callable is needed")
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            value = self._call(settings, fn, args, kwargs)
        except Exception as error:
            # Only what a slot would send back; Ctrl-C, sys.exit and a debugger's quit belong to the caller.
            future.set_exception(error)
        else:
            future.set_result(value)
        self.finished += 1
        return future

    def map(
        self,
        settings: TaskSettings,
        fn: Callable[..., Any],
        items: Iterator[Any],
        *,
        star: bool,
        deadline: float | None,
        progress: Progress | None,
    ) -> Generator[list[Any], None, None]:
        """Each result as a list of one, made when it is asked for."""
        try:
            for index, item in enumerate(items):
                if self.closed:
                    raise ClientClosed
                if deadline is not None and monotonic() > deadline:
                    raise TimeoutError(f"map: item {index} was not done when the timeout given to the call was over")
                value = self._call(settings, fn, item if star else (item,), {})
                self.finished += 1
                if progress is not None:
                    progress.tick(1)
                del item
                results = [value]
                del value
                yield results
        finally:
            if progress is not None:
                progress.close()

    def _call(
        self, settings: TaskSettings, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        types = (Exception,) if settings.retry_on is None else settings.retry_on.types
        most = settings.retry_wait
        for _ in range(settings.retries):
            try:
                return fn(*args, **kwargs)
            except types:
                self.retried += 1
            if most:
                # As the scheduler does: up to a bound that doubles.
                sleep(random() * most)
                most = min(2 * most, max(settings.retry_wait, self._most_rest))
        return fn(*args, **kwargs)
