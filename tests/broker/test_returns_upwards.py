# SPDX-License-Identifier: BSD-3-Clause
"""What a loop says to a broker that it dials, over a real socket: it may have again what any before it brought."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from covey.broker.loop import Loop
from covey.settings import Settings
from covey.testing import wait_until
from covey.wire.protocol import KINDS, message, split
from test_inquiries import DOER, NAMES, PYTHON
from test_loops import DEADLINE, Station, hear, say

_TASK = struct.Struct("<QIIhBBBBBHIIQ")
_WELCOME = struct.Struct("<IIQIIHHIIIIII")
_NAME = struct.Struct("<Q")
NAME = 0x1234
FUNCTION = struct.pack("<II16s", 1, 1, bytes(16)) + b"f"


class Above:
    """A broker that is dialled, by hand; it may end and begin again at its address."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: str) -> None:
        self._context = context
        self.address = address
        self._socket: zmq.Socket[bytes] | None = None
        self._route = b""

    def begin(self) -> None:
        """Waits to be dialled."""
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.bind(self.address)
        self.hear("HELLO")
        self.say("WELCOME", _WELCOME.pack(0, 100, 1 << 20, 15_000, 1, PYTHON, 0, 0, 0, 0, 0, 0, 5) + b"above")

    def end(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)

    def hear(self, kind: str) -> list[tuple[bytes, bytes]]:
        assert self._socket is not None
        others = []
        while self._socket.poll(int(DEADLINE * 1000)):
            self._route, letter = self._socket.recv_multipart()[:2]
            number, records = split(letter)
            if NAMES[number] == kind:
                return records
            others.append(NAMES[number])
        raise AssertionError(f"no {kind} within {DEADLINE} s, only {others}")

    def say(self, kind: str, *records: bytes) -> None:
        assert self._socket is not None
        self._socket.send_multipart([self._route, message(KINDS[kind], list(records))])


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    address = f"ipc://{tmp_path}/home"
    made = Station(Loop(Settings(), address), address)
    made.thread.start()
    yield made
    made.close()


@pytest.fixture
def above(station: Station, tmp_path: Path) -> Iterator[Above]:
    made = Above(station.context, f"ipc://{tmp_path}/above")
    assert isinstance(station.loop, Loop)
    station.loop.dial(made.address, False)
    made.begin()
    yield made
    made.end()


def test_a_broker_that_begins_again_is_told_what_runs(station: Station, above: Above) -> None:
    node = station.join(DOER, b"node", 1)
    above.say("FUNCTION", FUNCTION)
    above.say("TASKS", _TASK.pack(9, 1, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, NAME) + b"x")
    hear(node, "TASKS")
    above.end()
    above.begin()
    assert [_NAME.unpack(record) for record, _ in above.hear("HELD")] == [(NAME,)]
    above.say("FUNCTION", FUNCTION)
    above.say("TASKS", _TASK.pack(77, 1, 1, 0, 7, 0, 0, 0, 1, 0, 0, 0, NAME) + b"x")
    wait_until(lambda: station.loop.totals()["adopted"] == 1, station.loop.totals)


def test_claims_are_passed_on_upwards(station: Station, above: Above) -> None:
    node = station.join(DOER, b"node", 1)
    say(node, "HELD", _NAME.pack(NAME))
    assert [_NAME.unpack(record) for record, _ in above.hear("HELD")] == [(NAME,)]
    above.end()
    above.begin()
    assert [_NAME.unpack(record) for record, _ in above.hear("HELD")] == [(NAME,)]
