# SPDX-License-Identifier: BSD-3-Clause
"""What a broker says of its places, message by message, and what it makes of what others say of theirs."""

import struct
from collections.abc import Iterator

import pytest

from covey.wire.protocol import KINDS, message
from test_inquiries import ASKER, DOER, PYTHON, Letters, Post

GPU = 1
_CREDIT = struct.Struct("<IIQIIII")
_TASK = struct.Struct("<QIIhBBBBBHIIQ")
_OUTCOME = struct.Struct("<QIIBBH")
ON_GPU = 0b010
ON_CPU = 0b101


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    yield made
    made.broker.release()


def slot_hello(kind: int, device: int, pid: int) -> bytes:
    capacity = [int(kind == each) for each in range(3)]
    return struct.pack("<BBHIIiIIIIIQI", DOER, 0, PYTHON, pid, pid, device, *capacity, 0, 100, 0, 1) + b"h"


def offer(*capacity: int) -> bytes:
    return _CREDIT.pack(100, 100, 1 << 20, *capacity, 0)


def offered(letters: Letters, route: bytes) -> tuple[int, ...]:
    """The places in the latest CREDIT."""
    records = [record for kind, records in letters[route] if kind == "CREDIT" for record, _ in records]
    _, _, _, *capacity, _ = _CREDIT.unpack(records[-1])
    return tuple(capacity)


def test_gpus_are_offered_and_not_the_slots_on_them(post: Post) -> None:
    post.join(b"a", ASKER, b"above")
    assert offered(post.bring(b"1", "HELLO", slot_hello(GPU, 0, 1)), b"a") == (0, 1, 0)
    assert b"a" not in post.bring(b"2", "HELLO", slot_hello(GPU, 0, 2)), "nothing new for those above"
    assert offered(post.bring(b"3", "HELLO", slot_hello(GPU, 1, 3)), b"a") == (0, 2, 0)
    post.bring(b"1", "BYE", struct.pack("<II", 0, 0))
    assert offered(post.bring(b"2", "BYE", struct.pack("<II", 0, 0)), b"a") == (0, 1, 0)


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


def test_the_keeper_is_told_once_of_each_smaller_part_of_a_gpu(post: Post) -> None:
    post.join(b"a", ASKER, b"above")
    post.bring(b"a", "FUNCTION", struct.pack("<II16s", 1, 1, bytes(16)) + b"f")
    wishes = [(ON_GPU, 0), (ON_GPU, 5000), (ON_GPU, 5000), (ON_CPU, 1), (ON_GPU, 7500), (ON_GPU, 2500), (ON_GPU, 9999)]
    for ticket, (needs, share) in enumerate(wishes, 1):
        post.bring(b"a", "TASKS", _TASK.pack(ticket, 1, 0, 0, needs, 0, 0, 0, 0, share, 0, 0, 0))
    assert post.broker.take_orders() == [("share", 5000, b""), ("share", 2500, b"")]


def given(letters: Letters, route: bytes) -> list[tuple[int, int]]:
    """Token and earlier attempts of each task that went there."""
    records = [record for kind, records in letters.get(route, []) if kind == "TASKS" for record, _ in records]
    return [(token, attempts) for token, *_, attempts, _, _, _, _ in map(_TASK.unpack, records)]


def test_attempts_of_brokers_above_count_and_so_do_losses_here(post: Post) -> None:
    post.join(b"a", ASKER, b"above")
    post.bring(b"a", "FUNCTION", struct.pack("<II16s", 1, 1, bytes(16)) + b"f")
    post.bring(b"a", "TASKS", _TASK.pack(9, 1, 0, 0, ON_CPU, 0, 0, 0, 3, 0, 0, 0, 0))
    (never_begun,) = given(post.bring(b"1", "HELLO", slot_hello(0, -1, 1)), b"1")
    post.join(b"n", DOER, b"node", (1, 0, 0))
    (lost,) = given(post.bring(b"1", "BYE", struct.pack("<II", 0, 0)), b"n")
    post.bring(b"2", "HELLO", slot_hello(0, -1, 2))
    (again,) = given(post.bring(b"n", "BYE", struct.pack("<II", 0, 0)), b"2")
    assert [attempts for _, attempts in (never_begun, lost, again)] == [3, 3, 4]
    (outcome,) = [
        records for kind, records in post.bring(b"2", "OUTCOMES", _OUTCOME.pack(again[0], 0, 5, 1, 5, 0))[b"a"]
        if kind == "OUTCOMES"]
    assert _OUTCOME.unpack(outcome[0][0]) == (9, 0, 5, 1, 5, 0), "whoever ran it knows best which attempt it was"
