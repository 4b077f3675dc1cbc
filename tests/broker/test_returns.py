# SPDX-License-Identifier: BSD-3-Clause
"""Links that end and begin again, message by message: what is held is said, and not begun a second time."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from covey.settings import Settings
from test_inquiries import ASKER, DOER, Letters, Post
from test_offers import slot_hello

_TASK = struct.Struct("<QIIhBBBBBHIIQ")
_OUTCOME = struct.Struct("<QIIBBH")
_NAME = struct.Struct("<Q")
ATTENDED = 4
NAME = 0x1234
VALUE = 1
# What a loop says so that it gets again what it brought, and what another one says.
SESSION, ANOTHER = 0xABCDEF, 0xABCDF0
FUNCTION = struct.pack("<II16s", 1, 1, bytes(16)) + b"f"


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    yield made
    made.broker.release()


def ask(post: Post, route: bytes, session: int = SESSION) -> None:
    post.join(route, ASKER, route, session=session)
    post.bring(route, "FUNCTION", FUNCTION)


def task(ticket: int, name: int = NAME, *, flags: int = 0, attempts: int = 0) -> bytes:
    return _TASK.pack(ticket, 1, 1, 0, 7, flags, 0, 0, attempts, 0, 0, 0, name) + b"x"


def tasks_in(letters: Letters, route: bytes) -> list[tuple[int, int]]:
    """Token and name of each task that went there."""
    records = [record for kind, records in letters.get(route, []) if kind == "TASKS" for record, _ in records]
    return [(fields[0], fields[-1]) for fields in map(_TASK.unpack, records)]


def names_in(letters: Letters, route: bytes) -> set[int]:
    return {_NAME.unpack(r)[0] for kind, records in letters.get(route, []) if kind == "HELD" for r, _ in records}


def outcomes_in(letters: Letters, route: bytes) -> list[tuple[int, bytes]]:
    return [
        (_OUTCOME.unpack(record)[0], payload)
        for kind, records in letters.get(route, []) if kind == "OUTCOMES" for record, payload in records]


def begin(post: Post, *, session: int = SESSION, **how: int) -> int:
    """A task of asker a runs in slot 1; its token."""
    ask(post, b"a", session)
    post.bring(b"1", "HELLO", slot_hello(0, -1, 1))
    ((token, name),) = tasks_in(post.bring(b"a", "TASKS", task(9, **how)), b"1")
    assert name == NAME
    return token


def cut(post: Post, route: bytes) -> Letters:
    """The link there breaks, without a word."""
    post.broker.unreachable(route)
    return post.fetch()


def hello_again(post: Post, route: bytes, session: int = SESSION) -> Letters:
    """Another link of an asker; what it is told besides WELCOME."""
    return post.greet(route, ASKER, route, session=session)


def outcome(token: int) -> bytes:
    return _OUTCOME.pack(token, 2, 5, VALUE, 1, 0) + b"ok"


def test_what_runs_is_held_and_goes_on_under_its_new_ticket(post: Post) -> None:
    token = begin(post)
    assert cut(post, b"a") == {}, "nobody is told to stop"
    assert names_in(hello_again(post, b"b"), b"b") == {NAME}
    post.bring(b"b", "FUNCTION", FUNCTION)
    assert tasks_in(post.bring(b"b", "TASKS", task(77)), b"1") == []
    assert outcomes_in(post.bring(b"1", "OUTCOMES", outcome(token)), b"b") == [(77, b"ok")]
    assert post.broker.totals()["adopted"] == 1


def test_what_a_task_says_while_its_asker_is_away_goes_to_nobody(post: Post) -> None:
    token = begin(post)
    cut(post, b"a")
    letters = post.bring(b"1", "STARTED", struct.pack("<Q", token))
    letters |= post.bring(b"1", "OUTPUT", struct.pack("<QHHI", token, 1, 0, 5) + b"hello")
    letters |= post.bring(b"1", "NOTE", struct.pack("<QI", token, 2) + b"go")
    assert letters == {}
    assert names_in(hello_again(post, b"b"), b"b") == {NAME}


def test_an_outcome_waits_for_who_asks_again(post: Post) -> None:
    token = begin(post)
    cut(post, b"a")
    letters = post.bring(b"1", "OUTCOMES", outcome(token))
    assert post.kinds(letters, b"1") == ["FORGET"], "nobody has the function any more"
    assert names_in(hello_again(post, b"b"), b"b") == {NAME}
    post.bring(b"b", "FUNCTION", FUNCTION)
    assert outcomes_in(post.bring(b"b", "TASKS", task(77)), b"b") == [(77, b"ok")]
    # It is given once.
    ((_, name),) = tasks_in(post.bring(b"b", "TASKS", task(78)), b"1")
    assert name == NAME


def test_several_outcomes_in_one_message_wait_one_by_one(post: Post) -> None:
    ask(post, b"a")
    for number in (1, 2, 3):
        post.bring(b"%d" % number, "HELLO", slot_hello(0, -1, number))
    given = post.bring(b"a", "TASKS", *[task(number, number) for number in (1, 2, 3)])
    tokens = {name: token for n in (1, 2, 3) for token, name in tasks_in(given, b"%d" % n)}
    cut(post, b"a")
    for number in (1, 2, 3):
        post.bring(b"%d" % number, "OUTCOMES", outcome(tokens[number]))
    assert names_in(hello_again(post, b"b"), b"b") == {1, 2, 3}
    post.bring(b"b", "FUNCTION", FUNCTION)
    again = post.bring(b"b", "TASKS", *[task(10 + number, number) for number in (3, 1, 2)])
    assert outcomes_in(again, b"b") == [(13, b"ok"), (11, b"ok"), (12, b"ok")]


def test_what_waited_is_forgotten_with_the_link(post: Post) -> None:
    begin(post)
    post.bring(b"a", "TASKS", task(10, 0x99))
    cut(post, b"a")
    assert names_in(hello_again(post, b"b"), b"b") == {NAME}
    assert post.broker.totals()["waiting"] == 0


def test_who_says_goodbye_is_not_waited_for(post: Post) -> None:
    begin(post)
    post.bring(b"a", "BYE", struct.pack("<II", 0, 0))
    assert names_in(hello_again(post, b"b"), b"b") == set()


def test_what_waits_for_notes_ends_with_the_link(post: Post) -> None:
    begin(post, flags=ATTENDED)
    letters = cut(post, b"a")
    assert "CANCEL" in post.kinds(letters, b"1")
    assert names_in(hello_again(post, b"b"), b"b") == set()


def test_a_slot_that_dies_ends_what_nobody_has_asked_for_again(post: Post) -> None:
    begin(post)
    cut(post, b"a")
    post.bring(b"1", "BYE", struct.pack("<II", 0, 0))
    assert names_in(hello_again(post, b"b"), b"b") == set()
    assert post.bring(b"2", "HELLO", slot_hello(0, -1, 2)).keys() == {b"2", b"b"}
    assert post.broker.totals()["assigned"] == 0


def test_a_claim_draws_the_task_that_waits(post: Post) -> None:
    ask(post, b"a")
    post.join(b"n", DOER, b"node", (1, 0, 0))
    given = tasks_in(post.bring(b"a", "TASKS", *[task(number, number) for number in range(1, 101)]), b"n")
    waiting = sorted(set(range(1, 101)) - {name for _, name in given})
    assert waiting
    letters = post.bring(b"n", "HELD", _NAME.pack(waiting[-1]))
    assert [name for _, name in tasks_in(letters, b"n")] == waiting[-1:]


def test_a_claim_waits_for_its_task(post: Post) -> None:
    ask(post, b"a")
    for node in (b"n", b"m"):
        post.join(node, DOER, node, (1, 0, 0))
    for name, node in ((1, b"n"), (2, b"m"), (3, b"n"), (4, b"m")):
        post.bring(node, "HELD", _NAME.pack(name))
    letters = post.bring(b"a", "TASKS", *[task(name, name) for name in (1, 2, 3, 4)])
    assert {name for _, name in tasks_in(letters, b"n")} == {1, 3}
    assert {name for _, name in tasks_in(letters, b"m")} == {2, 4}


def test_a_claim_goes_with_the_node_that_made_it(post: Post) -> None:
    ask(post, b"a")
    post.join(b"n", DOER, b"node", (1, 0, 0))
    post.bring(b"n", "HELD", _NAME.pack(NAME))
    post.bring(b"n", "BYE", struct.pack("<II", 0, 0))
    post.join(b"m", DOER, b"other", (1, 0, 0))
    letters = post.bring(b"a", "TASKS", task(9))
    assert [name for _, name in tasks_in(letters, b"m")] == [NAME]


def test_who_follows_another_broker_waits_for_claims_of_what_may_have_begun(post: Post) -> None:
    post.broker.settle(3600.0)
    ask(post, b"a")
    post.join(b"n", DOER, b"node", (2, 0, 0))
    letters = post.bring(b"a", "TASKS", task(1, 1, attempts=1))
    assert tasks_in(letters, b"n") == []
    assert [name for _, name in tasks_in(post.bring(b"a", "TASKS", task(2, 2)), b"n")] == [2], "this one is new"
    post.bring(b"n", "HELD", _NAME.pack(1))
    post.broker.settle(0.0)
    assert [name for _, name in tasks_in(post.fetch(), b"n")] == [1]


def test_tasks_without_a_name_get_one_that_stays(post: Post) -> None:
    ask(post, b"a")
    post.join(b"n", DOER, b"node", (1, 0, 0))
    ((token, name),) = tasks_in(post.bring(b"a", "TASKS", task(9, 0)), b"n")
    assert name
    post.join(b"m", DOER, b"other", (1, 0, 0))
    ((again, same),) = tasks_in(post.bring(b"n", "BYE", struct.pack("<II", 0, 0)), b"m")
    assert again != token
    assert same == name


@pytest.mark.parametrize("route", [b"a", b"1"])
def test_only_a_loop_that_does_may_say_what_it_holds(post: Post, route: bytes) -> None:
    begin(post)
    before = post.broker.totals()["malformed"]
    post.bring(route, "HELD", _NAME.pack(NAME))
    assert post.broker.totals()["malformed"] == before + 1


@pytest.mark.parametrize("session", [ANOTHER, 0])
def test_what_runs_for_one_is_neither_told_nor_given_to_another(post: Post, session: int) -> None:
    token = begin(post)
    cut(post, b"a")
    assert names_in(hello_again(post, b"x", session), b"x") == set()
    post.bring(b"x", "FUNCTION", FUNCTION)
    # An idle place: behind what runs, something new is put only within a millisecond.
    post.join(b"n", DOER, b"node", (1, 0, 0))
    # Should it know the name for all that, its task is one like any other.
    ((second, _),) = tasks_in(post.bring(b"x", "TASKS", task(77)), b"n")
    assert second != token
    assert outcomes_in(post.bring(b"1", "OUTCOMES", outcome(token)), b"x") == []
    assert outcomes_in(post.bring(b"n", "OUTCOMES", outcome(second)), b"x") == [(77, b"ok")]
    assert post.broker.totals()["adopted"] == 0


@pytest.mark.parametrize("session", [ANOTHER, 0])
def test_an_outcome_that_waits_for_one_is_not_given_to_another(post: Post, session: int) -> None:
    token = begin(post)
    cut(post, b"a")
    post.bring(b"1", "OUTCOMES", outcome(token))
    assert names_in(hello_again(post, b"x", session), b"x") == set()
    post.bring(b"x", "FUNCTION", FUNCTION)
    assert outcomes_in(post.bring(b"x", "TASKS", task(77)), b"x") == []
    # It still waits for the one whose it is.
    assert names_in(hello_again(post, b"b"), b"b") == {NAME}


def test_what_a_node_claims_is_not_told_to_those_at_the_door(post: Post) -> None:
    ask(post, b"a")
    post.join(b"n", DOER, b"node", (1, 0, 0))
    assert names_in(post.bring(b"n", "HELD", _NAME.pack(NAME)), b"a") == set()
    assert names_in(hello_again(post, b"b"), b"b") == set()


def test_one_who_names_no_session_is_not_waited_for(post: Post) -> None:
    begin(post, session=0)
    assert "CANCEL" in post.kinds(cut(post, b"a"), b"1")
    assert post.broker.totals()["assigned"] == 0


def test_what_nobody_asks_for_again_is_not_booked_for_ever(post: Post) -> None:
    """Tasks that end without an outcome, again and again, leave nothing to be told."""
    for number in range(1, 40):
        ask(post, b"a")
        post.bring(b"1", "HELLO", slot_hello(0, -1, 1))
        post.bring(b"a", "TASKS", task(number, number))
        cut(post, b"a")
        post.bring(b"1", "BYE", struct.pack("<II", 0, 0))
        assert names_in(hello_again(post, b"b"), b"b") == set()
        post.bring(b"b", "BYE", struct.pack("<II", 0, 0))


@pytest.fixture
def short() -> Iterator[Callable[..., Post]]:
    made: list[Post] = []

    def short(**settings: float) -> Post:
        post = Post(replace(Settings(), **settings))
        made.append(post)
        return post

    yield short
    for post in made:
        post.broker.release()


def keep(post: Post, names: range, payload: bytes) -> None:
    """Outcomes of tasks with these names, whose asker is away."""
    ask(post, b"a")
    tokens: dict[int, tuple[int, bytes]] = {}
    for name in names:
        post.bring(b"%d" % name, "HELLO", slot_hello(0, -1, name))
    letters = post.bring(b"a", "TASKS", *[task(name, name) for name in names])
    for slot in names:
        for token, name in tasks_in(letters, b"%d" % slot):
            tokens[name] = (token, b"%d" % slot)
    cut(post, b"a")
    for name in names:
        token, route = tokens[name]
        post.bring(route, "OUTCOMES", _OUTCOME.pack(token, len(payload), 5, VALUE, 1, 0) + payload)


def test_outcomes_that_wait_take_no_more_than_a_credit(short: Callable[..., Post]) -> None:
    post = short(credit_bytes=64 * 1000)
    keep(post, range(1, 201), bytes(1000))
    held = names_in(hello_again(post, b"b"), b"b")
    assert 40 <= len(held) <= 64, "most of what there is room for"
    assert held == set(range(201 - len(held), 201)), "the newest"


def test_outcomes_that_nobody_fetches_are_forgotten(short: Callable[..., Post]) -> None:
    post = short(keep_for=1e-9)
    keep(post, range(1, 101), b"ok")
    assert names_in(hello_again(post, b"b"), b"b") == set()


def test_what_waits_for_claims_takes_no_more_than_a_credit(short: Callable[..., Post]) -> None:
    post = short(credit_bytes=1000)
    post.broker.settle(3600.0)
    ask(post, b"a")
    post.join(b"n", DOER, b"node", (100, 0, 0))
    given: list[int] = []
    for number in range(1, 41):
        letters = post.bring(b"a", "TASKS", task(number, number, attempts=1))
        given += [name for _, name in tasks_in(letters, b"n")]
    assert given, "what is beyond that is a task like any other"
    assert given == list(range(given[0], 41))
    post.broker.settle(0.0)
    assert [name for _, name in tasks_in(post.fetch(), b"n")] == list(range(1, given[0]))


def test_who_is_away_is_not_told_of_what_begins_or_prints(post: Post) -> None:
    token = begin(post)
    cut(post, b"a")
    # Nobody is there to be told; what names nobody must not be written to.
    assert post.bring(b"1", "STARTED", struct.pack("<Q", token)) == {}
    assert post.bring(b"1", "OUTPUT", struct.pack("<QHHI", token, 1, 0, 5) + b"hello") == {}
    assert names_in(hello_again(post, b"b"), b"b") == {NAME}
