# SPDX-License-Identifier: BSD-3-Clause
"""A detached job: calls that the broker's journal keeps, so that they outlive this program.

    submit ── seal ──► Outbox ──► journal: kept                    then nothing here is needed any more
    future ◄── settle ◄── fetch ◄── journal: finished              while this program lives
    result() ── Receipts ──► journal: forgotten                    what nobody took waits for `resume`

Why a future acknowledges when it is asked and not when it is set: a program that submits and ends has seen no result,
though some may have come to it.

May not know: sockets, tables. Guarantees: what `flush` has waited for is on the broker's disk; a future is set once, as
soon as its outcome is kept; a call that the journal refuses raises why, in its future and in `flush`.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future as StandardFuture
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from covey import errors
from covey import settings as settings_module
from covey.client.delivery import JobFuture, as_they_come
from covey.client.delivery import in_order as ordered
from covey.client.futures import make_future
from covey.client.journalled import Door, Receipts, find_door, said
from covey.client.line import settle
from covey.client.mapping import zipped
from covey.client.options import ONCE, Options, TaskSettings, require_attached
from covey.client.outbox import Outbox, Pending
from covey.client.progress import maybe_progress
from covey.client.results import Results
from covey.codec.functions import FunctionBook, callable_name
from covey.codec.parcel import ARGS, CALL
from covey.codec.values import seal
from covey.wire.records import manner

if TYPE_CHECKING:
    from types import TracebackType

    from covey.client.client import Client

__all__ = ["Job", "open_job"]


def open_job(client: Client, settings: TaskSettings, detached: object) -> Job:
    """A new job at the journal of the client's broker; LinkRefused if that keeps none."""
    if detached is not True:
        raise ValueError(f"detached is True or False, not {detached!r}")
    require_attached(settings)
    door = find_door(client, "options(detached=True)")
    known = settings_module.read()
    # Of its own: the client's has no body of a function any more once that was sent. And slots may be anywhere.
    book = FunctionBook(ship=True, ship_limit=known.ship_limit)
    if client.footing.setup is not None:
        book.bring(client.footing.setup)
    return Job(client, door, settings, book, known.parcel_limit)


