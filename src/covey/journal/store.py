# SPDX-License-Identifier: BSD-3-Clause
"""The tables of a journal: jobs, their calls and outcomes, and the bodies of functions.

    job      its number and id, when it was last asked for, the floor of its calls, which session speaks for it
    call     place = number of the job << 40 | index: one row from `keep` until its outcome is acknowledged
    body     of a function, once by digest; `needed` says by which jobs

A call is queued until `finish` puts the outcome into its row. One that must not begin twice is noted there as given
out before it is, and is never given out again. What is acknowledged leaves at once, or, above the floor,
a row that is GONE: below the floor the client knows that everything is kept, so no `keep` of it can still be under way;
above it one may come a second time, and must not run again.

Why SQLite: a log of our own would be no faster, and less tested by ten thousand times.

May not know: sockets, threads, clocks (`now` is an argument). Guarantees: all is idempotent by job and index; nothing
of a transaction is there before `commit`, and all of it afterwards, large files included; each row carries a checksum,
so that what a disk has changed is refused and never served; `Full` leaves what is committed as it was. One thread.
"""
from __future__ import annotations

import errno
import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from covey.errors import JournalFull, JournalRefused
from covey.journal.folder import claim
from covey.journal.reserve import Reserve
from covey.journal.sealed import FILE, Files
from covey.journal.tail import damage_of
from covey.wire.protocol import PROTOCOL
from covey.wire.records import read_manner

__all__ = ["Call", "Job", "Outcome", "Store"]

# Calls are kept as TaskRecords, so another protocol cannot read them either.
_SCHEMA = 1
_VERSION = _SCHEMA << 16 | PROTOCOL
_INDEX_BITS = 40
MOST_CALLS = 1 << _INDEX_BITS
GONE = 255
# What `attempt` says of a call without an outcome.
_FREELY, _ONCE, _GIVEN_OUT = 0, 1, 2
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FACTS = struct.Struct("<qhqBBI")
_SMALL = 4096

_TABLES = """
CREATE TABLE job (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, touched REAL NOT NULL, floor INTEGER NOT NULL,
                  session TEXT NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE body (digest BLOB PRIMARY KEY, sealed BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE needed (job INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (job, digest)) WITHOUT ROWID;
CREATE TABLE call (place INTEGER PRIMARY KEY, priority INTEGER NOT NULL, digest BLOB NOT NULL, manner BLOB NOT NULL,
                   sealed BLOB NOT NULL, serial INTEGER NOT NULL, status INTEGER NOT NULL, attempt INTEGER NOT NULL,
                   run_us INTEGER NOT NULL, checksum INTEGER NOT NULL);
CREATE INDEX queued ON call (attempt, priority, place) WHERE status = 0;
CREATE INDEX finished ON call (place >> 40, serial) WHERE serial > 0;
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A job, how many of its calls are kept in all, wait or run, and are finished and not acknowledged, and who speaks
    for it."""

    number: int
    id: str
    touched: float
    calls: int
    queued: int
    finished: int
    session: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it is kept: `manner` is its TaskRecord, `digest` its function's, the frames its parcel and buffers."""

    index: int
    digest: bytes
    manner: bytes
    frames: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call, in the protocol's words."""

    index: int
    status: int
    attempt: int
    run_us: int
    frames: Sequence[bytes]
    serial: int = 0

    @property
    def size(self) -> int:
        return sum(map(len, self.frames))


