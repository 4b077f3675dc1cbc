# SPDX-License-Identifier: BSD-3-Clause
"""Tasks that must not begin twice: which of them a dead slot or a lost machine may have begun, and which it has not."""
import struct
from collections.abc import Iterator

import pytest

from covey.broker.records import Leaving, OrderRecord
from covey.wire.protocol import KINDS, message
from stage import ERROR, MAYBE_RAN, ONCE, POISONED, Stage, kinds
from test_inquiries import ASKER, DOER, PYTHON, Letters, Post
from test_offers import _OUTCOME, _TASK, slot_hello
from waiting import wait_until


def staged(before: int = 1, *, count: int = 1, relays: bool = False) -> tuple[Stage, int, list[OrderRecord]]:
    """Some tasks of any kind and behind them such ones, of a tenth of a millisecond, at one doer; their orders."""
    stage = Stage()
    stage.measure(0.0001)
    doer = stage.doer(window=9, relays=relays)
    stage.tasks(before)
    stage.tasks(count, flags=ONCE)
    return stage, doer, stage.decide()


def ended(orders: list[OrderRecord]) -> list[int]:
    assert {order.status for order in orders if order.kind.name == "END"} <= {MAYBE_RAN}
    return sorted(order.ticket for order in orders if order.kind.name == "END")


def given_next(stage: Stage) -> list[int]:
    """What another doer gets."""
    stage.doer(window=9)
    return [ticket for ticket, _ in stage.assigned()]


def test_what_ran_at_a_slot_that_died_ends() -> None:
    stage, doer, (once,) = staged(0)
    orders = stage.leave(doer, Leaving.CRASHED)
    assert (kinds(orders), ended(orders)) == (["BLAME", "END"], [once.ticket])
    assert given_next(stage) == []


def test_what_waited_at_a_slot_that_died_goes_elsewhere() -> None:
    stage, doer, (first, once) = staged()
    assert stage.board.died_under(doer, first.token, stage.now) == 1
    assert kinds(stage.leave(doer, Leaving.CRASHED)) == ["BLAME"]
    assert given_next(stage) == [first.ticket, once.ticket]


def test_what_the_mark_names_has_begun() -> None:
    stage, doer, (first, once) = staged()
    assert stage.board.died_under(doer, once.token, stage.now) == 1
    assert ended(stage.leave(doer, Leaving.CRASHED)) == [once.ticket]
    assert given_next(stage) == [first.ticket]


@pytest.mark.parametrize("token", [0, 1, 12345])
def test_where_the_mark_names_nothing_it_may_have_begun(token: int) -> None:
    stage, doer, (first, once) = staged()
    assert stage.board.died_under(doer, token, stage.now) == 0
    assert ended(stage.leave(doer, Leaving.PLANNED)) == [once.ticket]
    assert given_next(stage) == [first.ticket]


def test_what_has_started_has_begun_whatever_is_believed_later() -> None:
    stage = Stage()
    stage.measure(0.0001)
    doer = stage.doer(capacity=2, window=9)
    stage.tasks(1)
    stage.tasks(1, flags=ONCE)
    first, once = stage.decide()
    for order in (first, once):
        stage.board.started(doer, order.token, stage.now)
    stage.board.doer_resized(doer, 1, 9, stage.now)
    assert ended(stage.leave(doer, Leaving.CRASHED)) == [once.ticket]


def test_nothing_stands_behind_one_at_a_slot() -> None:
    stage, _, (_, once) = staged(1, count=3)
    behind = stage.tasks(2)
    assert stage.decide() == []
    stage.outcome(once)
    assert len(stage.assigned()) == 1, "the next of them, and it is alone again"
    assert len(behind) == 2


def test_a_loop_may_have_many() -> None:
    _, _, orders = staged(2, count=3, relays=True)
    assert len(orders) == 5


def test_a_slot_that_leaves_as_it_should_has_begun_nothing_that_it_did_not_end() -> None:
    stage, doer, (first, once) = staged()
    assert stage.leave(doer, Leaving.PLANNED) == []
    assert given_next(stage) == [first.ticket, once.ticket]


@pytest.mark.parametrize("begun", [False, True])
def test_a_slot_that_was_killed_for_another_task(begun: bool) -> None:
    stage = Stage()
    stage.measure(0.0001)
    doer = stage.doer(window=9)
    stage.tasks(timeout_ms=50)
    stage.tasks(1, flags=ONCE)
    slow, once = stage.decide()
    assert kinds(stage.decide(after=0.06)) == ["END", "KILL"]
    # The slow one may have ended just then, and the next have begun before the signal came.
    assert stage.board.died_under(doer, (once if begun else slow).token, stage.now) == 1
    assert ended(stage.leave(doer, Leaving.KILLED)) == [once.ticket] * begun
    assert given_next(stage) == [once.ticket] * (not begun)


@pytest.mark.parametrize("why", [Leaving.LOST, Leaving.PLANNED, Leaving.CRASHED])
def test_all_that_a_loop_had_may_have_begun(why: Leaving) -> None:
    stage, doer, (_, *once) = staged(1, count=4, relays=True)
    orders = stage.leave(doer, why)
    assert ended(orders) == [order.ticket for order in once]
    assert {order.why for order in orders if order.kind.name == "BLAME"} == {
        Leaving.LOST if why is Leaving.CRASHED else why}


