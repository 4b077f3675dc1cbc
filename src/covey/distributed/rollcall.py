# SPDX-License-Identifier: BSD-3-Clause
"""One call per slot, each slot exactly once.

Why: the broker gives a task to whichever slot is free, so `slots` tasks might all run in the fastest one.
Here each of them first writes to its caller that it is there, and waits; when as many wait as there are slots,
every slot has one, and all are told to go.

May not know: the function; machines. Guarantees: two roll calls over one flock follow each other (else each would hold
slots that the other waits for), and over machines, where nobody sees them both, one gives way after a while of no
progress and comes again; a task that runs again after a death does not wait; when the call is given up or its caller
dies, waiting tasks end with an error at once.
"""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from covey import slot
from covey.client.futures import Partial
from covey.codec.parcel import ITEMS

if TYPE_CHECKING:
    from covey.client.client import Client
    from covey.client.futures import Future
    from covey.client.options import TaskSettings

__all__ = ["RollCalled", "call_every_slot"]

HERE = b"here"
GO = b"go"
GIVE_WAY = b"give way"
GIVEN_UP = b"given up"

# The TaskFlag of wire/protocol: it waits for our notes, and should not outlive our link.
ATTENDED = 4
# So long nobody need turn up before a roll call gives way for the first time; twice as long the next, up to the last.
FIRST_PATIENCE = 0.5
LAST_PATIENCE = 30.0
# How often the caller looks whether a machine has left.
HEED = 0.3


class RollCalled:
    """A call that first waits until every slot has one. Its value in a tuple; an empty one if it gave way."""

    __slots__ = ("func",)

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self.func = call

    def __call__(self, x: Any) -> tuple[Any, ...]:
        runner = slot.running
        assert runner is not None
        runner.write(HERE)
        told = runner.hear()
        if told == GIVE_WAY:
            return ()
        if told != GO:
            raise RuntimeError("the call for every slot was given up by its caller")
        return (self.func(x),)


def call_every_slot(
    client: Client, call: Callable[[Any], Any], settings: TaskSettings, dice: random.Random | None = None
) -> list[Any]:
    """`call(None)` once in every slot of the flock; the results, in no particular order of slots."""
    dice = dice or random.Random()
    patience = FIRST_PATIENCE
    roll_called = RollCalled(call)
    while True:
        with _alone(client.folder):
            roll = _Roll(client, roll_called, settings)
            results = roll.call(None if client.sees_all_callers else patience * dice.uniform(0.5, 1.5))
        if results is not None:
            return results
        sleep(patience * dice.random())
        patience = min(2 * patience, LAST_PATIENCE)


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    # flock() belongs to the open file, so it keeps threads apart as well as processes
    lock = os.open(os.path.join(folder, "roll.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class _Roll:
    """The caller's end: counts who is there, and lets them go."""

    def __init__(self, client: Client, roll_called: RollCalled, settings: TaskSettings) -> None:
        self._client = client
        self._settings = settings
        self._entry = client.book.seal_now(roll_called)
        self._news: SimpleQueue[int | None] = SimpleQueue()
        self._futures: list[Future[Any]] = []
        self._here: set[int] = set()
        # What everybody who waits is told, and whoever comes later at once.
        self._word: bytes | None = None

    def call(self, patience: float | None) -> list[Any] | None:
        """The results; None if it gave way, because nobody turned up within `patience` seconds."""
        client = self._client
        self._futures = futures = [
            client.post(self._entry, ITEMS, [None], needs=self._settings.needs, flags=ATTENDED)
            for _ in range(client.slots_for(self._settings))
        ]
        try:
            for number, future in enumerate(futures):
                client.listen(future, self._hearer(number))
                future.add_done_callback(lambda _: self._news.put(None))
            client.flush()
            if not self._serve(patience):
                return None
            return [_single(future)[0] for future in futures]
        finally:
            # Whoever is done does not hear it.
            self._tell(self._word or GIVEN_UP)
            for future in futures:
                future.cancel()

    def _serve(self, patience: float | None) -> bool:
        """Until all are done, or one has failed; False if it gave way."""
        futures = self._futures
        latest = monotonic()
        while not all(future.done() for future in futures):
            if any(_failed(future) for future in futures):
                return True
            try:
                number = self._news.get(timeout=HEED)
            except Empty:
                number = None
            if number is not None:
                latest = monotonic()
                self._here.add(number)
            if self._word is not None:
                continue
            if len(self._here) >= min(len(futures), self._client.slots_for(self._settings)):
                self._tell(GO)
            elif self._here and patience is not None and monotonic() > latest + patience:
                self._tell(GIVE_WAY)
                return False
        return True

    def _hearer(self, number: int) -> Callable[[bytes], None]:
        def hear(_: bytes) -> None:
            self._news.put(number)
            if self._word is not None:
                self._client.write(self._futures[number], self._word)

        return hear

    def _tell(self, word: bytes) -> None:
        # First the word, so that nobody falls between: who is told twice is told the same.
        self._word = word
        while not self._news.empty():
            number = self._news.get()
            if number is not None:
                self._here.add(number)
        for number in self._here:
            self._client.write(self._futures[number], word)


def _single(future: Future[Any]) -> Any:
    value = future.result()
    if isinstance(value, Partial):
        raise value.error
    return value[0]


def _failed(future: Future[Any]) -> bool:
    return future.done() and (
        future.cancelled() or future.exception() is not None or isinstance(future.result(), Partial)
    )
