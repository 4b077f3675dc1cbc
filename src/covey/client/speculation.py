# SPDX-License-Identifier: BSD-3-Clause
"""`options(speculate=True)`: a call that is far slower than its siblings is begun again, and the first outcome wins.

    Speculator ── post ──► the first attempt, whose future is the caller's
    STARTED, outcomes ──► Speculation ── look ── stragglers.choose ──► another attempt
    its outcome ── take_over ──► the caller's future;   the other attempt is ended by force

Why the caller's future is that of the first attempt: it is cancelled, waited for and listed as any other, and a call
that needs no second attempt, which is nearly all of them, costs a callback.

May not know: sockets, slots, how a straggler is told. Guarantees: a call has one outcome, and one further attempt at
most; that attempt goes behind all else that the client asks for; an error of covey's own in it is nobody's outcome. The
client is not kept alive by what is watched, and there is a thread only while something that runs may be begun again.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Hashable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from covey.client.line import take_over
from covey.client.options import MOST_PRIORITY, TaskSettings
from covey.client.stragglers import LEAST_SECONDS, Running, Siblings, choose
from covey.codec.functions import callable_name
from covey.codec.parcel import ARGS, CALL, ITEMS, STAR
from covey.codec.values import seal
from covey.errors import CoveyError, ParcelTooLarge

if TYPE_CHECKING:
    from covey.client.client import Client
    from covey.client.futures import Future
    from covey.codec.functions import Function
    from covey.codec.retriable import Retriable

__all__ = ["Speculation", "Speculator"]

# Of so many functions it is remembered what their calls took; those whose calls ended last.
_FUNCTIONS = 256


def _spawn(target: Callable[[], None]) -> None:
    threading.Thread(target=target, name="covey-speculation", daemon=True).start()


class _Call:
    """A call under way, and all that it takes to ask for it again: its arguments as they were."""

    __slots__ = ("again", "buffers", "entry", "extra", "kin", "parcel", "riders", "settings", "since", "size")

    def __init__(
        self, kin: Hashable, entry: Function, parcel: bytes, buffers: list[Any], settings: TaskSettings,
        riders: dict[str, Any], size: int,
    ) -> None:
        self.kin = kin
        self.entry = entry
        self.parcel = parcel
        self.buffers = buffers
        self.settings = settings
        self.riders = riders
        self.size = size
        # When its slot was last heard to run it; None: not yet.
        self.since: float | None = None
        # Whether it was begun again, or that was tried in vain.
        self.again = False
        self.extra: Future[Any] | None = None


class Speculation:
    """The calls of one client that may be begun twice.

    `begun` counts further attempts, `won` those whose outcome counted. `clock` tells seconds, `spawn` runs a function
    in a thread of its own.
    """

    def __init__(
        self, client: Client, clock: Callable[[], float] = monotonic,
        spawn: Callable[[Callable[[], None]], object] = _spawn,
    ) -> None:
        self._client = weakref.ref(client)
        self._clock = clock
        self._spawn = spawn
        self._calls: dict[Future[Any], _Call] = {}
        self._finished: dict[Hashable, Siblings] = {}
        # Reentrant: a future that is done already calls back at once, in the thread that asks to be called.
        self._changed = threading.Condition(threading.RLock())
        self._attended = False
        self._look_at = math.inf
        self.begun = 0
        self.won = 0
        client.hear_starts(self.on_started)

    def watch(self, future: Future[Any], call: _Call) -> None:
        """From now on this call may be begun again."""
        with self._changed:
            self._calls[future] = call
            if future.running():
                # It was said before we were told of the future.
                self.on_started(future)
        future.add_done_callback(self._on_done)

    def on_started(self, future: Future[Any]) -> None:
        """A slot runs the task of this future; again, if the one before died."""
        with self._changed:
            call = self._calls.get(future)
            if call is not None and not call.again:
                call.since = self._clock()
                self._look_soon()

    def look(self) -> bool:
        """Begins again what is worth it. False: there is nothing left that could be, and nobody need look."""
        with self._changed:
            client = self._client()
            running: dict[Future[Any], Running] = {}
            slots: dict[TaskSettings, int] = {}
            for future, call in self._calls.items():
                if client is not None and call.since is not None and not call.again:
                    if call.settings not in slots:
                        slots[call.settings] = client.slots_for(call.settings)
                    running[future] = Running(call.kin, call.since, slots[call.settings], call.size)
            if client is None or not running:
                self._attended = False
                self._look_at = math.inf
                return False
            verdict = choose(running, self._finished, client.unfinished, self._clock())
            self._look_at = verdict.look_at
            for future in verdict.again:
                self._begin_again(client, future, self._calls[future])
        return True

    def _look_soon(self) -> None:
        # Nothing is overdue sooner than this after it began: a thousand short calls a second are looked at ten times.
        at = self._clock() + LEAST_SECONDS
        if not self._attended:
            self._attended = True
            self._look_at = at
            self._spawn(self._attend)
        elif at < self._look_at:
            self._look_at = at
            self._changed.notify_all()

    def _attend(self) -> None:
        with self._changed:
            while True:
                left = self._look_at - self._clock()
                if left > 0:
                    self._changed.wait(min(left, threading.TIMEOUT_MAX))
                elif not self.look():
                    return

    def _begin_again(self, client: Client, future: Future[Any], call: _Call) -> None:
        call.again = True
        riders = {**call.riders, "priority": -MOST_PRIORITY}
        try:
            extra = client.post_sealed(call.entry, call.parcel, call.buffers, **riders)
        except Exception:
            # The client is at its end, or memory is: the first attempt goes on, and says so if it must.
            return
        call.parcel, call.buffers = b"", []
        call.extra = extra
        self.begun += 1
        extra.add_done_callback(partial(self._on_extra, future))
        client.flush()

    def _on_extra(self, future: Future[Any], extra: Any) -> None:
        if extra.cancelled() or isinstance(extra.exception(), CoveyError):
            return
        # Counted first: the future's waiters may look at once. In one thread, that which sets futures.
        self.won += 1
        if not take_over(future, extra):
            self.won -= 1

    def _on_done(self, future: Any) -> None:
        with self._changed:
            call = self._calls.pop(future)
            if not future.cancelled() and future.exception() is None:
                # The last one to finish is the last one to be forgotten.
                siblings = self._finished.pop(call.kin, None) or Siblings()
                self._finished[call.kin] = siblings
                siblings.on_done((future.run_seconds or 0.0) / call.size)
                if len(self._finished) > _FUNCTIONS:
                    del self._finished[next(iter(self._finished))]
            if self._attended:
                self._look_soon()
        if call.extra is not None:
            call.extra.cancel(force=True)


class Speculator:
    """A client as a map or a view of options sees it whose calls may be begun twice. It keeps the client alive."""

    __slots__ = ("_client", "_settings", "_speculation")

    def __init__(self, client: Client, speculation: Speculation, settings: TaskSettings) -> None:
        self._client = client
        self._speculation = speculation
        self._settings = settings

    @property
    def slots(self) -> int:
        """As the client's."""
        return self._client.slots

    def flush(self) -> None:
        """As the client's."""
        self._client.flush()

    def require_taking(self) -> None:
        """As the client's."""
        self._client.require_taking()

    def send(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], **riders: Any
    ) -> Future[Any]:
        """As the client's, with what rides beside the call."""
        book = self._client.book
        entry = book.find(fn)
        kin: Hashable = entry.digest
        if entry is book.caller:
            # It stands for all callables that have a state of their own.
            kin, args = callable_name(fn), (fn, *args)
        form, obj = (CALL, (args, kwargs)) if kwargs else (ARGS, args)
        return self._post(kin, entry, form, obj, 1, **riders)

    def post(self, entry: Function, form: int, obj: Any, **riders: Any) -> Future[Any]:
        """As the client's: one task, which may be a bundle of a map."""
        return self._post(entry.digest, entry, form, obj, len(obj) if form in (ITEMS, STAR) else 1, **riders)

    def _post(
        self, kin: Hashable, entry: Function, form: int, obj: object, size: int, *, retry_on: Retriable | None = None,
        **riders: Any,
    ) -> Future[Any]:
        client = self._client
        references: set[str] | None = set() if client.book.shipping else None
        parcel, views = seal(form, obj, entry.name, references)
        buffers: list[Any] = list(views)
        if retry_on is not None:
            parcel = retry_on.ahead + parcel
            if references is not None:
                references |= retry_on.references
        if references:
            entry = client.book.equip(entry, references)
        weight = len(parcel) + sum(memoryview(buffer).nbytes for buffer in buffers)
        if weight > client.parcel_limit:
            raise ParcelTooLarge(f"the call of {entry.name}", weight, client.parcel_limit)
        future = client.post_sealed(entry, parcel, buffers, **riders)
        self._speculation.watch(future, _Call(kin, entry, parcel, buffers, self._settings, riders, size))
        client.wait_room()
        return future