def test_what_a_silent_slot_had_may_have_begun() -> None:
    stage, _, (_, once) = staged()
    found: list[OrderRecord] = []
    while stage.now < 20.0:
        found += stage.decide(after=0.5)
    assert ended(found) == [once.ticket]
    assert stage.board.totals().losses == 2


def test_what_a_doer_gave_back_has_not_begun() -> None:
    stage, doer, (first, once) = staged()
    stage.board.drain(doer, stage.now)
    stage.check()
    (asked,) = stage.orders
    stage.give_back(asked)
    assert ended(stage.leave(doer, Leaving.LOST)) == []
    assert given_next(stage) == [first.ticket, once.ticket]


def test_what_is_wanted_back_and_may_have_begun_is_refused_and_ends() -> None:
    stage, doer, (_, once) = staged(relays=True)
    assert stage.board.retract(stage.asker, once.ticket, stage.now) == 1
    stage.check()
    orders = stage.leave(doer, Leaving.LOST)
    assert [(o.status, o.ticket) for o in orders if o.kind.name == "GIVE_BACK"] == [(0, once.ticket)]
    assert ended(orders) == [once.ticket]


def test_an_error_is_an_end_and_may_be_tried_again() -> None:
    stage = Stage()
    doer = stage.doer()
    stage.tasks(flags=ONCE, retries=1)
    (order,) = stage.decide()
    stage.outcome(order, status=ERROR)
    (again,) = stage.decide()
    assert (again.ticket, again.flags) == (order.ticket, ONCE)
    end = stage.leave(doer, Leaving.CRASHED)[-1]
    assert (end.status, end.raised) == (MAYBE_RAN, 1)


# The same at a broker, message by message.


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    made.join(b"a", ASKER, b"above")
    made.bring(b"a", "FUNCTION", struct.pack("<II16s", 1, 1, bytes(16)) + b"f")
    yield made
    made.broker.release()


def put(post: Post, *tickets: int, retries: int = 0, retry_wait_ms: int = 0, flags: int = ONCE) -> None:
    records = [_TASK.pack(t, 1, 0, 0, 7, flags, retries, 0, 0, 0, 0, retry_wait_ms, 0) for t in tickets]
    post.bring(b"a", "TASKS", *records)


def told(post: Post) -> dict[int, tuple[int, bytes]]:
    """Status and payload of each outcome that the asker is told."""
    found = {}
    for kind, records in post.fetch().get(b"a", []):
        if kind == "OUTCOMES":
            for record, payload in records:
                ticket, _, _, status, _, _ = _OUTCOME.unpack(record)
                found[ticket] = status, payload
    return found


def ends(post: Post) -> dict[int, tuple[int, bytes]]:
    """The same, once a slot that died is judged."""
    found: dict[int, tuple[int, bytes]] = {}

    def judged() -> bool:
        found.update(told(post))
        return bool(found)

    wait_until(judged, post.broker.totals)
    return found


def given(letters: Letters, route: bytes) -> list[bytes]:
    return [record[:8] for kind, records in letters.get(route, []) if kind == "TASKS" for record, _ in records]


def tokens(post: Post, route: bytes, hello: bytes) -> list[bytes]:
    return given(post.bring(route, "HELLO", hello), route)


def test_the_mark_of_a_dead_slot_tells_what_it_began(post: Post) -> None:
    put(post, 1, 2)
    (first,) = tokens(post, b"1", slot_hello(0, -1, 41))
    post.broker.slot_died(41, False, "slot 41 fell over", int.from_bytes(first, "little"))
    assert ends(post) == {1: (MAYBE_RAN, b"slot 41 fell over\n")}
    (again,) = tokens(post, b"2", slot_hello(0, -1, 42))
    assert again[:4] != first[:4], "the other one"


def test_an_idle_slot_may_have_finished_what_it_did_not_report(post: Post) -> None:
    put(post, 1)
    tokens(post, b"1", slot_hello(0, -1, 41))
    post.broker.slot_died(41, False, "slot 41 fell over", 0)
    assert ends(post) == {1: (MAYBE_RAN, b"slot 41 fell over\n")}


def test_attempts_from_here_stand_before_those_from_below(post: Post) -> None:
    put(post, 1, flags=0, retries=3, retry_wait_ms=1)
    post.join(b"n", DOER, b"north", (1, 0, 0))
    post.broker.unreachable(b"n")
    hello = struct.pack("<BBHIIiIIIIIQI", DOER, 1, PYTHON, 7, 0, -1, 1, 0, 0, 0, 100, 0, 5) + b"south"
    (token,) = tokens(post, b"s", hello)
    letters = post.bring(b"s", "OUTCOMES", _OUTCOME.pack(int.from_bytes(token, "little"), 0, 5, 2, 2, 0))
    # The rest may be over by now.
    again = given(letters, b"s")

    def rested() -> bool:
        again.extend(given(post.fetch(), b"s"))
        return bool(again)

    wait_until(rested, post.broker.totals)
    post.broker.receive(b"s", [message(KINDS["OUTCOMES"], [
        _OUTCOME.pack(int.from_bytes(again[0], "little"), 6, 5, 4, 3, 0) + b"fell.\n"])])
    lines = b"node north was lost\nfell.\nit raised an error, and was tried again\n"
    assert told(post) == {1: (POISONED, lines)}
