# SPDX-License-Identifier: BSD-3-Clause
"""The thread that keeps a broker's journal: a doer of the loop for clients' requests, an asker of it for kept calls.

    client ── keep ──► loop ──► Clerk ── commit ──► answer: kept
                        ▲         │
                        └─ task ──┘ outcome ── commit ──► answer to a fetch

Why over the loop's own protocol: requests find their way through any number of loops, and are asked again by them when
a broker comes back; there is nothing for that here.

May not know: what parcels and outcomes hold. Guarantees: nothing is answered before it is committed; what comes while
the disk works is committed together; when the disk is full, outcomes are held until they can be kept, and requests are
refused; it sleeps while nothing happens.
"""
from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import zmq

from covey.errors import CoveyError, JournalFull
from covey.journal.courier import MOST_BYTES, Courier, maybe_ran
from covey.journal.desk import Answer, Desk, Request, full
from covey.journal.mailbox import NAMES, Mailbox
from covey.journal.store import Outcome, Store
from covey.journal.words import WORDS, answer, read_request
from covey.settings import Settings
from covey.wire.protocol import check, split
from covey.wire.records import outcome, read_function, read_tasks, retracted, ticket_of

__all__ = ["Clerk"]

_VALUE, _CANCELLED = 1, 3
# What makes room, or comes before that.
_LIGHTER = ("attach", "forget", "close")
_CAPACITY = 4096
# Records wait for others so long at most, or until there are so many.
_GROUP = 0.005
_GROUP_RECORDS = 256
# So long `fetch` and `follow` wait for something to say.
_PATIENCE = 10.0
# How often a full disk is tried again, and jobs are looked at that nobody asks for.
_RETRY = 1.0
_SWEEP = 3600.0
# Of all jobs' calls that are under way at once, where they are large.
_ALL_BYTES = 8 * MOST_BYTES


