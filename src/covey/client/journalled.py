# SPDX-License-Identifier: BSD-3-Clause
"""A client's requests to its broker's journal: asked again until they are answered, and what the answer says.

May not know: what a job holds. Guarantees: an answer that says no is one of covey's own errors; what was acknowledged
is sent in as few requests as the journal's pace allows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from covey import errors
from covey.journal.words import WORDS, KeptCall, request

if TYPE_CHECKING:
    from concurrent.futures import Future

    from covey.client.client import Client
    from covey.client.exchange import Exchange

__all__ = ["ATTENTIVE", "NEEDS_JOURNAL", "Door", "Receipts", "find_door", "said"]

# The Needs of wire/protocol.
NEEDS_JOURNAL = 8
# A wait is made of pieces of this length: Python may miss a Ctrl-C that comes just before it sleeps.
ATTENTIVE = 0.3
_FAREWELL = 5.0


def said(answer: Future[Any]) -> tuple[Any, ...]:
    """What was answered; raises the error that it names."""
    word, *rest = answer.result()
    kind = getattr(errors, word, None)
    if kind is not None:
        raise kind(*rest)
    return tuple(rest)


class Door:
    """The way to the journal, for one client."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._words = {word: exchange.book.word(word) for word in WORDS}

    def ask(
        self,
        word: str,
        facts: dict[str, Any],
        calls: Iterable[KeptCall] = (),
        buffers: Sequence[Any] = (),
    ) -> Future[Any]:
        """Asks; the future has the answer, for `said`."""
        entry = self._words[word]
        future = self._exchange.post_sealed(entry, request(facts, calls), list(buffers), needs=NEEDS_JOURNAL)
        self._exchange.flush()
        return future

    def ask_until(self, word: str, facts: dict[str, Any]) -> tuple[Any, ...]:
        """Asks, again if the broker was lost too often meanwhile, and waits for the answer."""
        while True:
            try:
                return said(self.ask(word, facts))
            except errors.TaskLost:
                continue

    def take_leave(self, job_id: str, session: str, receipts: Receipts) -> None:
        """Waits a while until the receipts have come and the journal knows that nobody speaks for the job any more. It
        is a courtesy: a broker that is away finds out when somebody resumes the job."""
        deadline = monotonic() + _FAREWELL
        if not receipts.wait(deadline):
            return
        future = self.ask("close", {"job": job_id, "session": session})
        try:
            future.result(max(0.0, deadline - monotonic()))
        except (TimeoutError, errors.CoveyError):
            future.cancel()


def find_door(client: Client, what: str) -> Door:
    """The way to the journal of the client's broker; LinkRefused, with a sentence about `what`, if there is none."""
    machines, file = client.footing.machines, client.footing.file
    if machines is None or not file:
        raise errors.LinkRefused(
            f"{what}: a broker keeps such jobs, and this client has none: start one with `covey broker FILE --journal "
            "DIR`, and name its FILE (where=FILE)"
        )
    client.require_taking()
    machines.wait(lambda: machines.met, 5.0)
    # A broker that is just starting has its journal a moment later.
    if not machines.wait(lambda: machines.journal, 2.0):
        why = "; ".join(machines.missing().values())
        raise errors.LinkRefused(
            f"{what}: the broker of {file} is not there: {why}"
            if why
            else f"{what}: the broker of {file} keeps no journal, so nothing there outlives its client: start it with "
            f"`covey broker {file} --journal DIR`"
        )
    machines.needs_journal = True
    return Door(client)


class Receipts:
    """Indexes whose outcomes were taken, on their way to the journal; one request at a time."""

    def __init__(self, door: Door, job_id: str, floor: Callable[[], int]) -> None:
        self._door = door
        self._job = job_id
        self._floor = floor
        self._changed = threading.Condition(threading.RLock())
        # Of those to be forgotten at all costs, and of the others.
        self._new: dict[bool, set[int]] = {True: set(), False: set()}
        self._asked: tuple[list[list[int]], bool] | None = None

    def add(self, index: int, *, force: bool = False) -> None:
        """This one is not needed any more; `force`: nor that it goes on running."""
        with self._changed:
            self._new[force].add(index)
            self._send()

    def _send(self) -> None:
        force = bool(self._new[True])
        if self._asked is not None or not self._new[force]:
            return
        ranges: list[list[int]] = []
        for index in sorted(self._new[force]):
            if ranges and ranges[-1][1] == index:
                ranges[-1][1] = index + 1
            else:
                ranges.append([index, index + 1])
        self._new[force].clear()
        self._asked = ranges, force
        self._ask()

    def _ask(self) -> None:
        assert self._asked is not None
        ranges, force = self._asked
        facts = {"job": self._job, "ranges": ranges, "force": force, "floor": self._floor()}
        future = self._door.ask("forget", facts)
        future.add_done_callback(self._on_answer)

    def _on_answer(self, future: Future[Any]) -> None:
        with self._changed:
            if not future.cancelled() and isinstance(future.exception(), errors.TaskLost):
                self._ask()
                return
            # An answer that says no is one about a job that is gone: then nobody delivers it again either.
            self._asked = None
            if future.exception() is None:
                self._send()
            self._changed.notify_all()

    def wait(self, deadline: float | None = None) -> bool:
        """Waits until all was answered; False if the deadline came first."""
        with self._changed:
            while self._asked is not None:
                left = ATTENTIVE if deadline is None else min(ATTENTIVE, deadline - monotonic())
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True
