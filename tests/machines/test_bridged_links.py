# SPDX-License-Identifier: BSD-3-Clause
"""A link of covey over the bridge of Windows' named pipes, with the local sockets of POSIX in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import covey
from covey.client.where import Elsewhere, elsewhere
from covey.keys.secret import Secret
from covey.node.machines import Machine
from covey.node.offer import detect_offer
from covey.node.server import NodeServer, bridge_gate
from waiting import wait_until

pytestmark = pytest.mark.slow

SECRET = Secret(b"s" * 32)


@contextmanager
def serving(pipe: str, secret: Secret = SECRET) -> Iterator[NodeServer]:
    """A node behind a pipe that needs the bridge."""
    server = NodeServer(
        detect_offer(max_cpu=1, max_gpu=0), gate=bridge_gate(pipe, lambda: secret), pipe=pipe, name="beyond")
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextmanager
def calling(pipe: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[covey.Client]:
    """A client for which `machines=["lab7"], named_pipe=True` leads to this pipe."""

    def found(*_: object) -> Elsewhere:
        return Elsewhere((Machine("lab7", pipe),), SECRET.keys().peer("client"))

    monkeypatch.setattr("covey.client.client.elsewhere", found)
    client = covey.Client(machines=["lab7"], named_pipe=True, max_cpu=0)
    try:
        yield client
    finally:
        client.kill()


def test_calls_and_large_arrays_go_over_the_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = pytest.importorskip("numpy")
    pipe = f"pipe:{tmp_path}/p"
    with serving(pipe), calling(pipe, monkeypatch) as client:
        assert list(client.map(abs, range(-500, 0), timeout=30)) == list(range(500, 0, -1))
        assert client.submit(lambda: covey.current().node).result(20) == "beyond"
        there = numpy.random.default_rng(7).random(2_500_000)
        assert numpy.array_equal(client.submit(lambda array: array[::-1], there).result(60), there[::-1])


def test_a_node_is_ended_over_the_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = f"pipe:{tmp_path}/p"
    with serving(pipe) as server:
        with calling(pipe, monkeypatch) as client:
            assert client.submit(abs, -1).result(20) == 1
            client.stop_machines()
            client.shutdown()
        # It returns because it was told to.
        server.run()


def test_a_node_that_comes_later_or_again_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = f"pipe:{tmp_path}/p"
    with calling(pipe, monkeypatch) as client:
        with serving(pipe):
            assert client.submit(abs, -1).result(20) == 1
        with serving(pipe):
            assert client.submit(abs, -2).result(20) == 2


def test_who_has_the_pipe_and_not_the_key_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = f"pipe:{tmp_path}/p"
    with serving(pipe, Secret(b"o" * 32)) as server, calling(pipe, monkeypatch) as client:
        wait_until(lambda: server.node.strangers()[2] > 1)
        with pytest.raises(covey.NobodyThere, match=r"lab7: .*key"):
            client.submit(abs, -1).result(20)


def test_where_pipes_lie_on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from covey import settings
    from covey.client import where

    monkeypatch.setenv("COVEY_KEY_FILE", str(tmp_path / "key"))
    Secret.make(tmp_path / "key")
    piped = where._piped
    monkeypatch.setattr(where, "_piped", lambda machine, name: piped(machine, name, "nt"))
    found = elsewhere(None, ["lab7", "localhost"], None, True, None, settings.read())
    assert [machine.address for machine in found.machines] == [
        r"pipe:\\lab7\pipe\covey-covey", r"pipe:\\.\pipe\covey-covey"]
    assert found.keys is not None, "who may log on needs the key as well"
