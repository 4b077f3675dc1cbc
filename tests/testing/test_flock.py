# SPDX-License-Identifier: BSD-3-Clause
"""The flock that is there to be killed: what is killed is dead, what is started serves, and nothing is left of it."""
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.testing import Flock, Proxy
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture
def flock() -> Iterator[Flock]:
    with Flock(nodes=2, slots=1, seed=1) as found:
        yield found


def test_what_is_killed_is_dead_and_what_is_started_serves(flock: Flock) -> None:
    client = flock.client()
    before = flock.slots()
    assert len(before) == 2
    dead = flock.kill_slot()
    wait_until(lambda: len(flock.slots()) == 2 and dead not in flock.slots(), flock.picture)
    left, right = flock.nodes
    assert flock.kill_node(left) is left
    assert flock.nodes == [right]
    assert client.submit(os.getppid).result(30) == right.pid
    flock.restart_broker()
    assert client.submit(os.getppid).result(30) == right.pid
    third = flock.start_node()
    assert flock.stop_node(right) == 0
    assert client.submit(os.getppid).result(30) == third.pid


def test_a_node_behind_a_proxy_is_as_far_as_the_proxy_says(flock: Flock) -> None:
    with Proxy(flock.address()) as proxy:
        far = flock.start_node(through=proxy.address)
        for node in flock.nodes[:2]:
            flock.kill_node(node)
        client = flock.client()
        assert client.submit(os.getppid).result(30) == far.pid
        assert proxy.moved > 1000


def test_settings_are_those_of_its_programs() -> None:
    with Flock(nodes=1, slots=1, crash_limit=1) as flock:
        client = flock.client()
        error = client.submit(os.kill, client.submit(os.getpid).result(30), signal.SIGKILL).exception(30)
        assert "1 slot" in str(error) or "died" in str(error)


def test_a_slip_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="there is no setting 'leese'"):
        Flock(leese=2.0)
    with pytest.raises(ValueError, match="slots=4000 are too many"):
        Flock(slots=4000)


def test_it_ends_with_the_process_that_opened_it(tmp_path: Path) -> None:
    program = """
import os, signal, sys
sys.path[:] = {path!r}
from covey.testing import Flock
flock = Flock(nodes=1, slots=1)
print(flock.broker.pid, *[node.pid for node in flock.nodes], *flock.slots(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", program.format(path=sys.path)], stdout=subprocess.PIPE, timeout=60, check=False,
        text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 3

    def alive() -> list[int]:
        return [pid for pid in pids if _state(pid) not in ("", "Z")]

    wait_until(lambda: not alive(), lambda: f"{alive()} live on")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
