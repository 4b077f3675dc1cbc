# SPDX-License-Identifier: BSD-3-Clause
"""What a broker says of its places, message by message, and what it makes of what others say of theirs."""

import struct
from collections.abc import Iterator

import pytest

from covey.wire.protocol import KINDS, message
from test_inquiries import ASKER, DOER, PYTHON, Letters, Post

_CREDIT = struct.Struct("<IIQIII")


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    yield made
    made.broker.release()


def slot_hello(kind: int, device: int, pid: int) -> bytes:
    capacity = [int(kind == each) for each in range(3)]
    return struct.pack("<BBHIIiIIIII", DOER, 0, PYTHON, pid, pid, device, *capacity, 100, 1) + b"h"


def offer(*capacity: int) -> bytes:
    return _CREDIT.pack(100, 100, 1 << 20, *capacity)


def offered(letters: Letters, route: bytes) -> tuple[int, ...]:
    """The places in the latest CREDIT."""
    records = [record for kind, records in letters[route] if kind == "CREDIT" for record, _ in records]
    _, _, _, *capacity = _CREDIT.unpack(records[-1])
    return tuple(capacity)


def test_slots_that_come_at_once_are_offered(post: Post) -> None:
    post.join(b"a", ASKER, b"above")
    for pid in range(1, 4):
        post.broker.receive(b"slot%d" % pid, [message(KINDS["HELLO"], [slot_hello(0, -1, pid)])])
    assert offered(post.fetch(), b"a") == (3, 0, 0)


def test_of_several_offers_in_one_message_the_latest_counts(post: Post) -> None:
    post.join(b"d", DOER, b"below")
    before = post.broker.totals()["malformed"]
    post.bring(b"d", "CREDIT", offer(1, 0, 0), offer(2, 1, 0))
    (node,) = post.broker.nodes()
    assert node["capacity"] == [2, 1, 0]
    assert post.broker.totals()["malformed"] == before
