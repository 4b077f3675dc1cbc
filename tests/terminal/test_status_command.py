# SPDX-License-Identifier: BSD-3-Clause
"""`covey status`: what it shows of a broker and of a node, and what wrong inputs get, each in one sentence."""
import contextlib
import re
import socket
import time
from pathlib import Path

import pytest

from laboratory import Lab
from waiting import wait_until

pytestmark = pytest.mark.slow


def test_a_broker_shows_its_nodes(lab: Lab) -> None:
    lab.broker()
    lab.node("left", 1)
    lab.node("right", 2)
    wait_until(lambda: lab.status()["slots"] == 3, lab.status)
    found = lab.status()
    host = socket.gethostname()
    columns = ("name", "host", "slots", "gpus", "running", "state")
    assert [tuple(row[column] for column in columns) for row in found["nodes"]] == [
        ("left", host, 1, 0, 0, "up"), ("right", host, 2, 0, 0, "up")]
    assert (found["name"], found["host"], found["gpus"]) == ("meeting", host, 0)
    assert found["tasks"]["running"] == found["tasks"]["finished"] == 0
    assert found["uptime_s"] >= 0
    done = lab.say("status", COVEY_CONNECTION=str(lab.file))
    assert done.returncode == 0
    assert [line.split()[:6] for line in done.stdout.splitlines()[-2:]] == [
        ["left", host, "1", "0", "0", "up"], ["right", host, "2", "0", "0", "up"]]


def test_the_memory_of_each_machine_and_slot_is_shown(lab: Lab) -> None:
    """What a broker's nodes have is known to them alone; it is asked when somebody asks."""
    lab.broker()
    lab.node("right", 2)
    wait_until(lambda: lab.status()["slots"] == 2, lab.status)
    row, = lab.status()["nodes"]
    assert 0 < row["memory"]["available"] <= row["memory"]["total"]
    assert [slot["number"] for slot in row["own_slots"]] == [1, 2]
    assert all(slot["memory"] > 1 << 20 and slot["pid"] > 1 for slot in row["own_slots"])
    assert re.search(r" up +\d+\.\d of \d+\.\d GiB free +\d+, \d+ MiB\n$", lab.say("status", lab.file).stdout)


def test_a_node_that_listens_shows_its_own_slots(lab: Lab) -> None:
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    assert lab.say("keys", "show-public").returncode == 1
    assert lab.say("keys", "new").returncode == 0
    lab.start("node", "--listen", f"tcp://127.0.0.1:{port}", "--max-cpu", 2, "--max-gpu", 0, "--name", "desk")
    wait_until(lambda: lab.status("--machine", f"127.0.0.1:{port}")["slots"] == 2)
    row, = lab.status("--machine", f"127.0.0.1:{port}")["nodes"]
    assert (row["name"], row["slots"], row["state"]) == ("desk", 2, "up")
    assert [slot["number"] for slot in row["own_slots"]] == [1, 2]
    assert 0 < row["memory"]["available"] <= row["memory"]["total"]
    assert all(slot["running"] == 0 and slot["memory"] > 0 for slot in row["own_slots"])


@pytest.mark.parametrize(("arguments", "said"), [
    (["status"], "name the connection file of a broker, or set COVEY_CONNECTION"),
    (["status", "/nowhere/lab.json"], "the connection file /nowhere/lab.json is not there"),
    (["drain", "left", "--connect", "/nowhere/lab.json"], "the connection file /nowhere/lab.json is not there"),
    (["status", "--machine", "no machine"], "'no machine' is no machine"),
    (["status", "--machine", "127.0.0.1:9"], "key file"),
])
def test_what_is_not_there_is_named(lab: Lab, arguments: list[str], said: str) -> None:
    done = lab.say(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_there_is_said_at_once(lab: Lab) -> None:
    broker = lab.broker()
    broker.terminate()
    assert broker.wait(20) == 0
    begun = time.monotonic()
    done = lab.say("status", lab.file)
    assert time.monotonic() - begun < 5
    assert done.returncode == 1
    assert "cannot be asked: tcp://127.0.0.1:" in done.stderr
    assert "nobody listens there: see that it runs" in done.stderr


def test_a_name_that_is_none_is_said_to_be_unknown(lab: Lab) -> None:
    assert lab.say("keys", "new").returncode == 0
    done = lab.say("status", "--machine", "no-such-host.invalid")
    assert done.returncode == 1
    assert "tcp://no-such-host.invalid:2718: its name cannot be looked up" in done.stderr
    assert done.stderr.count("\n") == 1


def test_one_that_swallows_what_is_sent_does_not_answer(lab: Lab) -> None:
    """As a machine that is switched off does, or a firewall: here a queue of callers that is full."""
    assert lab.say("keys", "new").returncode == 0
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        done = lab.say("status", "--machine", f"127.0.0.1:{full.getsockname()[1]}")
    assert done.returncode == 1
    assert "it does not answer: see that it runs" in done.stderr


def test_another_key_is_named_with_its_fingerprint(lab: Lab, tmp_path: Path) -> None:
    lab.broker()
    other = Lab(tmp_path / "other")
    assert other.say("keys", "new").returncode == 0
    address = lab.file.read_text().split('"tcp://')[1].split('"')[0]
    done = other.say("status", "--machine", address)
    assert done.returncode == 1
    assert "its key differs" in done.stderr or "it refused our key" in done.stderr
    assert "the fingerprint of the key here is" in done.stderr


def test_a_node_may_not_ask(lab: Lab, tmp_path: Path) -> None:
    lab.broker()
    only = tmp_path / "node.json"
    address = lab.file.read_text().split('"tcp://')[1].split('"')[0]
    assert lab.say("keys", "new", only, "--address", f"tcp://{address}", "--role", "node").returncode == 0
    done = lab.say("status", only)
    assert done.returncode == 1
    assert "holds the key of a node, and not of a client" in done.stderr
