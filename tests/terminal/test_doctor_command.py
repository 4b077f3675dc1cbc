# SPDX-License-Identifier: BSD-3-Clause
"""`covey doctor`: each check by itself, and the whole of it with a broker that is there and one that is not."""
import socket
import sys
from pathlib import Path

import pytest

from covey import __version__
from covey.keys.secret import Secret
from covey.terminal.checks import Check, clock_check, key_check, peer_check, port_check, python_check
from covey.wire.protocol import PROTOCOL
from laboratory import Lab

HERE = {"name": "b", "host": "h", "version": __version__, "protocol": PROTOCOL,
        "python": ".".join(map(str, sys.version_info[:3]))}


def test_a_line_says_whether_something_must_be_done() -> None:
    assert str(Check("port", "2718 is free")).split()[0] == "ok"
    assert str(Check("key", "cannot be used", "chmod 600 k")).split()[0] == "FIX"
    assert str(Check("broker", "\x1b[2J")) == str(Check("broker", " [2J")), "a terminal obeys what it is sent"


def test_old_python() -> None:
    assert python_check((3, 10, 9)).todo
    assert not python_check((3, 11, 0)).todo


@pytest.mark.parametrize(("change", "todo"), [
    ({}, ""),
    ({"version": "0.0.1"}, "use the same covey on both sides"),
    ({"protocol": PROTOCOL + 1}, "use the same covey on both sides"),
    ({"python": "2.7.18"}, "use the same Python minor version"),
    ({"python": None}, "use the same Python minor version"),
])
def test_what_a_broker_says_of_itself(change: dict[str, object], todo: str) -> None:
    assert peer_check({**HERE, **change}).todo.startswith(todo)
    assert bool(peer_check({**HERE, **change}).todo) == bool(todo)


@pytest.mark.parametrize(("ahead", "doubt", "found", "ill"), [
    (0.0002, 0.001, "as the broker's", False),
    (-2.0, 0.001, "the broker's is 2 s behind", False),
    (3600.0, 0.001, "the broker's is 3.6e+03 s ahead", True),
    (6.0, 3.0, "the broker's is 6 s ahead", False),
])
def test_clocks(ahead: float, doubt: float, found: str, ill: bool) -> None:
    check = clock_check(ahead, doubt)
    assert (check.found, bool(check.todo)) == (found, ill)


def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert not key_check(str(path)).todo, "it is made on first use"
    made = Secret.make(path)
    assert key_check(str(path)).found == f"{path}, mode 0600, fingerprint {made.fingerprint}"
    path.chmod(0o644)
    assert "chmod 600" in key_check(str(path)).todo


def test_a_port_that_is_taken_names_who_has_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        check = port_check(taken.getsockname()[1])
    assert "is in use by" in check.found
    assert not check.todo


@pytest.mark.slow
def test_all_of_it_with_a_broker(lab: Lab) -> None:
    lab.broker()
    done = lab.say("doctor", lab.file)
    assert done.returncode == 0, done.stdout
    names = [line.split()[1] for line in done.stdout.splitlines()]
    assert names == ["python", "covey", "pyzmq", "cloudpickle", "numpy", "libzmq", "key", "port", "broker", "clock",
                     "crypto", "CPUs", "GPUs"]
    assert all(line.startswith("ok ") for line in done.stdout.splitlines())
    assert "meeting on" in done.stdout
    assert "as the broker's" in done.stdout
    assert "MB/s" in done.stdout


@pytest.mark.slow
def test_a_broker_that_has_gone_is_an_illness(lab: Lab) -> None:
    broker = lab.broker()
    broker.terminate()
    assert broker.wait(20) == 0
    done = lab.say("doctor", COVEY_CONNECTION=str(lab.file))
    assert done.returncode == 1
    ill, = (line for line in done.stdout.splitlines() if line.startswith("FIX"))
    assert "nobody listens there" in ill
    assert done.stderr == ""
