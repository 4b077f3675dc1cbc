# SPDX-License-Identifier: BSD-3-Clause
"""A link ends and another begins: what ran meanwhile is not run again (P7, P10)."""

import json
import os
from pathlib import Path

import pytest

from hosts import Lab
from waiting import wait_until

pytestmark = pytest.mark.slow


def runs_of(folder: Path) -> int:
    """How often `held` has begun."""
    return len((folder / "runs").read_text().splitlines()) if (folder / "runs").exists() else 0


def held(folder: str) -> str:
    """Says that it runs, then waits at a pipe, and gives what it is given there."""
    with open(os.path.join(folder, "runs"), "a") as file:
        file.write("one\n")
    with open(os.path.join(folder, "pipe")) as pipe:
        return pipe.read()


def clients_of(lab: Lab, path: str) -> object:
    status = lab.alpha.covey("status", path, "--json")
    assert status.wait_end() == 0, status.said
    return json.loads(status.printed)["clients"]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("done_meanwhile", [False, True])
def test_p10_what_ran_goes_on_when_its_broker_is_killed(
    lab: Lab, tmp_path: Path, pipe: Path, done_meanwhile: bool
) -> None:
    broker, path = lab.broker(lab.alpha)
    node = lab.node_of(lab.beta, path)
    with lab.gamma.client(path) as client:
        future = client.submit(held, str(tmp_path))
        wait_until(lambda: runs_of(tmp_path) == 1, client.__repr__)
        # Something else waits: it is not lost, either.
        others = [client.submit(abs, -number) for number in range(100)]
        broker.kill()
        if done_meanwhile:
            # An outcome that is sent before the node knows is lost with the link, and then the task runs again.
            node.wait_said("is not there")
            pipe.write_text("done")
        broker = lab.alpha.covey("broker", path)
        broker.wait_said("covey broker: at")
        if not done_meanwhile:
            pipe.write_text("done")
        assert future.result(30) == "done", node.said
        assert [other.result(30) for other in others] == list(range(100))
    assert runs_of(tmp_path) == 1


def test_a_client_that_was_killed_leaves_nothing_that_another_waits_for(lab: Lab, tmp_path: Path, pipe: Path) -> None:
    _, path = lab.broker(lab.alpha)
    lab.node_of(lab.beta, path)
    caller = lab.gamma.script(f"""
import covey, os, signal
def held(folder):
    open(os.path.join(folder, "runs"), "a").write("one\\n")
    return open(os.path.join(folder, "pipe")).read()
if __name__ == "__main__":
    with covey.Client({path!r}) as client:
        futures = [client.submit(held, {str(tmp_path)!r}) for _ in range(50)]
        client.flush()
        print("asked", flush=True)
        signal.pause()
""")
    caller.wait_printed("asked")
    with lab.alpha.client(path) as client:
        wait_until(lambda: runs_of(tmp_path) == 1, client.__repr__)
        mine = client.submit(abs, -1)
        caller.kill()
        wait_until(lambda: clients_of(lab, path) == 1, client.__repr__)
        pipe.write_text("done")
        # What ran has ended; the other 49 are nobody's.
        assert mine.result(20) == 1
        assert client.submit(abs, -2).result(20) == 2
    assert runs_of(tmp_path) == 1
