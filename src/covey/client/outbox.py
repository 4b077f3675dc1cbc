# SPDX-License-Identifier: BSD-3-Clause
"""Calls of a detached job on their way into the journal.

    put ──► pending ── learn, once a function ──► ── keep, in batches ──► kept

Why batches that grow: a commit takes milliseconds, whatever is in it. One call goes at once; what is submitted while
it is on its way goes together.

May not know: futures, outcomes. Guarantees: calls are sent in the order in which they came; what the broker's end took
with it is asked again; a call that cannot be kept is refused, by the journal's own sentence.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import TYPE_CHECKING, Any

from covey import errors
from covey.client.journalled import ATTENTIVE, said
from covey.journal.words import KeptCall

if TYPE_CHECKING:
    from covey.client.journalled import Door
    from covey.codec.functions import Function

__all__ = ["Outbox", "Pending"]

# A `keep` has so many calls, or so many bytes of parcels; and so many of them are under way.
_BATCH = 256
_BATCH_BYTES = 1 << 19
_UNDER_WAY = 4
# `wait_room` waits while so much is not kept yet.
_BACKLOG = 1 << 16
_BACKLOG_BYTES = 64 << 20


class Pending:
    """A call that is not kept yet."""

    __slots__ = ("buffers", "entry", "index", "manner", "parcel", "size")

    def __init__(self, index: int, entry: Function, manner: bytes, parcel: bytes, buffers: list[bytes]) -> None:
        self.index = index
        self.entry = entry
        self.manner = manner
        self.parcel = parcel
        self.buffers = buffers
        self.size = len(parcel) + sum(map(len, buffers))


class Outbox:
    """The calls of one job that are not kept yet. `on_refused` is told the indexes of those that never will be."""

    def __init__(self, door: Door, job_id: str, on_refused: Callable[[list[int], BaseException], object]) -> None:
        self._door = door
        self._job = job_id
        self._on_refused = on_refused
        self._changed = threading.Condition(threading.RLock())
        self._next = 0
        self._pending: deque[Pending] = deque()
        self._backlog = 0
        # Each `keep` under way, by its first index.
        self._keeps: dict[int, list[Pending]] = {}
        # What is to be done once such a one is answered.
        self._afterwards: dict[int, list[Callable[[], object]]] = {}
        # Functions that the journal has (True), or was sent.
        self._learned: dict[bytes, bool] = {}
        self._refused: BaseException | None = None
        self._over = False
        # The thread that is told of answers, which must not wait for them.
        self._attendant = 0

    def put(self, call: Pending) -> None:
        """Sends the call, or has it sent with the next ones; their indexes count up."""
        with self._changed:
            self._next = call.index + 1
            self._pending.append(call)
            self._backlog += call.size
            self._pump()

    def wait_room(self) -> None:
        """Waits while too much waits here."""
        if threading.get_ident() == self._attendant:
            return
        with self._changed:
            while (len(self._pending) > _BACKLOG or self._backlog > _BACKLOG_BYTES) and not self._over:
                self._changed.wait(ATTENTIVE)

    def take_out(self, index: int, then: Callable[[], object]) -> None:
        """The call of this index is not wanted. If it was sent, `then` is called as soon as it is kept: a request to
        forget that overtakes the one to keep would change nothing."""
        with self._changed:
            found = next((call for call in self._pending if call.index == index), None)
            if found is not None:
                self._drop([found])
                self._changed.notify_all()
                return
            keep = next((first for first, calls in self._keeps.items() if first <= index <= calls[-1].index), None)
            if keep is not None:
                self._afterwards.setdefault(keep, []).append(then)
                return
        then()

    def floor(self) -> int:
        """The first index that the journal was not seen to keep."""
        with self._changed:
            waiting = [self._pending[0].index] if self._pending else []
            return min([*self._keeps, *waiting], default=self._next)

    def flush(self, timeout: float | None) -> None:
        """Waits until nothing is left here; raises why something was refused since the last time."""
        deadline = None if timeout is None else monotonic() + timeout
        with self._changed:
            while (self._pending or self._keeps) and not self._over:
                left = ATTENTIVE if deadline is None else min(ATTENTIVE, deadline - monotonic())
                if left <= 0:
                    raise TimeoutError(f"the job {self._job} is not kept yet: its broker is away, or its disk is slow")
                self._changed.wait(left)
            refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    def end(self) -> None:
        """Nothing more is sent."""
        with self._changed:
            self._over = True
            self._pending.clear()
            self._changed.notify_all()

    # From here on: under the lock.

    def _drop(self, calls: list[Pending]) -> None:
        gone = {call.index for call in calls}
        self._pending = deque(call for call in self._pending if call.index not in gone)
        self._backlog -= sum(call.size for call in calls)

    def _pump(self) -> None:
        while self._pending and len(self._keeps) < _UNDER_WAY and not self._over:
            if self._keeps and len(self._pending) < _BATCH and self._backlog < _BATCH_BYTES:
                return
            batch = self._next_batch()
            if not batch:
                return
            self._keeps[batch[0].index] = batch
            self._keep(batch)

    def _next_batch(self) -> list[Pending]:
        batch: list[Pending] = []
        size = 0
        while self._pending and len(batch) < _BATCH and size < _BATCH_BYTES:
            call = self._pending[0]
            if not self._learned.get(call.entry.digest):
                if call.entry.digest not in self._learned:
                    self._learn(call.entry)
                break
            if call.buffers and batch:
                break
            batch.append(self._pending.popleft())
            self._backlog -= call.size
            size += call.size
            if call.buffers:
                break
        return batch

    def _learn(self, entry: Function) -> None:
        self._learned[entry.digest] = False
        facts = {"job": self._job, "digest": entry.digest.hex()}
        future = self._door.ask("learn", facts, (), [entry.body, *entry.buffers])
        future.add_done_callback(lambda answer: self._on_learned(entry, answer))

    def _keep(self, batch: list[Pending]) -> None:
        digests: dict[bytes, int] = {}
        manners: dict[bytes, int] = {}
        calls = [
            KeptCall(call.index, digests.setdefault(call.entry.digest, len(digests)),
                     manners.setdefault(call.manner, len(manners)), call.parcel)
            for call in batch
        ]
        facts = {"job": self._job, "floor": self.floor(), "digests": [digest.hex() for digest in digests],
                 "manners": [manner.hex() for manner in manners]}
        future = self._door.ask("keep", facts, calls, batch[0].buffers)
        future.add_done_callback(lambda answer: self._on_kept(batch, answer))

    # In the thread that is told of answers.

    def _on_learned(self, entry: Function, answer: Future[Any]) -> None:
        lost: list[Pending] = []
        with self._changed:
            why = self._hear(answer)
            if isinstance(why, errors.TaskLost):
                self._learn(entry)
                return
            if why is None:
                self._learned[entry.digest] = True
            else:
                del self._learned[entry.digest]
                lost = [call for call in self._pending if call.entry is entry]
                self._drop(lost)
        self._go_on(lost, why)

    def _on_kept(self, batch: list[Pending], answer: Future[Any]) -> None:
        with self._changed:
            why = self._hear(answer)
            if isinstance(why, errors.TaskLost):
                self._keep(batch)
                return
            del self._keeps[batch[0].index]
            afterwards = self._afterwards.pop(batch[0].index, [])
        for then in afterwards if why is None else ():
            then()
        self._go_on([] if why is None else batch, why)

    def _hear(self, answer: Future[Any]) -> BaseException | None:
        self._attendant = threading.get_ident()
        try:
            said(answer)
        except BaseException as error:
            return error
        return None

    def _go_on(self, lost: list[Pending], why: BaseException | None) -> None:
        if why is not None:
            self._on_refused([call.index for call in lost], why)
        with self._changed:
            self._refused = self._refused or why
            self._pump()
            self._changed.notify_all()
