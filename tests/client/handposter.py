# SPDX-License-Identifier: BSD-3-Clause
"""A client for maps that a test drives by hand: what was posted is done when the test says so.

Why: order, windows, deaths and errors of a map can be tested without a process, in any sequence.
Guarantees: a task runs in the thread of the test, in `do`; with `at_once` already in `post`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from covey.client.bundles import Sizer
from covey.client.futures import Partial
from covey.client.mapping import Feeder, ordered, unordered, zipped
from covey.client.options import TaskSettings
from covey.client.results import Results
from covey.codec.parcel import STAR
from covey.errors import BundleBroken


class HandFuture(Future[Any]):
    run_seconds: float | None = None


@dataclass(eq=False)
class Task:
    entry: Any
    form: int
    items: list[Any]
    settings: dict[str, Any]
    future: HandFuture = field(default_factory=HandFuture)


@dataclass
class Entry:
    fn: Callable[..., Any]

    @property
    def name(self) -> str:
        return self.fn.__name__


class HandPoster:
    """What Feeder wants of a client. `seconds` is how long a call is said to take."""

    def __init__(self, slots: int = 2, *, at_once: bool = False, seconds: float = 0.01) -> None:
        self.slots = slots
        self.at_once = at_once
        self.seconds = seconds
        self.refuses: Exception | None = None
        self.posted: list[Task] = []
        self.waiting: list[Task] = []
        # raised by post() for a bundle that holds this item
        self.unsendable: dict[Any, Exception] = {}

    def post(self, entry: Any, form: int, obj: Any, **settings: Any) -> HandFuture:
        for item in obj:
            if isinstance(item, int) and item in self.unsendable:
                raise self.unsendable[item]
        task = Task(entry, form, list(obj), settings)
        self.posted.append(task)
        self.waiting.append(task)
        if self.at_once:
            self.do(task)
        return task.future

    def require_taking(self) -> None:
        if self.refuses is not None:
            raise self.refuses

    def flush(self) -> None:
        """A map that waits with nothing under way would wait for ever."""
        assert self.waiting, "the map waits, but nothing is under way"
        self.do(self.waiting[0])

    def do(self, task: Task) -> None:
        self.waiting.remove(task)
        if task.future.cancelled():
            return
        task.future.run_seconds = self.seconds * len(task.items)
        results: list[Any] = []
        for item in task.items:
            try:
                results.append(task.entry.fn(*item) if task.form == STAR else task.entry.fn(item))
            except Exception as error:
                task.future.set_result(Partial(results, error))
                return
        task.future.set_result(results)

    def kill(self, task: Task, error: Exception | None = None) -> None:
        """The slot under this task dies."""
        self.waiting.remove(task)
        if error is None:
            assert task.settings["flags"] == 1, "only a bundle comes back broken"
            error = BundleBroken(("slot 1 died",))
        task.future.set_exception(error)

    @property
    def items_posted(self) -> int:
        return sum(len(task.items) for task in self.posted)


def hand_map(
    poster: HandPoster,
    fn: Callable[..., Any],
    *iterables: Iterable[Any],
    chunksize: int | None = None,
    buffersize: int | None = None,
    deadline: float | None = None,
    in_order: bool = True,
    settings: TaskSettings | None = None,
    feeders: list[Feeder] | None = None,
) -> Iterator[Any]:
    """What Client.map_with does, over a HandPoster."""
    items, star, length = zipped(fn, iterables)
    feeder = Feeder(
        poster,  # type: ignore[arg-type]
        Entry(fn),  # type: ignore[arg-type]
        items,
        star=star,
        sizer=Sizer(poster.slots, chunksize, buffersize, length),
        settings=settings or TaskSettings(),
        slots=lambda: poster.slots,
    )
    if feeders is not None:
        feeders.append(feeder)
    feeder.feed(ahead=True)
    return Results(ordered(feeder, deadline) if in_order else unordered(feeder, deadline))


__all__ = ["HandFuture", "HandPoster", "Task", "hand_map"]
