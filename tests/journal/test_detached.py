# SPDX-License-Identifier: BSD-3-Clause
"""Detached jobs over a real broker: as any view of a client while the client lives, and there for others afterwards."""

import threading
from concurrent.futures import CancelledError, as_completed
from pathlib import Path

import pytest

import covey
from covey.client.job import Job
from nightlab import NightLab, deadly, endless, failing, noted, unsteady
from waiting import wait_until

pytestmark = pytest.mark.slow


def job_of(client: covey.Client, **settings: object) -> Job:
    job = client.options(detached=True, **settings)  # type: ignore[arg-type]
    assert isinstance(job, Job)
    return job


def test_a_live_client_gets_its_results_at_once(lab: NightLab) -> None:
    lab.open()
    with lab.client() as client:
        job = job_of(client)
        futures = [job.submit(pow, number, 2) for number in range(200)]
        assert sorted(future.result(30) for future in as_completed(futures, 30)) == [n * n for n in range(200)]
        with pytest.raises(LookupError, match="no 3") as caught:
            job.submit(failing, 3).result(30)
        assert any("covey: task failing#" in note for note in caught.value.__notes__)
        assert list(job.map(divmod, range(40, 90), [7] * 50)) == [divmod(n, 7) for n in range(40, 90)]
        assert sorted(job.imap_unordered(abs, range(-5, 0))) == [1, 2, 3, 4, 5]
        assert job.options(priority=3).submit(max, [1], [2], key=len).result(30) == [1]
        with pytest.raises(ValueError, match="leave speculate or detached out"):
            job.options(speculate=True)
        large = bytes(range(256)) * 2000
        assert job.submit(lambda data: data[::-1], large).result(30) == large[::-1]
        # What was delivered is not kept any more.
        wait_until(lambda: [j["unfetched"] for j in lab.jobs()] == [0], lab.jobs)
    assert lab.jobs() == []


def test_what_nobody_asked_for_waits_for_resume(lab: NightLab) -> None:
    lab.open()
    with lab.client() as client:
        job = job_of(client)
        futures = [job.submit(noted, str(lab.runs), number) for number in range(20)]
        bad = job.submit(failing, 20)
        asked = [futures[3].result(30), futures[5].result(30)]
        wait_until(lambda: all(future.done() for future in futures) and bad.done())
    assert asked == [9, 25]
    with covey.resume(job.job_id, lab.file) as results:
        assert (results.calls, results.left) == (21, 19)
        left = [n for n in range(20) if n not in (3, 5)]
        assert [next(results) for _ in left] == [n * n for n in left]
        with pytest.raises(LookupError, match="no 20"):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
    with pytest.raises(covey.NoSuchJob, match=f"this broker keeps no job {job.job_id}: it never did, or all of its"):
        covey.resume(job.job_id, lab.file)
    # Each ran once, and nobody ran it again for the second asking.
    assert {path.read_text() for path in lab.runs.iterdir()} == {"r"}


def test_a_resume_that_is_broken_off_goes_on_where_it_was(lab: NightLab) -> None:
    lab.open()
    with lab.client() as client:
        job = job_of(client)
        for number in range(10):
            job.submit(pow, number, 2)
    with covey.resume(job.job_id, lab.file) as results:
        assert [next(results) for _ in range(4)] == [0, 1, 4, 9]
    # The fourth was handed out, and no later one asked for.
    assert list(covey.resume(job.job_id, lab.file)) == [9, 16, 25, 36, 49, 64, 81]


def test_the_later_of_two_resumes_has_the_job(lab: NightLab, tmp_path: Path) -> None:
    lab.open()
    with lab.client() as client:
        job = job_of(client)
        for number in range(3):
            job.submit(noted, str(lab.runs), number)
    with covey.resume(job.job_id, lab.file) as first, covey.resume(job.job_id, lab.file) as second:
        assert list(second) == [0, 1, 4]
        with pytest.raises(covey.NoSuchJob, match=r"taken over|keeps no job"):
            for _ in range(9):
                next(first)


def test_a_live_client_whose_job_is_resumed_elsewhere_is_told_so(lab: NightLab) -> None:
    lab.broker()
    with lab.client() as client:
        job = job_of(client)
        future = job.submit(pow, 2, 5)
        job.flush(30)
        results = covey.resume(job.job_id, lab.file)
        with pytest.raises(covey.NoSuchJob, match=f"the job {job.job_id} was taken over by another program"):
            future.result(30)
        lab.node("worker")
        assert next(results) == 32
        # Dropped in the middle of a wait.
        del results


