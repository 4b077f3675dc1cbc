# SPDX-License-Identifier: BSD-3-Clause
"""What a courier sends, message by message, to a loop that the test plays."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from covey.journal.courier import Courier
from covey.journal.store import Call, Outcome, Store
from covey.wire.protocol import KINDS, message, split
from covey.wire.records import manner, outcome
from waiting import wait_until

DIGEST = b"d" * 16
ONCE, CANCELLED, MAYBE_RAN = 2, 3, 9
LARGE = 1 << 30
_WELCOME = struct.Struct("<IIQIIHHIIIIII")
_TASK = struct.Struct("<QIIhBBBBBHIIQ")


class Scene:
    """A job in a store, its courier, and the loop."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(str(folder / "journal"), durable=False)
        with self.store.writing():
            self.job = self.store.open_job("j", 0.0)
            self.store.learn(self.job, DIGEST, [b"body"])
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.loop = self.context.socket(zmq.ROUTER)
        self.loop.linger = 0
        self.loop.bind("inproc://loop")
        self.couriers: list[Courier] = []

    def courier(self, inherited: int = 0) -> Courier:
        made = Courier(self.context, "inproc://loop", self.job, "j", inherited)
        self.couriers.append(made)
        self.route, _ = self.loop.recv_multipart()
        self.tell(made, "WELCOME", _WELCOME.pack(1, 1000, LARGE, 15_000, 1, 0, 0, 1, 0, 0, 0, 90, 0))
        return made

    def tell(self, courier: Courier, kind: str, *records: bytes) -> list[Outcome]:
        self.loop.send_multipart([self.route, message(KINDS[kind], list(records))])
        wait_until(lambda: courier.socket.poll(0))
        return courier.receive()

    def keep(self, *indexes: int, flags: int = 0, size: int = 1) -> list[tuple[int, int]]:
        with self.store.writing():
            return self.store.keep(
                self.job, [Call(index, DIGEST, manner(flags=flags), [bytes(size)]) for index in indexes])

    def sent(self) -> list[tuple[int, ...]]:
        """The TASKS that have come to the loop: index, attempts and name of each."""
        found: list[tuple[int, ...]] = []
        while self.loop.poll(50):
            kind, records = split(self.loop.recv_multipart()[1])
            if kind == KINDS["TASKS"]:
                fields = [_TASK.unpack(fixed) for fixed, _ in records]
                found += [(one[0] - 1, one[8], one[12]) for one in fields]
        return found

    def indexes(self) -> list[int]:
        return [one[0] for one in self.sent()]

    def close(self) -> None:
        for courier in self.couriers:
            courier.close()
        self.loop.close()
        self.context.term()
        self.store.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def test_what_is_kept_behind_its_turn_is_sent_nevertheless(scene: Scene) -> None:
    courier = scene.courier()
    courier.expect(scene.keep(5, 6))
    courier.feed(scene.store, 0, LARGE)
    assert scene.indexes() == [5, 6]
    # A request to keep that was lost with a link is asked again, later than those behind it.
    scene.tell(courier, "OUTCOMES", *[outcome(index + 1, 1, b"v") for index in (5, 6)])
    courier.expect(scene.keep(0, 7))
    courier.feed(scene.store, 0, LARGE)
    assert sorted(scene.indexes()) == [0, 7], "each once, and what is not committed yet is not sent again"


def test_what_others_cancelled_waits_for_room_and_goes_again(scene: Scene) -> None:
    courier = scene.courier()
    scene.keep(0, 1, size=600)
    courier.feed(scene.store, 0, 1200)
    assert scene.indexes() == [0, 1]
    scene.keep(2, size=700)
    scene.tell(courier, "OUTCOMES", outcome(1, CANCELLED, b""))
    courier.feed(scene.store, 0, 700)
    courier.feed(scene.store, 0, 0)
    assert scene.indexes() == [], "there is no room"
    scene.tell(courier, "OUTCOMES", outcome(2, 1, b"v"))
    # One always may, however little room others have left.
    courier.feed(scene.store, 0, 0)
    assert scene.indexes() == [0]


def test_names_are_the_same_for_the_next_broker(scene: Scene) -> None:
    scene.keep(0, 1)
    scene.courier().feed(scene.store, 0, LARGE)
    first = scene.sent()
    assert [one[:2] for one in first] == [(0, 0), (1, 0)]
    scene.keep(2)
    scene.courier(inherited=2).feed(scene.store, 0, LARGE)
    again = scene.sent()
    # Those that may have begun before say so.
    assert [one[:2] for one in again] == [(0, 1), (1, 1), (2, 0)]
    assert [one[2] for one in again[:2]] == [one[2] for one in first]
    assert len({one[2] for one in again}) == 3


def test_what_must_not_begin_twice_takes_no_more_than_its_places(scene: Scene) -> None:
    courier = scene.courier()
    scene.keep(*range(5), flags=ONCE)
    courier.feed(scene.store, 0, LARGE)
    assert scene.indexes() == []
    courier.feed(scene.store, 2, LARGE)
    assert scene.indexes() == [0, 1]
    assert list(scene.store.given_out()) == [(scene.job, 0), (scene.job, 1)]
    found = scene.tell(courier, "OUTCOMES", outcome(1, 1, b"v"), outcome(2, CANCELLED, b""))
    assert [(one.index, one.status) for one in found] == [(0, 1), (1, MAYBE_RAN)]
    courier.feed(scene.store, 1, LARGE)
    assert scene.indexes() == [2]
    # The loop does not know this link any more, and may have begun it.
    found = scene.tell(courier, "REFUSE", struct.pack("<II", 9, 0))
    assert [(one.index, one.status) for one in found] == [(2, MAYBE_RAN)]
