# SPDX-License-Identifier: BSD-3-Clause
"""The calls of one job on their way: out of the store to the broker's loop, as an ordinary asker, and outcomes back.

Why an asker for each job: the loop is fair between askers, and so it is between jobs, and between them and clients
that are here.

Why calls have names that are made of job and index: what an earlier broker has given out may still run, or be done and
wait for somebody who asks; a call that is sent again is found by its name.

May not know: how outcomes are kept. Guarantees: so much is under way at once and no more, whatever the job has; a call
is under way once; when the loop has forgotten us, all of it is sent again, but for calls that must not begin twice: of
these no more than there are places for is given out, it is written down before, and what is lost ends as MAYBE_RAN.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import zmq

from covey.errors import JournalFull
from covey.journal.mailbox import NAMES, Mailbox
from covey.journal.store import Call, Outcome, Store
from covey.wire.protocol import check
from covey.wire.records import cancel, credit, function, read_outcomes, task

__all__ = ["MOST_BYTES", "Courier", "maybe_ran"]

MOST_BYTES = 32 << 20
_CANCELLED, _MAYBE_RAN = 3, 9
_NAMES = 1 << 64
_MOST = 2048
_BATCH = 256


def maybe_ran(index: int, why: str) -> Outcome:
    """What becomes of a call that must not begin twice, and may have begun."""
    return Outcome(index, _MAYBE_RAN, 1, 0, [why.encode()])


class Courier:
    """Has an open link for as long as calls of its job are queued.

    `inherited`: so many of them are older than this broker.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, job: int, job_id: str, inherited: int = 0
    ) -> None:
        self._job = job
        self._base = int.from_bytes(blake2b(job_id.encode(), digest_size=8).digest(), "little")
        # Calls are given out in their order, so what an earlier broker may have given out are the first ones.
        self._inherited = inherited
        self._maybe_begun = _MOST
        self._box = Mailbox(context, address, f"job {job_id}")
        self._welcome = False
        self._most, self._most_bytes = _MOST, MOST_BYTES
        self._credit_bytes = MOST_BYTES
        self._numbers: dict[bytes, int] = {}
        # Index of what is under way → its bytes; and how far each priority has been sent.
        self._away: dict[int, int] = {}
        self._bytes = 0
        self._sent: dict[int, int] = {}
        # Of what is under way, what must not begin twice.
        self._once: set[int] = set()
        # Not in their turn: ended by others without an outcome, or kept after those behind them were sent.
        self._again: list[int] = []

    @property
    def socket(self) -> zmq.Socket[bytes]:
        return self._box.socket

    @property
    def bytes(self) -> int:
        """Of what is under way."""
        return self._bytes

    def feed(self, store: Store, places: int, most_bytes: int) -> None:
        """Sends what may be sent now. `places`: that are there for calls which must not begin twice; `most_bytes`:
        that may be under way; one call always may."""
        if not self._welcome:
            return
        self._most_bytes = min(self._credit_bytes, most_bytes)
        if len(self._once) < places:
            self._feed_once(store, places)
        if self._room() < _BATCH and self._away:
            return
        while self._again and self._room() > 0:
            found = list(store.find_queued(self._job, self._again[-1]))
            calls = self._fitting(found)
            if found and not calls:
                break
            self._again.pop()
            self._post(store, calls)
        for priority in store.priorities():
            while self._room() > 0:
                wanted = min(self._room(), _BATCH)
                if self._send(store, priority, wanted) < wanted:
                    break

    def expect(self, kept: Iterable[tuple[int, int]]) -> None:
        """Calls were kept: index and priority of each. One `keep` may overtake another, and these come late then."""
        self._again += [index for index, priority in kept if index <= self._sent.get(priority, -1)]

    def _room(self) -> int:
        return self._most - len(self._away) if self._bytes < self._most_bytes or not self._away else 0

    def _send(self, store: Store, priority: int, most: int) -> int:
        calls = self._fitting(store.queued(self._job, priority, self._sent.get(priority, -1), most))
        self._post(store, calls)
        if calls:
            self._sent[priority] = calls[-1].index
        return len(calls)

    def _feed_once(self, store: Store, places: int) -> None:
        for priority in store.priorities(once=True):
            most = min(places - len(self._once), self._room())
            calls = self._fitting(store.queued(self._job, priority, -1, most, once=True)) if most > 0 else []
            if not calls:
                continue
            try:
                with store.writing():
                    store.give_out(self._job, [call.index for call in calls])
            except JournalFull:
                # They wait until it can be noted that they begin.
                return
            self._once.update(call.index for call in calls)
            self._post(store, calls)

    def _fitting(self, calls: Iterable[Call]) -> list[Call]:
        """The first of them, for as long as there is room."""
        found: list[Call] = []
        size = self._bytes
        for call in calls:
            size += sum(map(len, call.frames))
            if (self._away or found) and size > self._most_bytes:
                break
            found.append(call)
        return found

    def _post(self, store: Store, calls: Iterable[Call]) -> None:
        records = []
        for call in calls:
            size = sum(map(len, call.frames))
            self._away[call.index] = size
            self._bytes += size
            number = self._numbers.get(call.digest)
            if number is None:
                number = self._numbers[call.digest] = len(self._numbers) + 1
                body, *buffers = store.body(call.digest)
                self._box.send("FUNCTION", function(number, call.digest, body), buffers)
            record = task(
                call.manner, call.index + 1, number, call.frames[0],
                name=(self._base + call.index) % _NAMES or 1, attempts=self._given_out_before(call.index))
            if len(call.frames) > 1:
                self._box.send("TASKS", record, call.frames[1:])
            else:
                records.append(record)
        self._box.send_all("TASKS", records)

    def _given_out_before(self, index: int) -> int:
        """How often at most: a broker that follows another one waits with such calls for nodes that have them."""
        if index >= self._inherited or self._maybe_begun == 0:
            return 0
        self._maybe_begun -= 1
        return 1

    def receive(self) -> list[Outcome]:
        """Outcomes that have come."""
        found: list[Outcome] = []
        refused = False
        for head, *frames in self._box.receive():
            kind = NAMES.get(check(head, len(frames)))
            if kind == "OUTCOMES":
                for ticket, status, attempt, run_us, payload in read_outcomes(head):
                    self._take(found, Outcome(ticket - 1, status, attempt, run_us, [payload, *frames]))
            elif kind == "WELCOME":
                tasks, size = credit(head)
                self._most, self._credit_bytes = min(_MOST, tasks), size
                self._welcome = True
            refused = refused or kind == "REFUSE"
        if refused:
            found += [maybe_ran(index, "its broker has lost count of it") for index in sorted(self._once)]
            self._begin_again()
        return found

    def _take(self, found: list[Outcome], outcome: Outcome) -> None:
        size = self._away.pop(outcome.index, None)
        # What we have cancelled is none of ours any more.
        if size is None:
            return
        self._bytes -= size
        once = outcome.index in self._once
        self._once.discard(outcome.index)
        if outcome.status != _CANCELLED:
            found.append(outcome)
        elif once:
            found.append(maybe_ran(outcome.index, "it was cancelled at its broker"))
        else:
            self._again.append(outcome.index)

    def _begin_again(self) -> None:
        self._welcome = False
        self._numbers.clear()
        self._away.clear()
        self._sent.clear()
        self._once.clear()
        self._again.clear()
        self._bytes = 0
        self._box.begin_again()

    def cancel(self, ranges: Sequence[tuple[int, int]], force: bool) -> None:
        """These are not wanted any more; `force`: nor that they go on running."""
        gone = [index for index in self._away if any(first <= index < last for first, last in ranges)]
        for index in gone:
            self._bytes -= self._away.pop(index)
            self._once.discard(index)
        self._box.send_all("CANCEL", [cancel(index + 1, force) for index in gone])

    def close(self) -> None:
        """What is under way is not wanted any more."""
        self._box.close()
