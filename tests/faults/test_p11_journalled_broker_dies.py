# SPDX-License-Identifier: BSD-3-Clause
"""P11, T3: a broker with a journal that is killed at any moment and started again: what was kept yields one result.

The long form kills a hundred times while 2,000 calls run.
"""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

import covey
from covey.client.job import Job
from covey.journal.store import Call, Store
from covey.wire.records import manner
from figures import Figures
from nightlab import NightLab, noted
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

FIGURES = pytest.mark.parametrize(
    ("kills", "calls", "seconds"), [(8, 400, 0.005), pytest.param(100, 2000, 0.05, marks=pytest.mark.soak)])


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[NightLab]:
    made = NightLab(tmp_path)
    yield made
    made.close()


class Killer:
    """Kills the broker again and again, after times of its own choice, and starts another."""

    def __init__(self, lab: NightLab, kills: int, seed: int) -> None:
        self.lab = lab
        self.left = kills
        self.error: BaseException | None = None
        self._source = random.Random(seed)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while self.left and not self._enough.wait(self._source.uniform(0.05, 0.8)):
                self.lab.kill_broker()
                self.lab.broker()
                self.left -= 1
        except BaseException as error:
            self.error = error

    def wait(self) -> None:
        """Until it has killed as often as it should."""
        self._thread.join(600)
        assert not self._thread.is_alive()
        assert self.error is None, self.error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        self._thread.join(60)


def job_of(client: covey.Client) -> Job:
    job = client.options(detached=True)
    assert isinstance(job, Job)
    return job


@FIGURES
def test_a_live_client_gets_each_result_once(
    lab: NightLab, kills: int, calls: int, seconds: float, figures: Figures
) -> None:
    lab.open(2)
    heard: list[int] = []
    with lab.client() as client, Killer(lab, kills, seed=11) as killer:
        job = job_of(client)
        futures = []
        for number in range(calls):
            future = job.submit(noted, str(lab.runs), number, seconds)
            future.add_done_callback(lambda _, number=number: heard.append(number))
            futures.append(future)
            if number % 20 == 0:
                time.sleep(0.05)  # work
        job.flush(120)
        killer.wait()
        assert [future.result(120) for future in futures] == [number * number for number in range(calls)]
        assert sorted(heard) == list(range(calls))
    # All were delivered, so nothing is kept any more.
    assert lab.jobs() == []
    assert len(list(lab.runs.iterdir())) == calls
    figures.say("T3", f"broker killed {kills} times during {calls:,} calls: each result came once")


@FIGURES
def test_what_was_flushed_is_there_for_who_resumes(
    lab: NightLab, kills: int, calls: int, seconds: float, figures: Figures
) -> None:
    lab.open(2)
    with lab.client() as client:
        job = job_of(client)
        for number in range(calls):
            job.submit(noted, str(lab.runs), number, seconds)
        job.flush(60)
        lab.kill_broker()
        client.kill()
    lab.broker()
    with Killer(lab, kills, seed=12) as killer, covey.resume(job.job_id, lab.file) as results:
        assert list(results) == [number * number for number in range(calls)]
    assert lab.jobs() == []
    figures.say("T3 resume", f"broker killed {kills - killer.left} times meanwhile: {calls:,} results in order")


def test_a_call_that_has_its_outcome_is_not_run_again(lab: NightLab) -> None:
    lab.open(1)
    with lab.client() as client:
        job = job_of(client)
        for number in range(30):
            job.submit(noted, str(lab.runs), number)
        job.flush(60)
    lab.wait_finished(30)
    for _ in range(3):
        lab.kill_broker()
        lab.broker()
    assert list(covey.resume(job.job_id, lab.file)) == [number * number for number in range(30)]
    assert {path.read_text() for path in lab.runs.iterdir()} == {"r"}


def test_what_runs_while_the_broker_is_away_is_found_again(lab: NightLab) -> None:
    lab.open(2)
    with lab.client() as client:
        job = job_of(client)
        futures = [job.submit(noted, str(lab.runs), number, seconds) for number, seconds in enumerate((0.3, 4.0, 0.0))]
        futures[2].result(30)
        # The first one ends while nobody is there to be told, the second one later.
        lab.kill_broker()
        wait_until((lab.runs / "0").exists)
        lab.broker()
        assert [future.result(60) for future in futures] == [0, 1, 4]
    assert {path.read_text() for path in lab.runs.iterdir()} == {"r"}


def test_what_must_not_run_twice_is_not_begun_again(lab: NightLab) -> None:
    lab.open(1)
    with lab.client() as client:
        job = client.options(detached=True, on_lost="fail")
        futures = [job.submit(noted, str(lab.runs), number, 0.7) for number in range(6)]
        futures[0].result(30)
        lab.kill_broker()
        lab.broker()
        ends = [type(future.exception(60)) for future in futures]
    # No more of them were given out than there are slots; the others have never begun.
    assert ends.count(covey.MaybeRan) == 1
    assert ends.count(type(None)) == 5
    wait_until(lambda: len(list(lab.runs.iterdir())) == 6)
    assert {path.read_text() for path in lab.runs.iterdir()} == {"r"}


def test_a_broker_that_is_told_to_end_keeps_its_jobs(lab: NightLab) -> None:
    lab.broker()
    with lab.client() as client:
        job = job_of(client)
        for number in range(10):
            job.submit(noted, str(lab.runs), number)
    assert lab.now is not None
    lab.now.terminate()
    assert lab.now.wait(20) == 0
    lab.open(1)
    assert list(covey.resume(job.job_id, lab.file)) == [number * number for number in range(10)]


def test_a_hundred_thousand_queued_calls_are_recovered_within_five_seconds(
    lab: NightLab, figures: Figures
) -> None:
    store = Store(str(lab.folder))
    with store.writing():
        job = store.open_job("many", time.time())
        store.learn(job, b"d" * 16, [b"body"])
        store.keep(job, [Call(index, b"d" * 16, manner(), [b"p" * 100]) for index in range(100_000)])
    store.close()
    began = time.monotonic()
    # It says that it serves once all of the journal was looked at.
    lab.broker()
    lasted = time.monotonic() - began
    figures.say("T3 recovery", f"100,000 queued calls after {lasted:.1f} s")
    assert lasted < 5.0
    wait_until(lambda: lab.status()["tasks"]["waiting"] > 0, lab.status)
    assert lab.jobs() == [{"id": "many", "calls": 100_000, "unfinished": 100_000, "unfetched": 0}]
