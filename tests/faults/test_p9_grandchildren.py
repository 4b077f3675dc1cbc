# SPDX-License-Identifier: BSD-3-Clause
"""P9: what a task has started and left running goes with its slot, wherever it has hidden."""
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import covey
import relatives
from covey.link.kin import adopt_orphans, kill_kin
from relatives import alive, all_of_them
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(params=["1", "0"], ids=["native", "on pyzmq"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[covey.Client]:
    monkeypatch.setenv("COVEY_NATIVE", request.param)
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
    with covey.Client(max_cpu=1) as client:
        yield client


def wait_gone(pids: list[int]) -> None:
    wait_until(
        lambda: not any(alive(pid) for pid in pids),
        lambda: f"still there: {[way.__name__ for way, pid in zip(relatives.WAYS, pids, strict=True) if alive(pid)]}",
    )


def test_they_live_as_long_as_the_slot(client: covey.Client) -> None:
    pids = client.submit(all_of_them).result(60)
    assert client.submit(pow, 2, 3).result(60) == 8
    assert all(alive(pid) for pid in pids), "a task may leave something for the next one to use"
    client.shutdown()
    wait_gone(pids)


def test_they_die_with_a_slot_that_is_killed(client: covey.Client, tmp_path: Path) -> None:
    pids = client.submit(all_of_them).result(60)
    slot = client.submit(os.getpid).result(60)
    os.kill(slot, signal.SIGKILL)
    wait_gone(pids)
    assert client.submit(pow, 2, 3).result(60) == 8


def test_they_die_with_a_task_that_is_out_of_time(client: covey.Client, tmp_path: Path) -> None:
    note = tmp_path / "pids"

    def start_and_stay(note: str) -> None:
        all_of_them(note)
        threading.Event().wait()

    with pytest.raises(covey.TaskTimeout):
        client.options(timeout=3).submit(start_and_stay, str(note)).result(60)
    wait_gone([int(pid) for pid in note.read_text().split()])


def test_they_die_with_a_slot_that_leaves_as_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    with covey.Client(max_cpu=1, max_tasks_per_slot=1) as client:
        pids = client.submit(all_of_them).result(60)
        wait_gone(pids)


def test_those_of_another_slot_stay(tmp_path: Path) -> None:
    with covey.Client(max_cpu=2) as client:
        first, second = covey.distribute(lambda _: (os.getpid(), relatives.daemon()), executor=client)(None)
        os.kill(first[0], signal.SIGKILL)
        wait_until(lambda: not alive(first[1]))
        assert alive(second[1])
    wait_until(lambda: not alive(second[1]))


def test_a_flock_inside_a_task_goes_with_the_task(client: covey.Client, tmp_path: Path) -> None:
    note = tmp_path / "pids"

    def nest(note: str) -> None:
        if os.path.exists(note):
            return
        # The run directory of a flock that is killed stays, for a while.
        tempfile.tempdir = os.path.join(tempfile.gettempdir(), "nest")
        os.mkdir(tempfile.tempdir)
        inner = covey.Client(max_cpu=1)
        inner.submit(all_of_them, note).result(60)
        threading.Event().wait()                # work

    outer = client.submit(os.getpid).result(60)
    future = client.submit(nest, str(note))
    wait_until(note.exists)
    os.kill(outer, signal.SIGKILL)
    wait_gone([int(pid) for pid in note.read_text().split()])
    future.result(60)
    shutil.rmtree(os.path.join(tempfile.gettempdir(), "nest"))


def test_nobody_else_is_touched() -> None:
    pid = relatives.daemon()
    try:
        assert kill_kin(b"a mark that nobody has") == 0
        assert alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid))


def test_the_mark_is_found_wherever_it_stands_in_a_long_environment() -> None:
    import subprocess

    for before in (0, 10, 16_384 - 12, 16_384 - 5, 16_384, 40_000):
        process = subprocess.Popen(relatives.SLEEP, env={"A": "x" * before, "B": "the mark", "C": "y" * 100})
        wait_until(lambda process=process: b"the mark" in Path(f"/proc/{process.pid}/environ").read_bytes())
        assert kill_kin(b"B=the mark") >= 1
        assert process.wait(20) == -signal.SIGKILL


def test_orphans_may_be_adopted() -> None:
    if not adopt_orphans(True):
        pytest.skip("this system has no subreapers")
    try:
        pid = relatives.daemon()
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[0] == pid, "it is our child now"
    finally:
        adopt_orphans(False)
