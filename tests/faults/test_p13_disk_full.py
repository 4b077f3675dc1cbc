# SPDX-License-Identifier: BSD-3-Clause
"""P13: a journal on a full disk refuses what is new by name, goes on with what it has, and never lies about it."""

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import covey
from covey.client.job import Job
from covey.errors import JournalFull
from covey.journal.store import Call, Outcome, Store
from covey.wire.records import manner
from nightlab import NightLab, noted
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

DIGEST = b"d" * 16


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of six megabytes."""
    place = Path(tempfile.mkdtemp(prefix="disk"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m,mode=700", "covey", str(place)], capture_output=True, check=False)
    if done.returncode:
        shutil.rmtree(place)
        pytest.skip("this user may mount no file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)
    place.rmdir()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[NightLab]:
    made = NightLab(tmp_path)
    yield made
    made.close()


@pytest.fixture
def no_large_files() -> Iterator[None]:
    """What a quota does: no file of this process may become larger than two megabytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 21, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(store: Store) -> int:
    """Keeps calls until there is no room for more; how many were kept."""
    with store.writing():
        job = store.open_job("j", 0.0)
        store.learn(job, DIGEST, [b"body"])
    count = 0
    while True:
        try:
            with store.writing():
                store.keep(job, [Call(count + k, DIGEST, manner(), [os.urandom(3000)]) for k in range(5)])
        except JournalFull:
            return count
        count += 5


def forget(store: Store, first: int, last: int) -> None:
    """As the clerk does it: what makes room is tried again once the reserve was given up."""
    try:
        with store.writing():
            store.forget(1, first, last)
    except JournalFull:
        with store.writing():
            store.forget(1, first, last)


@pytest.mark.parametrize("limit", ["small_disk", "no_large_files"])
def test_what_was_kept_before_is_there_afterwards(limit: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    there = request.getfixturevalue(limit)
    folder = str((there or tmp_path) / "journal")
    store = Store(folder)
    try:
        count = fill(store)
        assert count > 50
        with pytest.raises(JournalFull, match=f"no room on the disk for the journal {folder}"), store.writing():
            store.keep(1, [Call(count, DIGEST, manner(), [bytes(1 << 23)])])
        assert not os.listdir(store._files.folder)
    finally:
        store.close()
    again = Store(folder)
    try:
        assert again.jobs()[0].queued == count
        assert len(list(again.queued(1, 0, -1, count))) == count
        if limit == "no_large_files":
            # Of such a limit the reserve, a file of its own, can free nothing.
            return
        for first in range(0, count - 1, 10):
            forget(again, first, min(first + 10, count - 1))
        with again.writing():
            assert again.finish(1, Outcome(count - 1, 1, 1, 1, [b"v"]))
    finally:
        again.close()


def test_results_that_there_is_no_room_for_wait_until_there_is(small_disk: Path, lab: NightLab) -> None:
    lab.folder = small_disk / "journal"
    lab.open(1)
    with lab.client() as client:
        job = client.options(detached=True)
        futures = [job.submit(bytes, 300_000) for _ in range(30)]
        done = job.submit(pow, 2, 5)
        job.flush(30)
        # Not all of it: thirty times 300 kB is more than there ever is.
        wait_until(lambda: sum(future.done() for future in futures) >= 5)
        with pytest.raises(covey.JournalFull):
            while True:
                job.submit(len, os.urandom(60_000))
                job.flush(30)
        assert lab.now is not None
        assert lab.now.poll() is None
        # What is taken makes room for what waits.
        assert [future.result(60) for future in futures] == [bytes(300_000)] * 30
        assert done.result(60) == 32
        client.kill()


def test_a_broker_goes_on_with_what_it_has(small_disk: Path, lab: NightLab) -> None:
    lab.folder = small_disk / "journal"
    lab.broker()
    with lab.client() as client:
        job = client.options(detached=True)
        assert isinstance(job, Job)
        first = [job.submit(noted, str(lab.runs), number) for number in range(5)]
        job.flush(30)
        refused = [job.submit(len, os.urandom(100_000)) for _ in range(80)]
        with pytest.raises(covey.JournalFull, match="there is no room on the disk for the journal"):
            job.flush(30)
        errors = [future for future in refused if future.done() and future.exception(0) is not None]
        assert errors
        assert {type(future.exception()) for future in errors} == {covey.JournalFull}
        lab.node("worker")
        assert [future.result(30) for future in first] == [number * number for number in range(5)]
        kept = [future for future in refused if future not in errors]
        assert [future.result(30) for future in kept] == [100_000] * len(kept)
        # What was delivered has made room.
        assert job.submit(len, os.urandom(100_000)).result(30) == 100_000
    assert sorted(path.name for path in lab.runs.iterdir()) == ["0", "1", "2", "3", "4"]
    assert lab.jobs() == []
