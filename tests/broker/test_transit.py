# SPDX-License-Identifier: BSD-3-Clause
"""What is large between machines travels in pieces: what goes between them, and what comes only behind them."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from covey.broker.loop import Loop
from covey.settings import Settings
from covey.testing import wait_until
from covey.wire.protocol import KINDS, message, split
from test_inquiries import ASKER, DOER, NAMES, PYTHON
from test_loops import DEADLINE, Station, hear, say

_TASK = struct.Struct("<QIIhBBBBBHIIQ")
_OUTCOME = struct.Struct("<QIIBBH")
_SIZE = struct.Struct("<Q")
EXTRA = 1
FORCE = 1
FUNCTION = struct.pack("<II16s", 1, 1, bytes(16)) + b"f"
PIECE = 256 << 10
LARGE = bytes(range(256)) * (12 << 10)      # 3 MiB: more than may be under way at first


class Node:
    """A machine at the gate, by hand; it says TAKEN only when it is told to."""

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", address: str, server: bytes, own: tuple[bytes, bytes]
    ) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.curve_serverkey = server
        self.socket.curve_publickey, self.socket.curve_secretkey = own
        self.socket.connect(address)
        hello = struct.pack("<BBHIIiIIIIIQI", DOER, 1, PYTHON, 7, 0, -1, 8, 0, 0, 0, 100, 0, 4) + b"node"
        say(self.socket, "HELLO", hello)
        hear(self.socket, "WELCOME")
        # Frames of the message that comes in pieces: their sizes, and the bytes so far.
        self.sizes: list[int] = []
        self.bytes = b""
        self._untold = 0

    def letter(self) -> tuple[str, list[tuple[bytes, bytes]]]:
        """The next letter; of pieces, the bytes are kept."""
        assert self.socket.poll(int(DEADLINE * 1000)), f"nothing comes within {DEADLINE} s"
        head, *more = self.socket.recv_multipart()
        kind, records = split(head, len(more))
        if NAMES[kind] == "PIECES":
            assert sum(map(len, more)) <= PIECE
            self.sizes += [_SIZE.unpack(record)[0] for record, _ in records]
            self.bytes += b"".join(more)
            self._untold += sum(map(len, more))
        return NAMES[kind], records

    def kinds(self, count: int) -> list[str]:
        """Of the next letters."""
        return [self.letter()[0] for _ in range(count)]

    def take(self) -> None:
        """Says that it has what has come."""
        say(self.socket, "TAKEN", _SIZE.pack(self._untold))
        self._untold = 0

    def whole(self) -> list[str]:
        """Takes pieces until the message is there; the kinds of what has come with them."""
        found: list[str] = []
        while not self.sizes or len(self.bytes) < sum(self.sizes):
            self.take()
            found += self.kinds(1)
        return [kind for kind in found if kind != "PIECES"]

    def read(self) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """The message that the pieces make: its records, and the frames behind."""
        frames, at = [], 0
        for size in self.sizes:
            frames.append(self.bytes[at : at + size])
            at += size
        assert at == len(self.bytes)
        self.sizes, self.bytes = [], b""
        return split(frames[0], len(frames) - 1)[1], frames[1:]


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    address = f"ipc://{tmp_path}/home"
    station = Station(Loop(Settings(), address), address)
    yield station
    station.close()


@pytest.fixture
def node(station: Station) -> Iterator[Node]:
    assert isinstance(station.loop, Loop)
    server, secret = zmq.curve_keypair()
    own = zmq.curve_keypair()
    allowed = {z85.decode(own[0]): "node"}
    (address,) = station.loop.open_gate(["tcp://127.0.0.1:*"], z85.decode(secret), allowed)
    station.thread.start()
    made = Node(station.context, address, server, own)
    yield made
    made.socket.close(linger=0)


class Asker:
    """Who has tasks done there; what it says has been heard when `say` returns."""

    def __init__(self, station: Station) -> None:
        self.socket = station.join(ASKER, b"above")
        self._totals = station.loop.totals
        self.say("FUNCTION", FUNCTION)

    def say(self, kind: str, record: bytes, *frames: bytes) -> None:
        before = self._totals()["messages_in"]
        self.socket.send_multipart([message(KINDS[kind], [record], EXTRA if frames else 0), *frames])
        wait_until(lambda: self._totals()["messages_in"] > before, self._totals)


@pytest.fixture
def asker(station: Station, node: Node) -> Asker:
    return Asker(station)


def task(ticket: int, parcel: bytes = b"x") -> bytes:
    return _TASK.pack(ticket, 1, len(parcel), 0, 7, 0, 0, 0, 0, 0, 0, 0, ticket) + parcel


def test_small_tasks_go_between_the_pieces(node: Node, asker: Asker) -> None:
    asker.say("TASKS", task(1, LARGE))
    asker.say("TASKS", task(2))
    assert node.kinds(4) == ["FUNCTION", "PIECES", "PIECES", "TASKS"], "so much is under way at first"
    asker.say("TASKS", task(3))
    assert node.kinds(1) == ["TASKS"]
    assert node.whole() == []
    ((record, parcel),), more = node.read()
    assert (_TASK.unpack(record)[-1], parcel, more) == (1, LARGE, [])


def test_a_cancel_comes_behind_its_task_and_not_behind_others(node: Node, asker: Asker) -> None:
    asker.say("TASKS", task(1, LARGE))
    asker.say("TASKS", task(2))
    assert node.kinds(3) == ["FUNCTION", "PIECES", "PIECES"]
    kind, ((second, _),) = node.letter()
    assert kind == "TASKS"
    asker.say("CANCEL", struct.pack("<QI", 1, FORCE))
    asker.say("CANCEL", struct.pack("<QI", 2, FORCE))
    kind, ((cancelled, _),) = node.letter()
    assert (kind, cancelled[:8]) == ("CANCEL", second[:8])
    assert node.whole() == []
    first = node.read()[0][0][0]
    kind, ((cancelled, _),) = node.letter()
    assert (kind, cancelled[:8]) == ("CANCEL", first[:8])


def test_large_ones_come_one_after_the_other(node: Node, asker: Asker) -> None:
    frames = [LARGE, b"", LARGE[:100]]
    asker.say("TASKS", task(1, LARGE))
    asker.say("TASKS", task(2, b"small"), *frames)
    read = []
    for _ in range(2):
        node.whole()
        read.append(node.read())
    assert [(records[0][1], more) for records, more in read] == [(LARGE, []), (b"small", frames)]


def test_what_needs_a_large_function_comes_behind_it(node: Node, asker: Asker) -> None:
    asker.say("FUNCTION", struct.pack("<II16s", 2, len(LARGE), b"\1" * 16) + LARGE)
    asker.say("TASKS", struct.pack("<QIIhBBBBBHIIQ", 1, 2, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1) + b"x")
    assert node.whole() == []
    assert node.kinds(1) == ["TASKS"]


def test_a_farewell_comes_behind_everything(station: Station, node: Node, asker: Asker) -> None:
    asker.say("TASKS", task(1, LARGE))
    station.loop.stop_nodes()
    assert node.kinds(3) == ["FUNCTION", "PIECES", "PIECES"]
    asker.say("TASKS", task(2))
    assert node.whole() == []
    assert node.kinds(2) == ["STOP", "TASKS"]


def test_what_comes_in_pieces_is_one_message(node: Node, asker: Asker) -> None:
    asker.say("TASKS", task(1))
    ((record, _),) = hear(node.socket, "TASKS")
    outcome = message(KINDS["OUTCOMES"], [_OUTCOME.pack(_TASK.unpack(record)[0], 0, 5, 1, 1, 0)], EXTRA)
    sizes = [_SIZE.pack(len(outcome)), _SIZE.pack(len(LARGE))]
    node.socket.send_multipart([message(KINDS["PIECES"], sizes, EXTRA), outcome, LARGE[:PIECE]])
    for at in range(PIECE, len(LARGE), PIECE):
        node.socket.send_multipart([message(KINDS["PIECES"], [], EXTRA), LARGE[at : at + PIECE]])
    kind, frames = "", [b""]
    while kind != "OUTCOMES":
        assert asker.socket.poll(int(DEADLINE * 1000))
        frames = asker.socket.recv_multipart()
        kind = NAMES[split(frames[0], len(frames) - 1)[0]]
    assert frames[1:] == [LARGE]
    told = 0
    while told < len(outcome) + len(LARGE):
        told += sum(_SIZE.unpack(record)[0] for record, _ in hear(node.socket, "TAKEN"))


@pytest.mark.parametrize("letters", [
    [([], [b"nobody knows what of"])],
    [([10], [bytes(11)])],
    [([1 << 63, 1 << 63], [b"x"])],
    [([10], [bytes(5)]), ([10], [bytes(5)])],
    [([10], [])],
    [([10], [bytes(5)]), ([], [bytes(6)])],
    # Neither a message of covey's, nor pieces in pieces.
    [([16], [bytes(16)])],
    [([16], [message(KINDS["PIECES"], [], EXTRA)])],
], ids=str)
def test_pieces_that_do_not_fit_are_a_fault(
    station: Station, node: Node, asker: Asker, letters: list[tuple[list[int], list[bytes]]]
) -> None:
    for sizes, frames in letters:
        node.socket.send_multipart([message(KINDS["PIECES"], [_SIZE.pack(size) for size in sizes], EXTRA), *frames])
    wait_until(lambda: station.loop.totals()["malformed"] == 1, station.loop.totals)
    # One fault is forgiven.
    asker.say("TASKS", task(1))
    hear(node.socket, "TASKS")
