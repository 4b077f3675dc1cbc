# SPDX-License-Identifier: BSD-3-Clause
"""The calls of one job on their way: out of the store to the broker's loop, as an ordinary asker, and outcomes back.

Why an asker for each job: the loop is fair between askers, and so it is between jobs, and between them and clients
that are here.

May not know: how outcomes are kept. Guarantees: so much is under way at once and no more, whatever the job has; a call
is under way once; when the loop has forgotten us, all of it is sent again.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import zmq

from covey.journal.mailbox import NAMES, Mailbox
from covey.journal.store import Call, Outcome, Store
from covey.wire.protocol import check
from covey.wire.records import cancel, credit, function, read_outcomes, task

__all__ = ["Courier"]

_CANCELLED = 3
_MOST = 2048
_MOST_BYTES = 32 << 20
_BATCH = 256


class Courier:
    """Has an open link for as long as calls of its job are queued."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, job: int, name: str) -> None:
        self._job = job
        self._box = Mailbox(context, address, name)
        self._welcome = False
        self._most, self._most_bytes = _MOST, _MOST_BYTES
        self._numbers: dict[bytes, int] = {}
        # Index of what is under way → its bytes; and how far each priority has been sent.
        self._away: dict[int, int] = {}
        self._bytes = 0
        self._sent: dict[int, int] = {}
        # Ended by others without an outcome; once more.
        self._again: list[int] = []

    @property
    def socket(self) -> zmq.Socket[bytes]:
        return self._box.socket

    def feed(self, store: Store) -> None:
        """Sends what may be sent now."""
        if not self._welcome or (self._room() < _BATCH and self._away):
            return
        while self._again and self._room() > 0:
            self._post(store, store.find_queued(self._job, self._again.pop()))
        for priority in store.priorities(self._job):
            while self._room() > 0:
                wanted = min(self._room(), _BATCH)
                if self._send(store, priority, wanted) < wanted:
                    break

    def _room(self) -> int:
        return self._most - len(self._away) if self._bytes < self._most_bytes else 0

    def _send(self, store: Store, priority: int, most: int) -> int:
        sent = self._post(store, store.queued(self._job, priority, self._sent.get(priority, -1), most))
        if sent:
            self._sent[priority] = sent[-1]
        return len(sent)

    def _post(self, store: Store, calls: Iterable[Call]) -> list[int]:
        """Sends calls for as long as there is room; the indexes of those sent."""
        records, sent = [], []
        for call in calls:
            size = sum(map(len, call.frames))
            if self._away and self._bytes + size > self._most_bytes:
                break
            sent.append(call.index)
            self._away[call.index] = size
            self._bytes += size
            number = self._numbers.get(call.digest)
            if number is None:
                number = self._numbers[call.digest] = len(self._numbers) + 1
                body, *buffers = store.body(call.digest)
                self._box.send("FUNCTION", function(number, call.digest, body), buffers)
            record = task(call.manner, call.index + 1, number, call.frames[0])
            if len(call.frames) > 1:
                self._box.send("TASKS", record, call.frames[1:])
            else:
                records.append(record)
        self._box.send_all("TASKS", records)
        return sent

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
                self._most, self._most_bytes = min(_MOST, tasks), min(_MOST_BYTES, size)
                self._welcome = True
            refused = refused or kind == "REFUSE"
        if refused:
            self._begin_again()
        return found

    def _take(self, found: list[Outcome], outcome: Outcome) -> None:
        size = self._away.pop(outcome.index, None)
        # What we have cancelled is none of ours any more.
        if size is None:
            return
        self._bytes -= size
        if outcome.status == _CANCELLED:
            self._again.append(outcome.index)
        else:
            found.append(outcome)

    def _begin_again(self) -> None:
        self._welcome = False
        self._numbers.clear()
        self._away.clear()
        self._sent.clear()
        self._again.clear()
        self._bytes = 0
        self._box.begin_again()

    def cancel(self, ranges: Sequence[tuple[int, int]]) -> None:
        """These are not wanted any more."""
        gone = [index for index in self._away if any(first <= index < last for first, last in ranges)]
        for index in gone:
            self._bytes -= self._away.pop(index)
        self._box.send_all("CANCEL", [cancel(index + 1) for index in gone])

    def close(self) -> None:
        """What is under way is not wanted any more."""
        self._box.close()