def test_a_future_that_is_cancelled_is_not_run(lab: NightLab) -> None:
    lab.broker()
    with lab.client() as client:
        job = job_of(client)
        futures = [job.submit(noted, str(lab.runs), number) for number in range(3)]
        job.flush(30)
        assert futures[1].cancel()
        wait_until(lambda: [(j["calls"], j["unfinished"]) for j in lab.jobs()] == [(3, 2)], lab.jobs)
        lab.node("worker")
        assert [futures[0].result(30), futures[2].result(30)] == [0, 4]
        with pytest.raises(CancelledError):
            futures[1].result(0)
    assert sorted(path.name for path in lab.runs.iterdir()) == ["0", "2"]


def test_futures_that_are_not_done_at_the_end_say_where_their_results_are(lab: NightLab) -> None:
    lab.broker()
    with lab.client() as client:
        job = job_of(client)
        future = job.submit(pow, 2, 5)
    with pytest.raises(covey.ClientClosed, match=rf"goes on at the broker: covey\.resume\('{job.job_id}'\)"):
        future.result(0)
    with pytest.raises(covey.ClientClosed):
        job.submit(pow, 2, 5)
    lab.node("worker")
    assert list(covey.resume(job.job_id, lab.file)) == [32]


def test_a_job_may_be_closed_before_its_client(lab: NightLab) -> None:
    lab.open()
    with lab.client() as client:
        with job_of(client) as job:
            job.submit(pow, 2, 5)
        job.close()
        with pytest.raises(covey.ClientClosed, match=f"the job {job.job_id} was closed and takes no calls"):
            job.submit(pow, 2, 5)
        assert client.submit(pow, 2, 3).result(30) == 8
    assert list(covey.resume(job.job_id, lab.file)) == [32]


def test_limits_ride_along(lab: NightLab) -> None:
    lab.open(1)
    with lab.client() as client:
        job = job_of(client, timeout=0.2)
        with pytest.raises(covey.TaskTimeout):
            job.submit(lambda: threading.Event().wait()).result(30)
        with pytest.raises(ValueError, match="sends each alone: leave chunksize and buffersize out"):
            job.map(abs, [1], chunksize=3)
        with pytest.raises(covey.NotPicklable, match=r"argument 1 of abs\(\) cannot be sent"):
            job.submit(abs, threading.Lock())
        with pytest.raises(TypeError, match="not callable"):
            job.submit(7)  # type: ignore[arg-type]


def test_a_call_is_tried_again_after_the_errors_that_were_named(lab: NightLab) -> None:
    lab.open(1)
    with lab.client() as client:
        job = job_of(client, retries=5, retry_on=ConnectionError, retry_wait=0.01)
        assert job.submit(unsteady, str(lab.runs), 0, 3).result(30) == 3
        with pytest.raises(LookupError, match="no 1"):
            job.submit(unsteady, str(lab.runs), 1, 0).result(30)
        # Without a rest it is the slot's own loop that tries again.
        assert job.options(retry_wait=0).submit(unsteady, str(lab.runs), 2, 2).result(30) == 2
    assert [(lab.runs / name).read_text() for name in "012"] == ["rrrr", "r", "rrr"]


def test_a_call_that_must_not_run_twice_does_not(lab: NightLab) -> None:
    lab.open(1)
    with lab.client() as client:
        job = job_of(client, on_lost="fail")
        with pytest.raises(covey.MaybeRan, match="deadly#"):
            job.submit(deadly, str(lab.runs), 0).result(30)
        assert list(job.map(pow, range(20), [2] * 20)) == [number * number for number in range(20)]
        with pytest.raises(covey.PoisonTask):
            job.options(on_lost="retry").submit(deadly, str(lab.runs), 1).result(30)
    assert [(lab.runs / name).read_text() for name in "01"] == ["r", "rrr"]


def test_what_runs_is_ended_by_force(lab: NightLab) -> None:
    lab.open(1)
    with lab.client() as client:
        job = job_of(client)
        future = job.submit(endless, str(lab.runs), 0)
        wait_until((lab.runs / "0").exists)
        assert future.cancel(force=True)
        # Its slot is free for others.
        assert job.submit(pow, 2, 5).result(30) == 32
        assert future.cancelled()
    assert lab.jobs() == []


def test_a_part_of_a_gpu_that_nobody_has_is_waited_for(lab: NightLab) -> None:
    lab.open(1)
    with lab.client() as client:
        job = job_of(client, gpu=0.5)
        future = job.submit(pow, 2, 5)
        job.flush(30)
        assert [(j["calls"], j["unfinished"]) for j in lab.jobs()] == [(1, 1)]
        assert future.cancel()


