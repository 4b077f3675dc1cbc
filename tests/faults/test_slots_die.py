# SPDX-License-Identifier: BSD-3-Clause
"""Slots that die: under a task, between tasks, from outside, with children; and what everybody else notices."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import covey
from covey.node.local import LocalNode
from waiting import wait_until

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def client() -> Iterator[covey.Client]:
    with covey.Client(max_cpu=2) as client:
        yield client


def node_of(client: covey.Client) -> LocalNode:
    assert client._node is not None
    return client._node


def up(client: covey.Client) -> list[int]:
    """The slots' processes, once all that run now are connected."""
    node = node_of(client)
    wait_until(
        lambda: {entry["pid"] for entry in node.slots()} == set(node.pids()) and len(node.pids()) == 2,
        lambda: f"connected: {node.slots()}; running: {node.pids()}; {node.totals()}",
    )
    return node.pids()


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, or before it is read
        return False


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    import ctypes

    ctypes.string_at(0)


def once(how: Callable[[], None], mark: Path) -> int:
    """Dies the first time it runs."""
    if not mark.exists():
        mark.touch()
        how()
    return os.getpid()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (kill_me, "was killed by SIGKILL"),
        (segfault, "was killed by SIGSEGV in string_at (ctypes/__init__.py"),
        (os.abort, "was killed by SIGABRT"),
        (lambda: os._exit(0), "exited with code 0"),
        (lambda: exit(3), "exited with code 3"),
    ],
    ids=["kill", "segfault", "abort", "_exit", "exit"],
)
def test_the_third_death_under_a_task_ends_it_and_names_every_attempt(
    client: covey.Client, how: Callable[[], None], said: str
) -> None:
    others = [client.submit(pow, number, 2) for number in range(200)]
    with pytest.raises(covey.PoisonTask) as caught:
        client.submit(how).result(30)
    attempts = caught.value.attempts
    assert len(attempts) == 3
    assert len(set(attempts)) == 3, "three processes died"
    assert all(said in attempt for attempt in attempts)
    assert [future.result(30) for future in others] == [number**2 for number in range(200)]


def test_a_task_whose_slot_died_runs_again(client: covey.Client, tmp_path: Path) -> None:
    future = client.submit(once, kill_me, tmp_path / "mark")
    assert future.result(30) in node_of(client).pids()


def test_nobody_is_blamed_for_a_slot_that_dies_idle(client: covey.Client) -> None:
    first, second = up(client)
    blamed = node_of(client).totals()["crashes"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: first not in node_of(client).pids() and len(up(client)) == 2)
    assert second in node_of(client).pids()
    assert node_of(client).totals()["crashes"] == blamed
    assert [client.submit(pow, 2, number).result(30) for number in range(20)] == [2**number for number in range(20)]


def test_what_waited_at_a_dead_slot_is_not_blamed(client: covey.Client, tmp_path: Path) -> None:
    blamed = node_of(client).totals()["crashes"]
    before = [client.submit(abs, -number) for number in range(50)]
    fatal = client.submit(once, kill_me, tmp_path / "mark")
    behind = [client.submit(abs, -number) for number in range(50)]
    assert fatal.result(30) > 0
    assert [future.result(30) for future in before + behind] == [*range(50), *range(50)]
    assert node_of(client).totals()["crashes"] == blamed + 1


def test_under_steady_fire_every_task_ends_once(client: covey.Client) -> None:
    over = threading.Event()

    def fire() -> None:
        # As fast as slots come up again, however fast that is here.
        while not over.is_set():
            kill(up(client)[0])

    def kill(target: int) -> None:
        os.kill(target, signal.SIGKILL)
        wait_until(lambda: target not in node_of(client).pids())

    futures = [client.submit(sum, range(100_000)) for _ in range(400)]
    gunner = threading.Thread(target=fire)
    gunner.start()
    try:
        ends = [future.exception(60) for future in futures]
    finally:
        over.set()
        gunner.join()
    assert {type(end) for end in ends} <= {type(None), covey.PoisonTask}
    assert ends.count(None) > 380


def test_what_a_task_started_dies_with_its_slot(client: covey.Client, tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def start_and_die(note: Path) -> None:
        if not note.exists():
            child = subprocess.Popen(["sleep", "1000"])
            note.write_text(str(child.pid))
            os.kill(os.getpid(), signal.SIGKILL)

    client.submit(start_and_die, note).result(30)
    wait_until(lambda: not alive(int(note.read_text())))


def test_a_task_that_runs_too_long_is_stopped_wherever_it_is(client: covey.Client) -> None:
    before = up(client)
    stubborn = client.options(timeout=0.2).submit(eval, "[__import__('signal').signal(15, 1), pow(7, 10**9)]")
    with pytest.raises(covey.TaskTimeout):
        stubborn.result(30)
    assert client.submit(pow, 2, 3).result(30) == 8
    wait_until(lambda: len(set(up(client)) - set(before)) == 1)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_one_slot(client: covey.Client, signal_number: int) -> None:
    first, _ = up(client)
    os.kill(first, signal_number)
    assert [client.submit(abs, -1).result(30) for _ in range(50)] == [1] * 50
    assert (first in node_of(client).pids()) == (signal_number == signal.SIGINT)
