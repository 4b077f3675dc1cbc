# SPDX-License-Identifier: BSD-3-Clause
"""What a client may say to a journal, and what becomes of what makes no sense: a sentence, and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.journal.desk import Desk, Request
from covey.journal.store import Outcome, Store
from covey.journal.words import KeptCall, answer, calls_of, read_request, request, told
from covey.wire.records import manner

DIGEST = b"d" * 16
PLAIN = manner().hex()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(str(tmp_path / "journal"), durable=False)
    desk = Desk(store, "life")
    say(desk, "open", session="s")
    say(desk, "learn", digest=DIGEST.hex(), frames=[b"body"])
    yield desk
    store.close()


def say(
    desk: Desk, word: str, calls: list[KeptCall] = [], frames: list[bytes] = [], **facts: Any  # noqa: B006
) -> tuple[Any, ...]:
    _, data = read_request(request({"job": "j"}, calls))
    found: tuple[Any, ...] = desk.commit(
        lambda: desk.apply(Request(1, word, {"job": "j", **facts}, data, list(frames)), 0.0))
    return found


def test_calls_there_and_back() -> None:
    calls = [KeptCall(0, 0, 0, b""), KeptCall(1 << 39, 65535, 7, b"parcel" * 1000)]
    facts, data = read_request(request({"job": "j", "floor": 3}, calls))
    assert (facts, calls_of(data)) == ({"job": "j", "floor": 3}, calls)


@given(st.binary(max_size=60))
def test_whatever_comes_is_a_request_or_a_value_error(data: bytes) -> None:
    for read in (read_request, calls_of):
        try:
            read(data)
        except ValueError:
            pass


@pytest.mark.parametrize("facts", [[], {}, {"job": 3}, {"job": ""}, {"job": "x" * 65}, {"floor": 1}, None, "job"])
def test_a_request_names_a_job(facts: object) -> None:
    text = json.dumps(facts).encode()
    with pytest.raises(ValueError, match="a request"):
        read_request(len(text).to_bytes(4, "little") + text)


def test_small_frames_travel_inside_the_answer() -> None:
    payload, frames = answer(("outcomes", told([b"small", b"l" * 70_000])))
    assert payload[:1] == b"\2"
    assert [len(frame) for frame in frames] == [70_000]
    assert b"small" in payload


@pytest.mark.parametrize(("word", "more"), [
    ("open", {}),
    ("attach", {}),
    ("learn", {"digest": "00", "frames": [b"body"]}),
    ("learn", {"digest": DIGEST.hex()}),
    ("learn", {"digest": 7}),
    ("keep", {"digests": [DIGEST.hex()], "manners": ["00"]}),
    ("keep", {"digests": [DIGEST.hex()], "manners": [manner(needs=0).hex()]}),
    ("keep", {"digests": [DIGEST.hex()], "manners": [manner(needs=200).hex()]}),
    ("keep", {"digests": ["11" * 16], "manners": [PLAIN]}),
    ("keep", {"digests": [], "manners": [PLAIN]}),
    ("keep", {"digests": [DIGEST.hex()], "manners": [PLAIN], "floor": -1}),
    ("keep", {"digests": [DIGEST.hex()], "manners": [PLAIN], "floor": 1 << 50}),
    ("forget", {"ranges": [[0]]}),
    ("forget", {"ranges": [["a", "b"]]}),
    ("forget", {"ranges": 3}),
])
def test_what_makes_no_sense_changes_nothing(desk: Desk, word: str, more: dict[str, Any]) -> None:
    before = desk.store.jobs()
    with pytest.raises((ValueError, KeyError, IndexError, TypeError)):
        say(desk, word, calls=[KeptCall(0, 0, 0, b"p")], **more)
    assert desk.store.jobs() == before


def test_an_index_beyond_all_is_refused(desk: Desk) -> None:
    with pytest.raises(ValueError, match="is no index"):
        say(desk, "keep", calls=[KeptCall(1 << 40, 0, 0, b"p")], digests=[DIGEST.hex()], manners=[PLAIN])


def test_a_call_cannot_be_a_request(desk: Desk) -> None:
    with pytest.raises(ValueError, match="a call says what no task can"):
        say(desk, "keep", calls=[KeptCall(0, 0, 0, b"p")], digests=[DIGEST.hex()], manners=[manner(needs=8).hex()])


def test_another_life_has_other_serial_numbers(desk: Desk) -> None:
    say(desk, "keep", calls=[KeptCall(0, 0, 0, b"p")], digests=[DIGEST.hex()], manners=[PLAIN])
    desk.commit(lambda: desk.finish("j", [Outcome(0, 1, 1, 0, [b"v"])], 0.0))
    facts = {"job": "j", "session": "s", "life": "life", "after": 1}
    assert desk.look(Request(2, "fetch", facts)) is None
    found = desk.look(Request(2, "fetch", {**facts, "life": "an earlier one"}))
    assert found is not None
    assert [row[0] for row in found[1]] == [0]
    assert found[2] == "life"


def test_what_is_cancelled_by_force_is_passed_on_as_that(desk: Desk) -> None:
    say(desk, "keep", calls=[KeptCall(index, 0, 0, b"p") for index in (0, 1)], digests=[DIGEST.hex()], manners=[PLAIN])
    say(desk, "forget", ranges=[[0, 1]], force=True)
    say(desk, "forget", ranges=[[1, 2]])
    assert desk.cancelled == [("j", [(0, 1)], True), ("j", [(1, 2)], False)]


def test_only_who_spoke_last_is_told_of_outcomes(desk: Desk) -> None:
    say(desk, "attach", session="later")
    said = desk.look(Request(2, "fetch", {"job": "j", "session": "s", "life": "life", "after": 0}))
    assert said is not None
    assert said[0] == "NoSuchJob"
    assert "taken over by another program" in said[1]
    assert desk.look(Request(3, "follow", {"job": "j", "session": "later", "index": 0})) == ("outcomes", [], True)
    # Nor may the earlier one end it.
    assert say(desk, "close", session="s") == ("ok",)
    assert desk.look(Request(3, "follow", {"job": "j", "session": "later", "index": 0})) == ("outcomes", [], True)
    # Also when another broker keeps it.
    said = Desk(desk.store, "later").look(Request(2, "fetch", {"job": "j", "session": "s", "life": "life", "after": 0}))
    assert said is not None
    assert said[0] == "NoSuchJob"
    assert say(desk, "close", session="later") == ("ok",)
    assert say(desk, "close", session="later")[0] == "NoSuchJob"
