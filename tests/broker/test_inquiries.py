# SPDX-License-Identifier: BSD-3-Clause
"""Questions, answers and farewells at a broker, message by message: who is heard, and who gets which answer."""
import struct
import sys
from collections.abc import Iterator

import pytest

from covey.broker.broker import Broker
from covey.settings import Settings
from covey.wire.protocol import KINDS, message, split

ASKER, DOER = 1, 2
# By route: the kind of each letter, and its records.
Letters = dict[bytes, list[tuple[str, list[tuple[bytes, bytes]]]]]
NAMES = {number: name for name, number in KINDS.items()}
PYTHON = sys.version_info[0] << 8 | sys.version_info[1]


class Post:
    """A broker, and the letters that it sends, by route."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.broker = Broker(settings or Settings())

    def bring(self, route: bytes, kind: str, *records: bytes) -> Letters:
        """A message from there, and what is sent then."""
        self.broker.receive(route, [message(KINDS[kind], list(records))])
        return self.fetch()

    def fetch(self) -> Letters:
        found: Letters = {}
        for route, frames in self.broker.pump()[1]:
            kind, records = split(bytes(frames[0]))
            # Signs of life come when it is time for them.
            if NAMES[kind] != "BEAT":
                found.setdefault(route, []).append((NAMES[kind], records))
        assert self.broker.validate() == 0
        return found

    def join(
        self, route: bytes, role: int, name: bytes, capacity: tuple[int, int, int] = (0, 0, 0), session: int = 0
    ) -> None:
        assert self.greet(route, role, name, capacity, session)[route][0][0] == "WELCOME"

    def greet(
        self, route: bytes, role: int, name: bytes, capacity: tuple[int, int, int] = (0, 0, 0), session: int = 0
    ) -> Letters:
        hello = struct.pack("<BBHIIiIIIIIQI", role, 1, PYTHON, 7, 0, -1, *capacity, 0, 100, session, len(name)) + name
        return self.bring(route, "HELLO", hello)

    def kinds(self, letters: Letters, route: bytes) -> list[str]:
        return [kind for kind, _ in letters.get(route, [])]


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    yield made
    made.broker.release()


def text(serial: int, words: bytes) -> bytes:
    return struct.pack("<II", serial, len(words)) + words


def query_of(post: Post) -> int:
    (verb, handle, words), = post.broker.take_orders()
    assert (verb, words) == ("query", b"status")
    return handle


def test_an_asker_gets_the_answer_to_its_question(post: Post) -> None:
    post.join(b"a", ASKER, b"above")
    post.bring(b"a", "QUERY", text(0xFFFFFFFF, b"status"))
    post.broker.answer(query_of(post), "{}")
    assert post.fetch() == {b"a": [("ANSWER", [(struct.pack("<II", 0xFFFFFFFF, 2), b"{}")])]}


def test_an_answer_to_one_who_left_goes_to_nobody(post: Post) -> None:
    post.join(b"a", ASKER, b"above")
    post.bring(b"a", "QUERY", text(1, b"status"))
    handle = query_of(post)
    post.bring(b"a", "BYE", struct.pack("<II", 0, 0))
    # It gets the same row.
    post.join(b"b", ASKER, b"another")
    post.bring(b"b", "QUERY", text(1, b"status"))
    post.broker.answer(handle, "not for b")
    assert post.fetch() == {}
    post.broker.answer(query_of(post), "for b")
    assert post.kinds(post.fetch(), b"b") == ["ANSWER"]


@pytest.mark.parametrize("handle", [0, 1, 1 << 40, 1 << 90, 0x7FFFFFFF << 32])
def test_a_handle_that_never_was_is_nobody(post: Post, handle: int) -> None:
    post.broker.answer(handle, "{}")
    assert post.broker.ask(handle & (1 << 60) - 1, "who") == 0
    assert post.fetch() == {}


def test_a_doer_is_not_heard(post: Post) -> None:
    post.join(b"d", DOER, b"below", (2, 0, 0))
    before = post.broker.totals()["malformed"]
    post.bring(b"d", "QUERY", text(1, b"drain other"))
    assert post.broker.take_orders() == []
    assert post.broker.totals()["malformed"] == before + 1


def test_one_who_only_asks_is_heard_eight_times(post: Post) -> None:
    post.join(b"a", ASKER, b"above")
    for serial in range(20):
        post.bring(b"a", "QUERY", text(serial, b"status"))
    orders = post.broker.take_orders()
    assert len(orders) == 8
    for _, handle, _ in orders:
        post.broker.answer(handle, "{}")
    assert post.kinds(post.fetch(), b"a") == ["ANSWER"] * 8
    # The same question is answered once.
    post.broker.answer(orders[0][1], "{}")
    assert post.fetch() == {}


def test_a_doer_is_asked_and_answers_once(post: Post) -> None:
    post.join(b"d", DOER, b"below", (2, 0, 0))
    node, = post.broker.nodes()
    serial = post.broker.ask(node["handle"], "who")
    assert post.fetch() == {b"d": [("QUERY", [(struct.pack("<II", serial, 3), b"who")])]}
    post.bring(b"d", "ANSWER", text(serial, b"me"))
    assert post.broker.take_orders() == [("answer", serial, b"me")]
    before = post.broker.totals()["malformed"]
    post.bring(b"d", "ANSWER", text(serial, b"me again"))
    assert post.broker.take_orders() == []
    assert post.broker.totals()["malformed"] == before + 1


def test_a_text_that_is_too_long_is_refused_here(post: Post) -> None:
    with pytest.raises(ValueError, match="at most 65536 bytes"):
        post.broker.answer(1, "é" * 40_000)


@pytest.mark.parametrize("capacity", [(0, 0, 0), (2, 0, 0), (0, 1, 3)])
def test_an_idle_node_that_wants_to_leave_may_go_once(post: Post, capacity: tuple[int, int, int]) -> None:
    post.join(b"d", DOER, b"below", capacity)
    post.join(b"a", ASKER, b"above")
    letters = post.bring(b"d", "LEAVING")
    letters[b"d"] = [*letters.get(b"d", []), *post.bring(b"d", "LEAVING").get(b"d", [])]
    assert post.kinds(letters, b"d") == ["STOP"]
    # Those above are told that its places are gone, if it had any.
    assert post.kinds(letters, b"a") == ["CREDIT"] * any(capacity)
    assert [node["draining"] for node in post.broker.nodes()] == [True]


def test_a_node_that_leaves_keeps_what_runs_and_gives_back_what_waits(post: Post) -> None:
    post.join(b"a", ASKER, b"above")
    post.join(b"d", DOER, b"left", (1, 0, 0))
    post.bring(b"a", "FUNCTION", struct.pack("<II16s", 1, 1, bytes(16)) + b"f")
    tasks = [struct.pack("<QIIhBBBBBHIIQ", ticket, 1, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0) + b"x" for ticket in (1, 2)]
    sent = post.bring(b"a", "TASKS", *tasks)[b"d"]
    tokens = [record[0][:8] for kind, records in sent if kind == "TASKS" for record in records]
    assert len(tokens) == 2
    post.bring(b"d", "STARTED", tokens[0])
    node, = post.broker.nodes()
    assert (node["running"], node["queued"]) == (1, 1)
    assert post.broker.drain("left")
    # What runs there is still offered as a place, which it fills.
    assert post.fetch() == {b"d": [("RETRACT", [(tokens[1], b"")])]}
    assert post.kinds(post.bring(b"d", "RETRACTED", tokens[1] + struct.pack("<I", 1)), b"d") == []
    # A kind of place that it finds only now gets nothing either.
    assert post.bring(b"d", "CREDIT", struct.pack("<IIQIIII", 9, 40, 1 << 20, 1, 1, 0, 0)) == {}
    post.join(b"e", DOER, b"right", (1, 0, 0))
    outcome = tokens[0] + struct.pack("<IIBBH", 0, 5, 1, 1, 0)
    letters = post.bring(b"d", "OUTCOMES", outcome)
    assert post.kinds(letters, b"d") == ["STOP"]
    assert letters[b"a"][1:] == [("CREDIT", post_credit(1))]


def post_credit(cpus: int) -> list[tuple[bytes, bytes]]:
    settings = Settings()
    tasks = settings.credit_tasks
    return [(struct.pack("<IIQIIII", tasks, tasks, (1 << 64) - 1, cpus, 0, 0, 0), b"")]


def test_who_leaves_says_so_to_those_above(post: Post) -> None:
    post.join(b"d", DOER, b"below", (2, 0, 0))
    assert post.broker.leave() == 0
    post.join(b"a", ASKER, b"above")
    assert post.broker.leave() == 1
    assert post.kinds(post.fetch(), b"a") == ["LEAVING"]
    assert not post.broker.drain("nobody")


def test_only_a_slot_may_say_that_a_setup_failed(post: Post) -> None:
    """Every client opens the error, and ends by it: no client may send it to others."""
    failed = message(KINDS["BYE"], [struct.pack("<II", 5, 0)], 1)
    post.join(b"other", ASKER, b"other")
    for route, role in ((b"client", ASKER), (b"slot", DOER)):
        hello = struct.pack("<BBHIIiIIIIIQI", role, 0, PYTHON, 7, 0, -1, 2 - role == 0, 0, 0, 0, 100, 0, 1) + b"n"
        post.bring(route, "HELLO", hello)
    post.broker.receive(b"client", [failed, b"sealed"])
    assert "BYE" not in post.kinds(post.fetch(), b"other")
    assert post.broker.take_orders() == []
    post.broker.receive(b"slot", [failed, b"sealed"])
    assert post.broker.take_orders() == [("setup", 7, b"sealed")]
