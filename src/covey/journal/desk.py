# SPDX-License-Identifier: BSD-3-Clause
"""What each word does to the store, and what is answered.

May not know: sockets, threads, clocks. Guarantees: a request is applied whole or not at all, and what is counted here
is counted once it is committed; what makes no sense is answered by a sentence, and changes nothing.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from covey.errors import JournalFull
from covey.journal.store import MOST_CALLS, Call, Outcome, Store
from covey.journal.words import calls_of, told
from covey.wire.protocol import KINDS, check, message
from covey.wire.records import read_manner, task

__all__ = ["Desk", "Request", "Standing"]

# One answer has so many outcomes at most, and ends behind the one that makes it larger than this.
_MOST_OUTCOMES = 256
_MOST_BYTES = 1 << 20
# How exactly it is known when a job was last asked for; each time it is written.
_TOUCH = 3600.0
_DIGEST = 16
_LONGEST_SESSION = 64
# The Needs of wire/protocol: what a request needs, and no call may.
_JOURNAL = 8


@dataclass(slots=True)
class Standing:
    """How a job stands. `session` speaks for it; "" until somebody does."""

    number: int
    id: str
    touched: float
    calls: int = 0
    queued: int = 0
    finished: int = 0
    session: str = ""


@dataclass(slots=True)
class Request:
    """A word, what was said with it, and for `fetch` and `follow` until when an answer may wait."""

    ticket: int
    word: str
    facts: dict[str, Any]
    data: bytes = b""
    frames: list[bytes] = field(default_factory=list)
    until: float = 0.0


Answer = tuple[Any, ...]


class Desk:
    """The store, and the standing of its jobs.

    `life` is another word for each broker: serial numbers of outcomes mean something in one life only. Those of the
    last one that were acknowledged are not kept, so the next begins below them.
    """

    def __init__(self, store: Store, life: str) -> None:
        self.store = store
        self._life = life
        self.jobs = {job.id: Standing(job.number, job.id, job.touched, job.calls, job.queued, job.finished, job.session)
                     for job in store.jobs()}
        # What was cancelled since somebody asked: job, ranges of indexes, and whether even if it runs.
        self.cancelled: list[tuple[str, list[tuple[int, int]], bool]] = []
        # What was kept since: job, index and priority of each call.
        self.kept: list[tuple[str, list[tuple[int, int]]]] = []
        self._then: list[Callable[[], object]] = []

    def commit(self, work: Callable[[], Any]) -> Any:
        """Does the work in one transaction, and counts it. JournalFull: nothing of it was done."""
        self._then.clear()
        with self.store.writing():
            found = work()
        for count in self._then:
            count()
        return found

    def finish(self, job: str, outcomes: Iterable[Outcome], now: float) -> None:
        """Keeps outcomes; inside `commit`. Of a job that is gone they are nobody's."""
        standing = self.jobs.get(job)
        if standing is None:
            return
        done = sum(self.store.finish(standing.number, outcome) for outcome in outcomes)
        self._touch(standing, now)
        self._then.append(lambda: self._count(standing, queued=-done, finished=done))

    def apply(self, request: Request, now: float) -> Answer:
        """Does what a word asks for, `fetch` and `follow` aside; inside `commit`."""
        job = request.facts["job"]
        if request.word == "open":
            return self._open(job, request.facts["session"], now)
        standing = self.jobs.get(job)
        if standing is None:
            return unknown(job)
        floor = _number(request.facts.get("floor", 0))
        if request.word == "attach":
            self._speak(standing, request.facts["session"], now)
            return ("ok", standing.calls, standing.queued, standing.finished)
        if request.word == "learn":
            self._learn(standing, request)
        elif request.word == "keep":
            self._keep(standing, request)
        elif request.word == "forget":
            self._forget(standing, request)
        elif request.word == "close":
            self._close(standing, request.facts["session"], now)
            return ("ok",)
        self._touch(standing, now, floor)
        return ("ok",)

    def look(self, request: Request) -> Answer | None:
        """The answer to a `fetch` or `follow`; None while there is nothing to say."""
        job = request.facts["job"]
        standing = self.jobs.get(job)
        if standing is None:
            return unknown(job)
        session = str(request.facts["session"])
        if standing.session not in ("", session):
            return ("NoSuchJob", f"the job {job} was taken over by another program that resumed it later")
        standing.session = session
        if request.word == "fetch":
            after = _number(request.facts["after"]) if request.facts["life"] == self._life else 0
            found = self._some(self.store.finished_after(standing.number, after))
            return ("outcomes", found, self._life) if found else None
        if not standing.queued and not standing.finished:
            return ("outcomes", [], True)
        if not standing.finished:
            return None
        found = self._some(self.store.finished_from(standing.number, _number(request.facts["index"])))
        return ("outcomes", found, False) if found else None

    def begun_once(self) -> list[tuple[str, int]]:
        """Job and index of each call that must not begin twice, was given out, and has no outcome."""
        names = {standing.number: standing.id for standing in self.jobs.values()}
        return [(names[number], index) for number, index in self.store.given_out()]

    def expired(self, before: float, asked: Collection[str]) -> list[str]:
        """Jobs that nobody has asked for since; `asked` are those that somebody waits for now."""
        return [job.id for job in self.jobs.values() if job.touched < before and job.id not in asked]

    def drop(self, job: str) -> None:
        """The job is over; inside `commit`."""
        standing = self.jobs[job]
        self.store.drop_job(standing.number)
        self._then.append(lambda: self.jobs.pop(job, None))
        self._then.append(lambda: self.cancelled.append((job, [(0, MOST_CALLS)], False)))

    def _open(self, job: str, session: str, now: float) -> Answer:
        standing = self.jobs.get(job) or Standing(self.store.open_job(job, now), job, now)
        self._then.append(lambda: self.jobs.setdefault(job, standing))
        self._speak(standing, session, now)
        return ("ok",)

    def _speak(self, standing: Standing, session: str, now: float) -> None:
        """A later one takes the job over; what the earlier one asks is refused then, by later brokers, too."""
        if not isinstance(session, str) or len(session) > _LONGEST_SESSION:
            raise ValueError("a session has a short name")
        self.store.touch(standing.number, now, session=session)
        self._then.append(lambda: setattr(standing, "session", session))
        self._then.append(lambda: setattr(standing, "touched", now))

    def _learn(self, standing: Standing, request: Request) -> None:
        digest = bytes.fromhex(request.facts["digest"])
        if len(digest) != _DIGEST or not request.frames:
            raise ValueError("a function has a digest of 16 bytes, and a body")
        self.store.learn(standing.number, digest, request.frames)

    def _keep(self, standing: Standing, request: Request) -> None:
        digests = [bytes.fromhex(digest) for digest in request.facts["digests"]]
        manners = [bytes.fromhex(manner) for manner in request.facts["manners"]]
        # What the loop would not take, or could not be sent, must not get in.
        for manner in manners:
            _, needs, _ = read_manner(manner)
            if needs == _JOURNAL or check(message(KINDS["TASKS"], [task(manner, 1, 1, b"")])) != KINDS["TASKS"]:
                raise ValueError("a call says what no task can")
        for digest in digests:
            if not self.store.is_needed(standing.number, digest):
                raise ValueError("a call names a function that was not sent")
        calls = [Call(_number(call.at), digests[call.digest], manners[call.manner], [call.parcel, *request.frames])
                 for call in calls_of(request.data)]
        last = max((call.index for call in calls), default=-1)
        kept = self.store.keep(standing.number, calls)
        self._then.append(lambda: self._count(standing, queued=len(kept), last=last))
        self._then.append(lambda: self.kept.append((standing.id, kept)))

    def _forget(self, standing: Standing, request: Request) -> None:
        ranges = [(_number(first), _number(last)) for first, last in request.facts["ranges"]]
        queued = finished = 0
        for first, last in ranges:
            counts = self.store.forget(standing.number, first, last)
            queued += counts[0]
            finished += counts[1]
        self._then.append(lambda: self._count(standing, queued=-queued, finished=-finished))
        if queued:
            force = bool(request.facts.get("force"))
            self._then.append(lambda: self.cancelled.append((standing.id, ranges, force)))

    def _close(self, standing: Standing, session: str, now: float) -> None:
        if standing.session not in ("", session):
            return
        if standing.queued or standing.finished:
            self._speak(standing, "", now)
        else:
            self.drop(standing.id)

    def _touch(self, standing: Standing, now: float, floor: int = 0) -> None:
        if floor or now - standing.touched > _TOUCH:
            self.store.touch(standing.number, now, floor)
            self._then.append(lambda: setattr(standing, "touched", now))

    def _count(self, standing: Standing, *, queued: int = 0, finished: int = 0, last: int = -1) -> None:
        standing.queued += queued
        standing.finished += finished
        standing.calls = max(standing.calls, last + 1)

    def _some(self, outcomes: Iterable[Outcome]) -> list[tuple[Any, ...]]:
        found, size = [], 0
        for outcome in outcomes:
            payload, *buffers = told(outcome.frames)
            found.append(
                (outcome.index, outcome.serial, outcome.status, outcome.attempt, outcome.run_us, payload, buffers))
            size += sum(map(len, outcome.frames))
            if len(found) >= _MOST_OUTCOMES or size >= _MOST_BYTES:
                break
        return found


def full(error: JournalFull) -> Answer:
    """How a request is answered that there was no room for."""
    return ("JournalFull", str(error))


def unknown(job: str) -> Answer:
    """The answer for a job that is not there."""
    sentence = (f"this broker keeps no job {job}: it never did, or all of its results were delivered, or nobody asked "
                "for them for too long")
    return ("NoSuchJob", sentence)


def _number(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < MOST_CALLS:
        raise ValueError(f"{value!r} is no index")
    return value
