# SPDX-License-Identifier: BSD-3-Clause
"""The tables of a journal, under a clock that the test turns: everything once, whatever is said twice."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.errors import JournalRefused
from covey.journal.desk import Desk, Request
from covey.journal.store import Call, Outcome, Store
from covey.wire.records import manner

DIGEST = b"d" * 16
PLAIN = manner()
LARGE = os.urandom(200_000)
# The TaskFlag of wire/protocol.
ONCE = 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    store = Store(str(folder))
    yield store
    store.close()


def calls(*indexes: int, priority: int = 0) -> list[Call]:
    return [Call(index, DIGEST, manner(priority=priority), [b"parcel %d" % index]) for index in indexes]


def outcome(index: int, *frames: bytes) -> Outcome:
    return Outcome(index, 1, 1, 5, list(frames) or [b"value %d" % index])


def job_of(store: Store, *kept: Call) -> int:
    with store.writing():
        job = store.open_job("j", 0.0)
        store.learn(job, DIGEST, [b"body", b"trunk"])
        store.keep(job, kept)
    return job


def indexes(found: Iterator[Call] | Iterator[Outcome]) -> list[int]:
    return [one.index for one in found]


def test_a_call_is_kept_once_and_finished_once(store: Store) -> None:
    job = job_of(store, *calls(0, 1))
    with store.writing():
        assert store.keep(job, calls(1, 2)) == [(2, 0)]
        assert store.finish(job, outcome(1, b"first"))
        assert not store.finish(job, outcome(1, b"second"))
        assert not store.finish(job, outcome(7))
    assert indexes(store.queued(job, 0, -1, 9)) == [0, 2]
    assert [found.frames for found in store.finished_after(job, 0)] == [[b"first"]]


def test_what_is_acknowledged_above_the_floor_is_not_kept_again(store: Store) -> None:
    job = job_of(store, *calls(*range(6)))
    with store.writing():
        for index in range(6):
            store.finish(job, outcome(index))
        store.touch(job, 0.0, floor=3)
        assert store.forget(job, 0, 5) == (0, 5)
    with store.writing():
        # Late, from a client that had no answer the first time.
        assert store.keep(job, calls(*range(6))) == []
    assert indexes(store.finished_from(job, 0)) == [5]
    with store.writing():
        store.touch(job, 0.0, floor=6)
        assert store.keep(job, calls(4)) == []
        assert store.forget(job, 0, 6) == (0, 1)
    assert store.jobs()[0].calls == 6


def test_in_order_and_as_they_come(store: Store) -> None:
    job = job_of(store, *calls(*range(5)))
    with store.writing():
        for index in (3, 0, 1):
            store.finish(job, outcome(index))
    assert indexes(store.finished_from(job, 0)) == [0, 1]
    came = list(store.finished_after(job, 0))
    assert [found.index for found in came] == [3, 0, 1]
    assert indexes(store.finished_after(job, came[0].serial)) == [0, 1]


def test_urgent_calls_are_found_first(store: Store) -> None:
    job = job_of(store, *calls(0, 1), *calls(2, priority=-3), *calls(3, priority=9))
    assert store.priorities() == [9, 0, -3]
    assert indexes(store.queued(job, 0, 0, 9)) == [1]


def test_what_must_not_begin_twice_is_given_out_once(store: Store, folder: Path) -> None:
    once = [Call(index, DIGEST, manner(flags=ONCE, priority=index), [b"p"]) for index in (0, 1, 2)]
    job = job_of(store, *once, *calls(3))
    assert (store.priorities(once=True), store.priorities()) == ([2, 1, 0], [0])
    assert indexes(store.queued(job, 0, -1, 9)) == [3]
    with store.writing():
        store.give_out(job, [0, 2])
    store.close()
    again = Store(str(folder))
    try:
        assert list(again.given_out()) == [(job, 0), (job, 2)]
        assert again.priorities(once=True) == [1]
        assert [indexes(again.queued(job, priority, -1, 9, once=True)) for priority in (0, 1, 2)] == [[], [1], []]
        assert indexes(again.find_queued(job, 0)) == []
        assert again.jobs()[0].queued == 4
        with again.writing():
            assert again.finish(job, Outcome(0, 9, 1, 0, [b"its broker was started again"]))
        assert list(again.given_out()) == [(job, 2)]
    finally:
        again.close()


def test_a_new_broker_finds_all_of_it(store: Store, folder: Path) -> None:
    job = job_of(store, *calls(0, 1, 2))
    with store.writing():
        store.finish(job, outcome(1, b"v", LARGE))
        serial = next(iter(store.finished_after(job, 0))).serial
    store.close()
    again = Store(str(folder))
    try:
        assert (again.find_job("j"), again.find_job("k")) == (job, None)
        assert [found.frames for found in again.finished_after(job, 0)] == [[b"v", LARGE]]
        assert [call.frames for call in again.queued(job, 0, -1, 9)] == [[b"parcel 0"], [b"parcel 2"]]
        assert again.body(DIGEST) == [b"body", b"trunk"]
        with again.writing():
            again.finish(job, outcome(0))
        # A client that has seen the first one asks for what came after it.
        assert indexes(again.finished_after(job, serial)) == [0]
    finally:
        again.close()


def test_large_ones_are_files_for_as_long_as_they_are_wanted(store: Store, folder: Path) -> None:
    names = folder / "large"
    job = job_of(store, Call(0, DIGEST, PLAIN, [b"p", LARGE]))
    assert len(os.listdir(names)) == 1
    assert next(iter(store.queued(job, 0, -1, 1))).frames == [b"p", LARGE]
    with store.writing():
        store.finish(job, outcome(0, LARGE))
    assert [name.rpartition(".")[2] for name in os.listdir(names)] == ["outcome"]
    with store.writing():
        store.drop_job(job)
    assert (os.listdir(names), store.jobs()) == ([], [])


def test_what_is_not_committed_leaves_nothing(store: Store, folder: Path) -> None:
    job = job_of(store, *calls(0))
    with pytest.raises(ZeroDivisionError), store.writing():
        store.keep(job, [Call(1, DIGEST, PLAIN, [LARGE])])
        raise ZeroDivisionError
    assert os.listdir(folder / "large") == []
    assert indexes(store.queued(job, 0, -1, 9)) == [0]


def test_files_of_a_crash_before_the_commit_are_swept(store: Store, folder: Path) -> None:
    job_of(store, *calls(0))
    store.close()
    (folder / "large" / "1000.call").write_bytes(b"x")
    (folder / "large" / "1000.outcome.new").write_bytes(b"x")
    Store(str(folder)).close()
    assert os.listdir(folder / "large") == []


def test_one_broker_at_a_time(store: Store, folder: Path) -> None:
    with pytest.raises(JournalRefused, match=rf"in use by another broker \(pid {os.getpid()}\): stop it"):
        Store(str(folder))


def test_the_lock_ends_with_its_process(folder: Path) -> None:
    program = f"import os; from covey.journal.store import Store; Store({str(folder)!r}); os.kill(os.getpid(), 9)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == -9
    Store(str(folder)).close()


def test_others_may_not_read_it(folder: Path) -> None:
    folder.mkdir(0o755)
    folder.chmod(0o755)
    with pytest.raises(JournalRefused, match=r"can be read or changed by others \(mode 0755\): chmod 700"):
        Store(str(folder))
    folder.chmod(0o700)
    Store(str(folder)).close()
    assert [path.name for path in folder.rglob("*") if path.stat().st_mode & 0o077] == []


def test_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, why in ((tmp_path / "file", "is a file: name a folder"), (tmp_path / "a/b", "cannot be made")):
        with pytest.raises(JournalRefused, match=why):
            Store(str(place))


def test_another_version_is_refused_by_name(store: Store, folder: Path) -> None:
    store._db.execute("PRAGMA user_version = 655363")
    store.close()
    with pytest.raises(JournalRefused, match=r"written by another version of covey \(format 10\.3, and this one"):
        Store(str(folder))


def test_jobs_that_nobody_asks_for_expire(store: Store) -> None:
    desk = Desk(store, "life")
    for name, now in (("old", 0.0), ("new", 0.0)):
        desk.commit(lambda name=name, now=now: desk.apply(Request(1, "open", {"job": name, "session": "s"}), now))
    later = 500_000.0
    desk.commit(lambda: desk.apply(Request(2, "attach", {"job": "new", "session": "s"}), later))
    assert desk.expired(later - 100_000.0, ()) == ["old"]
    # Also to a broker that has started since.
    assert Desk(store, "other").expired(later - 100_000.0, ()) == ["old"]
    desk.commit(lambda: desk.drop("old"))
    assert [job.id for job in store.jobs()] == ["new"]
