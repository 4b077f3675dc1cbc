# SPDX-License-Identifier: BSD-3-Clause
"""`covey drain`, and SIGTERM to a node: what runs is finished, what waits goes to others, the process ends with 0."""
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.client.client import Client
from laboratory import Lab
from waiting import wait_until

pytestmark = pytest.mark.slow


def hold(place: str, number: int) -> tuple[int, str]:
    """Runs until the file `go` is there, and says where it ran."""
    Path(place, f"began-{number}").touch()
    while not Path(place, "go").exists():
        time.sleep(0.005)  # work
    return number, os.environ["COVEY_TEST_NODE"]


@pytest.fixture
def client(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("HOME", str(lab.home))
    lab.broker()
    lab.node("left", 1, COVEY_TEST_NODE="left", COVEY_GRACE="15")
    lab.wait_for_nodes(left="up")
    with Client(str(lab.file)) as made:
        yield made


def running(lab: Lab) -> dict[str, int]:
    return {row["name"]: row["running"] for row in lab.status()["nodes"]}


def began(lab: Lab) -> int:
    return len(list(lab.home.glob("began-*")))


@pytest.mark.parametrize("way", ["drain", "SIGTERM"])
def test_what_runs_is_finished_and_what_waits_goes_to_others(lab: Lab, client: Client, way: str) -> None:
    left = lab.processes[1]
    futures = [client.submit(hold, str(lab.home), number) for number in range(4)]
    wait_until(lambda: began(lab) == 1)
    assert running(lab) == {"left": 1}
    assert lab.status()["tasks"]["running"] == 1
    if way == "drain":
        done = lab.say("drain", "left", "--connect", lab.file)
        assert done.stdout == "left gets no more tasks, finishes the 1 that run there, and leaves\n", done.stderr
    else:
        left.terminate()
    lab.wait_for_nodes(left="draining")
    lab.node("right", 1, COVEY_TEST_NODE="right")
    wait_until(lambda: began(lab) == 2, lambda: lab.status())
    assert left.poll() is None, "what runs there was not waited for"
    (lab.home / "go").touch()
    assert [future.result(20) for future in futures] == [(0, "left"), (1, "right"), (2, "right"), (3, "right")]
    assert left.wait(20) == 0
    lab.wait_for_nodes(right="up")
    assert lab.status()["tasks"]["finished"] == 4


def test_an_idle_node_leaves_at_once(lab: Lab, client: Client) -> None:
    left = lab.processes[1]
    done = lab.say("drain", "left", COVEY_CONNECTION=str(lab.file))
    assert (done.returncode, done.stderr) == (0, "")
    assert left.wait(20) == 0
    lab.wait_for_nodes()


def test_an_unknown_node_is_answered_with_those_there(lab: Lab, client: Client) -> None:
    done = lab.say("drain", "middle", "--connect", lab.file)
    assert done.returncode == 1
    assert done.stderr == "covey drain: there is no node 'middle' at meeting; the nodes there: left\n"