def test_a_live_client_hears_of_what_is_done_after_a_restart(lab: NightLab) -> None:
    lab.open(1)
    with lab.client() as client:
        job = job_of(client)
        assert [job.submit(pow, number, 2).result(30) for number in range(5)] == [0, 1, 4, 9, 16]
        wait_until(lambda: [j["unfetched"] for j in lab.jobs()] == [0], lab.jobs)
        lab.kill_broker()
        lab.broker()
        # The new broker has kept nothing of these, and numbers from the beginning what it keeps now.
        assert [job.submit(pow, number, 2).result(30) for number in range(3)] == [0, 1, 4]


def test_the_client_s_own_modules_and_initializer_go_along(lab: NightLab) -> None:
    lab.open(1)
    (lab.home / "ownwork.py").write_text("value = 0\ndef prepare(v):\n    global value\n    value = v\n"
                                         "def work(x):\n    return x + value\n")
    program = lab.program(
        f"import sys; sys.path.insert(0, {str(lab.home)!r})\n"
        "import covey, ownwork\n"
        "with covey.Client(FILE, initializer=ownwork.prepare, initargs=(40,)) as client:\n"
        "    job = client.options(detached=True)\n"
        "    job.submit(ownwork.work, 2)\n"
        "    print(job.job_id)\n")
    said, errors = program.communicate(timeout=60)
    assert program.returncode == 0, errors
    assert list(covey.resume(said.strip(), lab.file)) == [42]


def test_who_has_no_journal_is_told_so(lab: NightLab) -> None:
    lab.start("broker", lab.file)
    for there, why in (
        (covey.Client(lab.file), rf"keeps no journal.*covey broker {lab.file} --journal DIR"),
        (covey.Client(max_cpu=1), "this client has none: start one with"),
        (covey.Client(inline=True), "this client has none: start one with"),
    ):
        with there as client, pytest.raises(covey.LinkRefused, match=why):
            client.options(detached=True)
    with pytest.raises(covey.LinkRefused, match="resume: a broker keeps such jobs, and this client has none"):
        covey.resume("abc")


def test_a_journal_that_cannot_be_used_is_a_sentence(lab: NightLab) -> None:
    lab.broker()
    for arguments, why in (
        (["--journal", lab.folder], "is in use by another broker"),
        (["--journal", lab.home / "other", "--connect", lab.file], "a broker with a journal stands at the top"),
        (["--journal", lab.file], "is a file: name a folder"),
    ):
        done = lab.say("broker", lab.home / "second.json", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert why in done.stderr
    assert not (lab.home / "second.json").exists()


def test_a_journal_that_the_loop_has_given_up_comes_back(lab: NightLab) -> None:
    # Its signs of life come too rarely for this broker; the node's do not.
    lab.broker(COVEY_LEASE="1.0", COVEY_BEAT_EVERY="1.8")
    lab.node("worker", COVEY_BEAT_EVERY="0.1")
    with lab.client() as client:
        job = job_of(client)
        for number in range(4):
            assert job.submit(noted, str(lab.runs), number, 1.2).result(30) == number * number
    assert lab.jobs() == []


def test_the_status_has_the_jobs(lab: NightLab) -> None:
    lab.broker()
    with lab.client() as client:
        job = job_of(client)
        for number in range(3):
            job.submit(pow, number, 2)
        job.flush(30)
        assert lab.jobs() == [{"id": job.job_id, "calls": 3, "unfinished": 3, "unfetched": 0}]
        shown = lab.say("status", lab.file).stdout
        head = "job               calls  unfinished  unfetched"
        assert f"{head}\n{job.job_id}      3           3          0" in shown, shown


def test_the_journal_sleeps_while_nothing_happens(lab: NightLab) -> None:
    lab.open(1)
    with lab.client() as client:
        job_of(client).submit(pow, 2, 2).result(30)
    process = lab.now
    assert process is not None

    def turns() -> int:
        """How often its threads were woken."""
        texts = [(task / "status").read_text() for task in Path(f"/proc/{process.pid}/task").iterdir()]
        return sum(int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0]) for text in texts)

    before = turns()
    # Signs of life aside, nobody has anything to do.
    threading.Event().wait(3.0)
    assert turns() - before < 100


@pytest.mark.parametrize("job_id", [None, "", 5])
def test_what_names_no_job_is_refused_before_anybody_is_asked(job_id: object) -> None:
    with pytest.raises(ValueError, match=rf"job_id is the text that .* gave, not {job_id!r}"):
        covey.resume(job_id, "no such file")    # type: ignore[arg-type]


def test_a_job_is_detached_or_not() -> None:
    with covey.Client(inline=True) as client, pytest.raises(ValueError, match="detached is True or False, not 'yes'"):
        client.options(detached="yes")          # type: ignore[call-overload]
