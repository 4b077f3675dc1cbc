# SPDX-License-Identifier: BSD-3-Clause
"""The bridge of named pipes, over the local sockets that `multiprocessing.connection` has on POSIX."""

import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing import connection
from pathlib import Path

import pytest

from covey.errors import PlaceTaken
from covey.node.bridge import MOST_PAIRS, PORTION, ClientEnd, NodeEnd
from waiting import wait_until

FAMILY = "AF_UNIX"
DEADLINE = 10.0


class Bridge:
    """Both ends, and the port of a pretended gate."""

    def __init__(self, path: str) -> None:
        self.gate = socket.create_server(("127.0.0.1", 0))
        self.gate.settimeout(DEADLINE)
        self.node = NodeEnd(path, self.gate.getsockname()[1], FAMILY)
        self.client = ClientEnd(path, FAMILY)
        self.node.start()
        self.client.start()

    def call(self) -> socket.socket:
        """A caller at the client's end."""
        host, _, port = self.client.address.removeprefix("tcp://").rpartition(":")
        return socket.create_connection((host, int(port)), timeout=DEADLINE)

    def line(self) -> tuple[socket.socket, socket.socket]:
        """A caller, and what came of it at the gate."""
        near = self.call()
        far, _ = self.gate.accept()
        far.settimeout(DEADLINE)
        return near, far

    def close(self) -> None:
        self.client.close()
        self.node.close()
        self.gate.close()


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    found = Bridge(str(tmp_path / "p"))
    yield found
    found.close()


def read_exactly(stream: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        data = stream.recv(min(size - len(found), 1 << 16))
        assert data, "it ended early"
        found += data
    return bytes(found)


def test_bytes_go_both_ways_in_order(bridge: Bridge) -> None:
    near, far = bridge.line()
    with near, far:
        data = os.urandom(PORTION * 3 + 1)
        for source, sink in ((near, far), (far, near)):
            source.sendall(data)
            assert read_exactly(sink, len(data)) == data


def test_each_caller_is_joined_to_a_connection_of_its_own(bridge: Bridge) -> None:
    with ExitStack() as stack:
        lines = [[stack.enter_context(side) for side in bridge.line()] for _ in range(5)]
        for number, (near, _) in enumerate(lines):
            near.sendall(bytes([number]))
        assert [far.recv(1) for _, far in lines] == [bytes([number]) for number in range(5)]


@pytest.mark.parametrize("dying", [0, 1])
def test_either_side_that_ends_ends_the_other(bridge: Bridge, dying: int) -> None:
    line = bridge.line()
    other = line[1 - dying]
    with other:
        line[dying].close()
        assert other.recv(1) == b""
        wait_until(lambda: bridge.client.pairs == bridge.node.pairs == 0)


def test_the_end_of_the_bridge_ends_both_sides(bridge: Bridge) -> None:
    near, far = bridge.line()
    with near, far:
        bridge.node.close()
        assert near.recv(1) == far.recv(1) == b""


def test_one_who_does_not_read_is_waited_for_and_can_be_left(bridge: Bridge) -> None:
    near, far = bridge.line()
    with near, far:
        near.setblocking(False)
        sent = 0
        # What the kernel buffers is some MiB; the bridge adds a portion at each end, and then it holds the sender back.
        while sent < 1 << 26:
            try:
                sent += near.send(bytes(1 << 16))
            except BlockingIOError:
                if bridge_is_full(near):
                    break
        assert sent < 1 << 26
        bridge.client.close()


def bridge_is_full(near: socket.socket) -> bool:
    """Whether nothing more can be sent for a moment."""
    return not select.select([], [near], [], 0.2)[1]


def test_a_caller_is_hung_up_on_while_nobody_is_at_the_pipe(tmp_path: Path) -> None:
    path = str(tmp_path / "p")
    client = ClientEnd(path, FAMILY)
    client.start()
    host, _, port = client.address.removeprefix("tcp://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as caller:
        assert caller.recv(1) == b""
    client.close()


def test_a_gate_that_is_gone_hangs_up_on_the_pipe(bridge: Bridge, tmp_path: Path) -> None:
    bridge.gate.close()
    with connection.Client(str(tmp_path / "p"), FAMILY) as pipe, pytest.raises(EOFError):
        pipe.recv_bytes()


def test_a_pipe_that_another_has_is_named(bridge: Bridge, tmp_path: Path) -> None:
    with pytest.raises(PlaceTaken, match="choose another name"):
        NodeEnd(str(tmp_path / "p"), 1, FAMILY)


def test_there_are_bounds_for_strangers(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_PAIRS <= 256
    monkeypatch.setattr("covey.node.bridge.MOST_PAIRS", 1)
    near, far = bridge.line()
    with near, far, bridge.call() as second:
        assert second.recv(1) == b""
        near.sendall(b"still")
        assert read_exactly(far, 5) == b"still"


def test_an_end_that_never_began_can_be_closed(tmp_path: Path) -> None:
    end = NodeEnd(str(tmp_path / "p"), 1, FAMILY)
    end.close()
    end.close()
    assert not (tmp_path / "p").exists()