class Job(Options):
    """Calls that outlive this program; what `client.options(detached=True)` returns.

    `job_id` is what `covey.resume` needs to collect the results elsewhere, or later.

    >>> with covey.Client("lab.json") as client:                # doctest: +SKIP
    ...     job = client.options(detached=True)
    ...     futures = [job.submit(pow, 2, n) for n in range(1000)]
    ...     job.flush()
    ...     print(job.job_id)
    """

    __slots__ = (
        "__weakref__",
        "_book",
        "_closed",
        "_count",
        "_door",
        "_fetching",
        "_futures",
        "_life",
        "_lock",
        "_outbox",
        "_owner",
        "_parcel_limit",
        "_receipts",
        "_serial",
        "_session",
        "job_id",
    )

    def __init__(
        self, owner: Client, door: Door, settings: TaskSettings, book: FunctionBook, parcel_limit: int
    ) -> None:
        super().__init__(self, settings)
        self.job_id = secrets.token_urlsafe(12)
        self._owner = owner
        self._session = secrets.token_urlsafe(12)
        self._book = book
        self._parcel_limit = parcel_limit
        self._door = door
        self._outbox = Outbox(door, self.job_id, self._on_refused)
        self._receipts = Receipts(door, self.job_id, self._outbox.floor)
        self._lock = threading.RLock()
        self._count = 0
        self._futures: dict[int, JobFuture] = {}
        # How far outcomes were fetched, of which life of the journal.
        self._life, self._serial = "", 0
        self._fetching: StandardFuture[Any] | None = None
        self._closed = False
        owner.footing.jobs.add(self)
        door.ask_until("open", {"job": self.job_id, "session": self._session})

    # What a view of options needs of a client: `job.options(priority=1)` is one of this job.

    def count_gpus(self) -> int:
        """As the client's."""
        return self._owner.count_gpus()

    @property
    def gpus_may_come(self) -> bool:
        """As the client's."""
        return self._owner.gpus_may_come

    def submit_with(
        self, settings: TaskSettings, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> JobFuture:
        """One call with settings."""
        self._owner.require_taking()
        if self._closed:
            raise errors.ClientClosed(f"the job {self.job_id} was closed and takes no calls; open another one")
        entry = self._book.find(fn)
        if entry is self._book.caller:
            args = (fn, *args)
        references: set[str] = set()
        form, obj = (CALL, (args, kwargs)) if kwargs else (ARGS, args)
        parcel, buffers = seal(form, obj, entry.name, references)
        if settings.retry_on is not None:
            parcel = settings.retry_on.ahead + parcel
            references |= settings.retry_on.references
        if references:
            entry = self._book.equip(entry, references)
        how = manner(
            priority=settings.priority, needs=settings.needs, flags=ONCE if settings.once else 0,
            retries=settings.retries, share=settings.share,
            timeout_ms=0 if settings.timeout is None else max(1, int(settings.timeout * 1000)),
            retry_wait_ms=math.ceil(settings.retry_wait * 1000))
        copies = [bytes(buffer) for buffer in buffers]
        with self._lock:
            call = Pending(self._count, entry, how, parcel, copies)
            if call.size > self._parcel_limit:
                raise errors.ParcelTooLarge(f"the call of {entry.name}", call.size, self._parcel_limit)
            future = make_future(JobFuture, self, entry, call.index)
            future.index, future.receipt = call.index, self._on_taken
            self._futures[call.index] = future
            self._count += 1
            self._outbox.put(call)
            self._fetch()
        self._outbox.wait_room()
        return future

    def map_with(
        self,
        settings: TaskSettings,
        fn: Callable[..., Any],
        iterables: Sequence[Iterable[Any]],
        *,
        timeout: float | None,
        chunksize: int | None,
        buffersize: int | None,
        progress: bool | None,
        in_order: bool,
    ) -> Results[Any]:
        """A map with settings: all items are taken now, because what is not kept cannot outlive this program."""
        if chunksize is not None or buffersize is not None:
            raise ValueError("a detached map takes all of its items at once and sends each alone: leave chunksize and "
                             "buffersize out")
        deadline = None if timeout is None else monotonic() + timeout
        items, star, length = zipped(fn, iterables)
        bar = maybe_progress(progress, length, callable_name(fn))
        futures = [self.submit_with(settings, fn, item if star else (item,), {}) for item in items]
        return Results((ordered if in_order else as_they_come)(futures, deadline, bar))

    def flush(self, timeout: float | None = None) -> None:
        """Waits until all that was submitted is kept: from then on it outlives this program, whatever ends that.

        Raises JournalFull if some of it could not be kept, and TimeoutError if that takes longer than so many seconds.
        """
        self._outbox.flush(timeout)

    def close(self) -> None:
        """Waits until all is kept, and lets go of the job: it goes on at the broker, and `covey.resume` collects what
        was not asked for here. Futures that are not done raise ClientClosed. May be called again."""
        self.let_go()

    def let_go(self) -> None:
        """As `close`; what a client asks of its jobs."""
        if self._closed:
            return
        try:
            self.flush()
            self._door.take_leave(self.job_id, self._session, self._receipts)
        finally:
            self._end(errors.ClientClosed(
                f"this call goes on at the broker: covey.resume({self.job_id!r}) has its result"))

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            self.close()

    def __repr__(self) -> str:
        return f"<covey job {self.job_id}, {self._count} calls{', closed' if self._closed else ''}>"

    # What a future needs of an exchange, `flush` aside, which does for it: it sends what is batched.

    def _give_way(self) -> None:
        self._owner.flush()

    def _withdraw(self, future: JobFuture, force: bool) -> None:
        with self._lock:
            self._futures.pop(future.index, None)
        self._outbox.take_out(future.index, partial(self._receipts.add, future.index, force=force))

    def _on_taken(self, future: JobFuture) -> None:
        """The future was asked for its outcome; if it had one, the journal need not keep it."""
        if future.index >= 0 and future.done() and not self._closed:
            self._receipts.add(future.index)
            future.index = -1

    # In the thread that is told of answers.

    def _on_refused(self, indexes: list[int], why: BaseException) -> None:
        with self._lock:
            futures = [self._futures.pop(index, None) for index in indexes]
        for future in futures:
            _fail(future, why)

    def _fetch(self) -> None:
        if self._fetching is None and self._futures and not self._closed:
            facts = {"job": self.job_id, "session": self._session, "life": self._life, "after": self._serial}
            self._fetching = self._door.ask("fetch", facts)
            self._fetching.add_done_callback(self._on_fetched)

    def _on_fetched(self, answer: StandardFuture[Any]) -> None:
        if answer.cancelled():
            return
        try:
            rows, life = said(answer)
        except errors.TaskLost:
            rows, life = [], self._life
        except BaseException as error:
            self._end(error)
            return
        found = []
        with self._lock:
            if life != self._life:
                self._life, self._serial = life, 0
            for index, serial, *outcome in rows:
                self._serial = max(self._serial, serial)
                found.append((self._futures.pop(index, None), outcome))
        for future, outcome in found:
            if future is not None:
                settle(future, *outcome)
        with self._lock:
            self._fetching = None
            self._fetch()

    def _end(self, error: BaseException) -> None:
        self._outbox.end()
        with self._lock:
            self._closed = True
            futures = list(self._futures.values())
            self._futures.clear()
            fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.cancel()
        for future in futures:
            _fail(future, error)


def _fail(future: JobFuture | None, error: BaseException) -> None:
    if future is not None and not future.done():
        # There is nothing to give a receipt for.
        future.index = -1
        future.set_exception(error)