class Clerk:
    """The journal in `folder`, which is opened at once.

    `clock` is for durations, `wall` tells when a job was last asked for, also of earlier brokers.
    """

    def __init__(
        self,
        folder: str,
        settings: Settings,
        *,
        durable: bool = True,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._desk = Desk(Store(folder, durable=durable), secrets.token_urlsafe(6))
        self._inherited = {job: standing.calls for job, standing in self._desk.jobs.items()}
        self._address = ""
        self._places: Callable[[], int] = int
        self._settings = settings
        self._on_broken: Callable[[CoveyError], None] | None = None
        self._clock = clock
        self._wall = wall
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._words: dict[int, str] = {}
        self._couriers: dict[str, Courier] = {}
        self._requests: list[Request] = []
        self._waiting: dict[int, Request] = {}
        self._outcomes = [(job, [maybe_ran(index, "its broker was started again")])
                          for job, index in self._desk.begun_once()]
        self._since = 0.0
        # Whether somebody who waits may be told something new.
        self._news = False
        self._retry_at = 0.0
        # Whether outcomes are looked at: not while those that have come cannot be kept.
        self._hears = True
        self._sweep_at = 0.0
        self._stopped = False
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="covey-journal", daemon=True)

    def start(self, address: str, places: Callable[[], int], on_broken: Callable[[CoveyError], None]) -> None:
        """Begins to serve the loop at this address; returns at once. `places` says how many calls may run at once
        there; `on_broken` is told, once, why the journal cannot go on."""
        self._address = address
        self._places = places
        self._on_broken = on_broken
        self._thread.start()

    def close(self) -> None:
        """Ends, once what has come is committed. May be called again."""
        if self._wake_write < 0:
            return
        self._stopped = True
        os.write(self._wake_write, b"w")
        if self._thread.ident is not None:
            self._thread.join()
        else:
            self._desk.store.close()
            self._context.term()
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)
        self._wake_read = self._wake_write = -1

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that are kept, for people; from any thread."""
        return [{"id": job.id, "calls": job.calls, "unfinished": job.queued, "unfetched": job.finished}
                for job in list(self._desk.jobs.values())]

    # From here on: the clerk's thread.

    def _serve(self) -> None:
        self._box = Mailbox(self._context, self._address, "journal", _CAPACITY)
        self._poller.register(self._box.socket, zmq.POLLIN)
        self._poller.register(self._wake_read, zmq.POLLIN)
        self._beat_at = self._clock() + self._settings.beat_every
        try:
            while not self._stopped:
                self._turn()
            self._commit()
        except BaseException as error:
            if self._on_broken is not None:
                self._on_broken(error if isinstance(error, CoveyError) else CoveyError(
                    f"the journal {self._desk.store.folder} has failed: {error!r}"))
            if not isinstance(error, CoveyError):
                raise
        finally:
            for courier in self._couriers.values():
                courier.close()
            self._box.close()
            self._context.term()
            self._desk.store.close()

    def _turn(self) -> None:
        now = self._clock()
        if now >= self._sweep_at:
            self._sweep(now)
        self._tend()
        self._look(now)
        events = self._poller.poll(int(self._patience()) + 1)
        for socket, _ in events:
            if socket is self._box.socket:
                self._receive()
            elif isinstance(socket, int):
                os.read(self._wake_read, 64)
        ready = {socket for socket, _ in events}
        for job, courier in self._couriers.items():
            socket = courier.socket
            if socket in ready:
                found = courier.receive()
                if courier.socket is not socket:
                    self._poller.unregister(socket)
                    self._poller.register(courier.socket, zmq.POLLIN)
                if found:
                    self._note_work()
                    self._outcomes.append((job, found))
        now = self._clock()
        if now >= self._beat_at:
            self._beat_at = now + self._settings.beat_every
            self._box.say("BEAT")
        if self._pending() and now >= self._retry_at and (
                self._pending() >= _GROUP_RECORDS or now >= self._since + _GROUP):
            self._commit()

    def _pending(self) -> int:
        return len(self._requests) + sum(len(found) for _, found in self._outcomes)

    def _note_work(self) -> None:
        if not self._requests and not self._outcomes:
            self._since = self._clock()

    def _patience(self) -> float:
        moments = [self._beat_at, self._sweep_at]
        if self._pending():
            moments.append(max(self._since + _GROUP, self._retry_at))
        moments += [request.until for request in self._waiting.values()]
        return max(0.0, (min(moments) - self._clock()) * 1000)

    def _receive(self) -> None:
        for head, *frames in self._box.receive():
            kind = NAMES.get(check(head, len(frames)))
            if kind == "TASKS":
                for ticket, function, parcel in read_tasks(head):
                    self._take(ticket, self._words.get(function, ""), parcel, frames)
            elif kind == "FUNCTION":
                number, _, body = read_function(head)
                self._words[number] = body.decode("ascii", "replace")
            elif kind == "FORGET":
                for fixed, _ in split(head)[1]:
                    self._words.pop(int.from_bytes(fixed, "little"), None)
            elif kind == "CANCEL":
                for fixed, _ in split(head)[1]:
                    if self._waiting.pop(ticket_of(fixed), None) is not None:
                        self._box.send("OUTCOMES", outcome(ticket_of(fixed), _CANCELLED, b""))
            elif kind == "RETRACT":
                self._box.send_all("RETRACTED", [retracted(ticket_of(fixed)) for fixed, _ in split(head)[1]])
            elif kind == "REFUSE":
                self._begin_again()
                return

    def _begin_again(self) -> None:
        """The loop has given us up, because the disk took too long; what it had given us it gives us again."""
        self._words.clear()
        self._waiting.clear()
        self._poller.unregister(self._box.socket)
        self._box.begin_again()
        self._poller.register(self._box.socket, zmq.POLLIN)

    def _take(self, ticket: int, word: str, parcel: bytes, frames: list[bytes]) -> None:
        try:
            if word not in WORDS:
                raise ValueError(f"{word[:80]!r} is no word of a journal")
            facts, data = read_request(parcel)
        except (ValueError, RecursionError) as error:
            self._answer(ticket, ("CoveyError", f"the journal cannot read a request: {error}"))
            return
        request = Request(ticket, word, facts, data, frames)
        if word in ("fetch", "follow"):
            request.until = self._clock() + _PATIENCE
            self._waiting[ticket] = request
            self._news = True
        else:
            self._note_work()
            self._requests.append(request)

    def _answer(self, ticket: int, said: Answer) -> None:
        payload, frames = answer(said)
        self._box.send("OUTCOMES", outcome(ticket, _VALUE, payload), frames)

    def _commit(self) -> None:
        if not self._pending():
            return
        requests, self._requests = self._requests, []
        outcomes, self._outcomes = self._outcomes, []
        try:
            answers = self._desk.commit(partial(self._do, outcomes, requests))
        except JournalFull:
            answers = self._commit_what_fits(outcomes, requests)
        for ticket, said in answers:
            self._answer(ticket, said)
        self._hear(not self._outcomes)
        self._news = True

    def _hear(self, hears: bool) -> None:
        """Outcomes that cannot be kept stay with the loop, which gives out no more to who does not take what it has."""
        if hears == self._hears:
            return
        self._hears = hears
        for courier in self._couriers.values():
            if hears:
                self._poller.register(courier.socket, zmq.POLLIN)
            else:
                self._poller.unregister(courier.socket)

    def _commit_what_fits(
        self, outcomes: list[tuple[str, list[Outcome]]], requests: list[Request]
    ) -> list[tuple[int, Answer]]:
        """What makes room comes first; outcomes wait until there is some, each for itself, because all of them may be
        more than there ever is; all else is refused."""
        lighter = [request for request in requests if request.word in _LIGHTER]
        others = [request for request in requests if request.word not in _LIGHTER]
        answers = []
        for group in (lighter, others):
            try:
                answers += self._desk.commit(partial(self._apply, group))
            except JournalFull as error:
                answers += [(request.ticket, full(error)) for request in group]
        alone = [(job, [outcome]) for job, found in outcomes for outcome in found]
        alone.sort(key=lambda one: one[1][0].size)
        for place, one in enumerate(alone):
            try:
                self._desk.commit(partial(self._finish, [one]))
            except JournalFull:
                self._outcomes = alone[place:]
                self._retry_at = self._clock() + _RETRY
                break
        return answers

    def _do(self, outcomes: list[tuple[str, list[Outcome]]], requests: list[Request]) -> list[tuple[int, Answer]]:
        self._finish(outcomes)
        return self._apply(requests)

    def _finish(self, outcomes: list[tuple[str, list[Outcome]]]) -> None:
        for job, found in outcomes:
            self._desk.finish(job, found, self._wall())

    def _apply(self, requests: list[Request]) -> list[tuple[int, Answer]]:
        answers: list[tuple[int, Answer]] = []
        for request in requests:
            try:
                answers.append((request.ticket, self._desk.apply(request, self._wall())))
            except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
                said = f"the journal cannot read a request to {request.word}: {error!r}"
                answers.append((request.ticket, ("CoveyError", said)))
        return answers

    def _look(self, now: float) -> None:
        """Answers who waits for outcomes and can be told some, or has waited long enough."""
        if not self._news and all(now < request.until for request in self._waiting.values()):
            return
        self._news = False
        for ticket, request in list(self._waiting.items()):
            try:
                said = self._desk.look(request)
            except (ValueError, KeyError, OverflowError) as error:
                said = ("CoveyError", f"the journal cannot read a request to {request.word}: {error!r}")
            if said is None and now >= request.until:
                said = ("outcomes", [], request.facts.get("life", False))
            if said is not None:
                del self._waiting[ticket]
                self._answer(ticket, said)

    def _tend(self) -> None:
        """A courier for each job that has something queued, and none for the others; each with what it may send."""
        for job, ranges, force in self._desk.cancelled:
            if job in self._couriers:
                self._couriers[job].cancel(ranges, force)
        self._desk.cancelled.clear()
        for job, kept in self._desk.kept:
            if job in self._couriers:
                self._couriers[job].expect(kept)
        self._desk.kept.clear()
        for job, courier in list(self._couriers.items()):
            standing = self._desk.jobs.get(job)
            if standing is None or not standing.queued:
                if self._hears:
                    self._poller.unregister(courier.socket)
                courier.close()
                del self._couriers[job]
        if not self._hears:
            # The disk is full: what runs may finish, and nothing else is begun.
            return
        store = self._desk.store
        places = self._places() if self._couriers and store.priorities(once=True) else 0
        left = _ALL_BYTES - sum(courier.bytes for courier in self._couriers.values())
        for job, standing in self._desk.jobs.items():
            if not standing.queued:
                continue
            if job not in self._couriers:
                self._couriers[job] = Courier(
                    self._context, self._address, standing.number, job, self._inherited.get(job, 0))
                self._poller.register(self._couriers[job].socket, zmq.POLLIN)
            courier = self._couriers[job]
            before = courier.bytes
            courier.feed(store, places, min(MOST_BYTES, before + max(0, left)))
            left -= courier.bytes - before

    def _sweep(self, now: float) -> None:
        self._sweep_at = now + _SWEEP
        asked = {request.facts["job"] for request in self._waiting.values()}
        for job in self._desk.expired(self._wall() - self._settings.journal_keep, asked):
            try:
                self._desk.commit(partial(self._desk.drop, job))
            except JournalFull:
                # Tried again in its time.
                return