class Store:
    """The journal in a folder, which is made if need be; JournalRefused if it cannot be used.

    `durable` waits for the disk at each commit, against power cuts; without it the death of the process loses nothing.

    >>> import tempfile
    >>> store = Store(tempfile.mkdtemp())
    >>> with store.writing():
    ...     store.open_job("j", now=0.0)
    1
    >>> store.close()
    """

    def __init__(self, folder: str, *, durable: bool = True) -> None:
        self.folder = folder
        self._lock = claim(folder)
        self._file = os.path.join(folder, "journal.sqlite")
        # Files of rows that go away; unlinked once that is committed.
        self._doomed: list[str] = []
        # Those that this transaction has written; unlinked if it comes to nothing.
        self._fresh: list[str] = []
        self._reserve: Reserve | None = None
        self._next_serial = 1
        try:
            damage = damage_of(Path(self._file + "-wal")) if durable else None
            if damage is not None:
                raise self._damaged(damage)
            self._files = Files(os.path.join(folder, "large"), durable=durable)
            # A program that opens this file meanwhile would be refused; SQLite keeps no shared memory then either.
            self._db = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
        except OSError as error:
            os.close(self._lock)
            raise JournalRefused(f"the journal {folder} cannot be used ({error.strerror}): see that this user may "
                                 "write there") from None
        except BaseException:
            os.close(self._lock)
            raise
        try:
            self._db.text_factory = bytes
            self._prepare(durable)
            self._check()
            self._reserve = Reserve(folder)
        except (sqlite3.Error, ValueError, OverflowError, struct.error) as error:
            self.close()
            if _is_full(error):
                raise self._full() from None
            raise self._damaged(f"{self._file}: {error}") from None
        except BaseException:
            self.close()
            raise

    def _prepare(self, durable: bool) -> None:
        db = self._db
        os.chmod(self._file, 0o600)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        db.execute("PRAGMA cell_size_check = ON")
        # What the log holds must fit into the reserve, for a disk that is full.
        db.execute("PRAGMA wal_autocheckpoint = 200")
        version = self._one("PRAGMA user_version")
        if version == 0 and not self._one("SELECT count(*) FROM sqlite_schema"):
            with self.writing():
                for statement in _TABLES.strip().split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise JournalRefused(f"the journal {self.folder} was written by another version of covey (format "
                                 f"{version >> 16}.{version & 0xffff}, and this one reads {_SCHEMA}.{PROTOCOL}): use "
                                 "that version, or name another folder")

    def _check(self) -> None:
        found = [row[0].decode(errors="replace") for row in self._db.execute("PRAGMA integrity_check(1)")]
        if found != ["ok"]:
            raise self._damaged(f"{self._file}: {found[0] if found else 'it cannot be checked'}")
        wanted = set()
        for name, sealed in self._checked_rows():
            if sealed[:1] == FILE:
                fault = self._files.fault_of(name, sealed)
                if fault is not None:
                    raise self._damaged(fault)
                wanted.add(name)
        # Left by a crash between file and commit.
        for name in set(self._files.names()) - wanted:
            self._files.drop(name)
        self._next_serial = 1 + self._one("SELECT coalesce(max(serial), 0) FROM call")

    def _checked_rows(self) -> Iterator[tuple[str, bytes]]:
        """The names and bytes of all that may lie in files; JournalRefused where a checksum is wrong."""
        numbers = set()
        for number, job_id, touched, floor, session, checksum in self._db.execute("SELECT * FROM job"):
            if checksum != _job_sum(number, job_id, touched, floor, session):
                raise self._damaged(f"{self._file}: the row of job {number}")
            numbers.add(number)
        for digest, sealed, checksum in self._db.execute("SELECT * FROM body"):
            if checksum != crc32(sealed, crc32(digest)):
                raise self._damaged(f"{self._file}: the body of function {digest.hex()}")
            yield _body_name(digest), sealed
        for place, _, digest, _, sealed, _, status, *_ in self._rows("SELECT * FROM call"):
            if place >> _INDEX_BITS not in numbers:
                raise self._damaged(f"{self._file}: call {place:#x} is of no job")
            if status == 0 and not self.is_needed(place >> _INDEX_BITS, digest):
                raise self._damaged(f"{self._file}: call {place:#x} has no function")
            yield _call_name(place, status), sealed

    def is_needed(self, job: int, digest: bytes) -> bool:
        """Whether the function is here, for this job."""
        return bool(self._one("SELECT count(*) FROM needed JOIN body USING (digest) WHERE job = ? AND digest = ?",
                              job, digest))

    def _rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Rows of calls, whole ones, their checksums looked at."""
        for row in self._db.execute(query, values):
            if row[-1] != _call_sum(*row[:-1]):
                raise self._damaged(f"{self._file}: the row of call {row[0]:#x}")
            yield row

    def _damaged(self, where: str) -> JournalRefused:
        # SQLite tells some of it in two lines.
        where = " ".join(where.split())
        return JournalRefused(f"the journal {self.folder} is damaged ({where}): put a copy of it back, or name another "
                              "folder and submit what was not done again")

    def _one(self, query: str, *values: Any) -> Any:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        """Lets go of files and lock. May be called again."""
        if self._lock >= 0:
            self._db.close()
            os.close(self._lock)
            self._lock = -1

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: committed at its end, or not at all. JournalFull if there is no room for it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._doomed, self._fresh = self._fresh, self._doomed
            self._drop_doomed()
            if isinstance(error, (sqlite3.Error, OSError)) and _is_full(error):
                self._make_room()
                raise self._full() from None
            raise
        self._drop_doomed()

    def _make_room(self) -> None:
        """For what ends and what is forgotten; nothing new is kept before the reserve is there again."""
        if self._reserve is not None:
            self._reserve.give_up()
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            # Then the log stays as long as it is.
            return

    def _full(self) -> JournalFull:
        return JournalFull(f"there is no room on the disk for the journal {self.folder}")

    def _require_room(self) -> None:
        if self._reserve is not None and not self._reserve.take():
            raise self._full()

    def _drop_doomed(self) -> None:
        doomed = self._doomed
        self._doomed, self._fresh = [], []
        for name in doomed:
            self._files.drop(name)

    def _put(self, name: str, frames: Sequence[bytes]) -> bytes:
        sealed = self._files.put(name, frames)
        if sealed[:1] == FILE:
            self._fresh.append(name)
        return sealed

    # Inside `writing`.

    def open_job(self, job_id: str, now: float) -> int:
        """The number of the job of this id, which is made if need be."""
        number = self.find_job(job_id)
        if number is None:
            self._require_room()
            number = 1 + self._one("SELECT coalesce(max(number), 0) FROM job")
            checksum = _job_sum(number, job_id.encode(), now, 0, b"")
            self._db.execute("INSERT INTO job VALUES (?, ?, ?, 0, '', ?)", (number, job_id, now, checksum))
        return number

    def touch(self, job: int, now: float, floor: int = 0, session: str | None = None) -> None:
        """The job was asked for; below the floor its client knows that everything is kept. `session`: speaks for it
        from now on, also to brokers that come later."""
        row = self._db.execute("SELECT id, floor, session FROM job WHERE number = ?", (job,)).fetchone()
        floor = max(floor, row[1])
        speaks = row[2] if session is None else session.encode()
        self._db.execute("UPDATE job SET touched = ?, floor = ?, session = ?, checksum = ? WHERE number = ?",
                         (now, floor, speaks.decode(), _job_sum(job, row[0], now, floor, speaks), job))
        if floor > row[1]:
            self._db.execute("DELETE FROM call WHERE place >= ? AND place < ? AND status = ?",
                             (_place(job, row[1]), _place(job, floor), GONE))

    def learn(self, job: int, digest: bytes, frames: Sequence[bytes]) -> None:
        """The body of a function that calls of the job will name."""
        if not self._one("SELECT count(*) FROM body WHERE digest = ?", digest):
            self._require_room()
            sealed = self._put(_body_name(digest), frames)
            self._db.execute("INSERT INTO body VALUES (?, ?, ?)", (digest, sealed, crc32(sealed, crc32(digest))))
        self._db.execute("INSERT OR IGNORE INTO needed VALUES (?, ?)", (job, digest))

    def keep(self, job: int, calls: Iterable[Call]) -> list[tuple[int, int]]:
        """Keeps those that are not kept and were not before; index and priority of each."""
        floor = self._one("SELECT floor FROM job WHERE number = ?", job)
        rows = []
        for call in calls:
            place = _place(job, call.index)
            if call.index < floor or self._one("SELECT 1 FROM call WHERE place = ?", place):
                continue
            sealed = self._put(_call_name(place, 0), call.frames)
            priority, _, once = read_manner(call.manner)
            row = (place, priority, call.digest, call.manner, sealed, 0, 0, _ONCE if once else _FREELY, 0)
            rows.append((*row, _call_sum(*row)))
        if rows:
            self._require_room()
        self._db.executemany("INSERT OR IGNORE INTO call VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return [(row[0] - _place(job, 0), row[1]) for row in rows]

    def finish(self, job: int, outcome: Outcome) -> bool:
        """Puts the outcome in the place of its call; False if that has one, or nobody wants it."""
        place = _place(job, outcome.index)
        before = self._one("SELECT substr(sealed, 1, 1) FROM call WHERE place = ? AND status = 0", place)
        if before is None:
            return False
        if before == FILE:
            self._doomed.append(_call_name(place, 0))
        if outcome.size > _SMALL:
            # A small one may have of the reserve: it takes the place of its call. The rest is for what makes room.
            self._require_room()
        sealed = self._put(_call_name(place, outcome.status), outcome.frames)
        row = (place, 0, b"", b"", sealed, self._next_serial, outcome.status, outcome.attempt, outcome.run_us)
        self._next_serial += 1
        self._db.execute("UPDATE call SET priority = ?, digest = ?, manner = ?, sealed = ?, serial = ?, status = ?, "
                         "attempt = ?, run_us = ?, checksum = ? WHERE place = ?",
                         (*row[1:], _call_sum(*row), place))
        return True

    def give_out(self, job: int, indexes: Iterable[int]) -> None:
        """These must not begin twice, and may begin from now on."""
        self._require_room()
        for index in indexes:
            row = self._db.execute("SELECT * FROM call WHERE place = ?", (_place(job, index),)).fetchone()
            row = (*row[:7], _GIVEN_OUT, row[8])
            self._db.execute("UPDATE call SET attempt = ?, checksum = ? WHERE place = ?",
                             (_GIVEN_OUT, _call_sum(*row), row[0]))

    def forget(self, job: int, first: int, last: int) -> tuple[int, int]:
        """Calls from `first` until before `last` are not wanted any more, whatever became of them: how many of them
        were queued, how many finished."""
        low, high = _place(job, first), _place(job, last)
        queued = finished = 0
        for place, status, sort in self._db.execute(
                "SELECT place, status, substr(sealed, 1, 1) FROM call WHERE place >= ? AND place < ? AND status != ?",
                (low, high, GONE)):
            queued += status == 0
            finished += status != 0
            if sort == FILE:
                self._doomed.append(_call_name(place, status))
        floor = min(max(_place(job, self._one("SELECT floor FROM job WHERE number = ?", job)), low), high)
        self._db.execute("DELETE FROM call WHERE place >= ? AND place < ?", (low, floor))
        gone = [(place, 0, b"", b"", b"", 0, GONE, 0, 0) for place, in self._db.execute(
            "SELECT place FROM call WHERE place >= ? AND place < ? AND status != ?", (floor, high, GONE))]
        self._db.executemany("REPLACE INTO call VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                             [(*row, _call_sum(*row)) for row in gone])
        return queued, finished

    def drop_job(self, job: int) -> None:
        """The job, and all that is kept for it alone."""
        self.forget(job, 0, MOST_CALLS)
        self._db.execute("DELETE FROM call WHERE place >= ? AND place < ?", (_place(job, 0), _place(job + 1, 0)))
        self._db.execute("DELETE FROM needed WHERE job = ?", (job,))
        self._db.execute("DELETE FROM job WHERE number = ?", (job,))
        for digest, sort in self._db.execute("SELECT digest, substr(sealed, 1, 1) FROM body WHERE digest NOT IN "
                                             "(SELECT digest FROM needed)").fetchall():
            self._db.execute("DELETE FROM body WHERE digest = ?", (digest,))
            if sort == FILE:
                self._doomed.append(_body_name(digest))

    # At any time.

    def find_job(self, job_id: str) -> int | None:
        """The number of the job of this id."""
        number: int | None = self._one("SELECT number FROM job WHERE id = ?", job_id)
        return number

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first."""
        counts = {job: row for job, *row in self._db.execute(
            "SELECT place >> 40, max(place), sum(status = 0), sum(serial > 0) FROM call GROUP BY 1")}
        found = []
        for number, job_id, touched, floor, session, _ in self._db.execute("SELECT * FROM job ORDER BY 1"):
            last, queued, finished = counts.get(number, (_place(number, -1), 0, 0))
            calls = max(floor, last - _place(number, 0) + 1)
            found.append(Job(number, job_id.decode(), touched, calls, queued, finished, session.decode()))
        return found

    def body(self, digest: bytes) -> list[bytes]:
        """The frames of a function's body."""
        sealed = self._one("SELECT sealed FROM body WHERE digest = ?", digest)
        return self._files.get(_body_name(digest), sealed)

    def priorities(self, *, once: bool = False) -> list[int]:
        """Of all queued calls that may be given out, the highest first. By a step in the index for each of them: a walk
        over all calls would be made again for each few hundred."""
        found: list[int] = []
        below = 1 << 16
        while True:
            below = self._one("SELECT max(priority) FROM call WHERE status = 0 AND attempt = ? AND priority < ?",
                              _ONCE if once else _FREELY, below)
            if below is None:
                return found
            found.append(below)

    def queued(self, job: int, priority: int, after: int, most: int, *, once: bool = False) -> Iterator[Call]:
        """Calls of this priority behind the index `after`, in order, at most so many: those that may run again, or
        (`once`) those that may not and were not given out."""
        for place, _, digest, manner, sealed, *_ in self._rows(
                "SELECT * FROM call WHERE status = 0 AND attempt = ? AND priority = ? AND place > ? AND place < ? "
                "ORDER BY place LIMIT ?",
                _ONCE if once else _FREELY, priority, _place(job, after), _place(job + 1, 0), most):
            yield Call(place - _place(job, 0), digest, manner, self._files.get(_call_name(place, 0), sealed))

    def given_out(self) -> Iterator[tuple[int, int]]:
        """Job and index of each call that must not begin twice, was given out, and has no outcome."""
        for place, *_ in self._rows("SELECT * FROM call WHERE status = 0 AND attempt = ?", _GIVEN_OUT):
            yield place >> _INDEX_BITS, place & (MOST_CALLS - 1)

    def find_queued(self, job: int, index: int) -> Iterator[Call]:
        """The call of this index, if it has no outcome and may run again."""
        for place, _, digest, manner, sealed, *_ in self._rows(
                "SELECT * FROM call WHERE status = 0 AND attempt = ? AND place = ?", _FREELY, _place(job, index)):
            yield Call(index, digest, manner, self._files.get(_call_name(place, 0), sealed))

    def finished_after(self, job: int, serial: int) -> Iterator[Outcome]:
        """Outcomes that came after that one, as they came."""
        return self._outcomes("SELECT * FROM call WHERE place >> 40 = ? AND serial > ? AND serial > 0 ORDER BY serial",
                              job, serial)

    def finished_from(self, job: int, index: int) -> Iterator[Outcome]:
        """The outcomes of the first calls from `index` on that are not acknowledged, up to one that is not finished."""
        rows = self._rows("SELECT * FROM call WHERE place >= ? AND place < ? AND status != ? ORDER BY place",
                          _place(job, index), _place(job + 1, 0), GONE)
        for row in rows:
            if row[6] == 0:
                return
            yield self._outcome(row)

    def _outcomes(self, query: str, *values: Any) -> Iterator[Outcome]:
        return map(self._outcome, self._rows(query, *values))

    def _outcome(self, row: tuple[Any, ...]) -> Outcome:
        place, _, _, _, sealed, serial, status, attempt, run_us, _ = row
        frames = self._files.get(_call_name(place, status), sealed)
        return Outcome(place & (MOST_CALLS - 1), status, attempt, run_us, frames, serial)


def _place(job: int, index: int) -> int:
    return (job << _INDEX_BITS) + index


def _call_name(place: int, status: int) -> str:
    return f"{place:x}.{'outcome' if status else 'call'}"


def _body_name(digest: bytes) -> str:
    return f"{digest.hex()}.body"


def _job_sum(number: int, job_id: bytes, touched: float, floor: int, session: bytes) -> int:
    return crc32(struct.pack("<qdq", number, touched, floor) + job_id + b" " + session)


def _call_sum(place: int, priority: int, digest: bytes, manner: bytes, sealed: bytes, serial: int, status: int,
              attempt: int, run_us: int) -> int:
    return crc32(sealed, crc32(_FACTS.pack(place, priority, serial, status, attempt, run_us) + digest + manner))


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) in _FULL


