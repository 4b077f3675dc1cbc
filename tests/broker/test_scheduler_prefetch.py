# SPDX-License-Identifier: BSD-3-Clause
"""How much a busy doer gets ahead of time, and how what waits behind a long task comes back."""
from collections import Counter

import pytest

from covey.broker.records import Leaving, OrderKind
from stage import Stage, kinds


def test_idle_doers_come_first() -> None:
    stage = Stage()
    stage.measure(0.000001)
    doers = [stage.doer() for _ in range(4)]
    stage.tasks(4)
    assert sorted(doer for _, doer in stage.assigned()) == doers


def test_the_warmest_doer_comes_first() -> None:
    stage = Stage()
    for _ in range(3):
        stage.doer()
    stage.tasks(2)
    first, second = stage.decide()
    stage.outcome(second)
    stage.outcome(first)
    stage.tasks(1)
    assert [doer for _, doer in stage.assigned()] == [first.doer]


def test_machines_fill_evenly() -> None:
    stage = Stage()
    doers = [stage.doer(capacity=8) for _ in range(3)]
    stage.tasks(12)
    assert Counter(doer for _, doer in stage.assigned()) == dict.fromkeys(doers, 4)


@pytest.mark.parametrize(("seconds", "depth"), [(0.00001, 200), (0.0001, 20), (0.001, 2), (0.05, 2), (0.2, 1)])
def test_depth_follows_duration(seconds: float, depth: int) -> None:
    stage = Stage(quantum=0.002, lone_above=0.1)
    stage.measure(seconds)
    stage.doer()
    stage.tasks(1000)
    assert len(stage.decide()) == depth


def test_nothing_is_queued_beyond_the_window() -> None:
    stage = Stage()
    stage.measure(0.000001)
    stage.doer(window=7)
    stage.tasks(100)
    assert len(stage.decide()) == 7


def test_what_was_never_measured_is_guessed() -> None:
    stage = Stage(quantum=0.002, first_guess=0.0005)
    stage.measure(0.2)
    stage.doer()
    stage.tasks(100)
    (running,) = stage.decide()
    stage.board.function_forgotten(0)
    assert len(stage.decide()) == 1, "what runs is 0.2 s by the old estimate"
    stage.outcome(running, run=0.0005)
    assert len(stage.decide()) == 3


@pytest.mark.parametrize("count", [20, 100, 700])
def test_a_burst_is_shared_about_evenly(count: int) -> None:
    stage = Stage()
    stage.measure(0.000001)
    doers = [stage.doer(), stage.doer()]
    stage.tasks(count)
    got = Counter(doer for _, doer in stage.assigned())
    assert sum(got.values()) == count
    assert abs(got[doers[0]] - got[doers[1]]) <= max(2, 16)
    assert min(got.values()) >= count * 0.4


def stuck(count: int) -> tuple[Stage, int, int]:
    """A doer that runs one task, with so many queued behind it, and one that fell idle."""
    stage = Stage(retract_after=0.001)
    stage.measure(0.000001)
    slow = stage.doer(window=count + 1)
    stage.tasks(count + 1)
    stage.decide()
    idle = stage.doer()
    assert stage.decide() == []
    return stage, slow, idle


def test_the_newest_half_comes_back_to_an_idle_doer() -> None:
    stage, slow, idle = stuck(8)
    assert stage.board.next_time(stage.now) == pytest.approx(0.001)
    asked = stage.decide(after=0.0011)
    assert [(o.kind.name, o.doer, o.ticket - asked[-1].ticket) for o in asked] == [
        ("TAKE_BACK", slow, i) for i in (3, 2, 1, 0)]
    assert stage.decide(after=0.1) == [], "one question at a time"
    for order in asked:
        stage.give_back(order)
    # All of it goes to the idle one, in the old order: never back behind the long task.
    assert stage.assigned() == [(order.ticket, idle) for order in reversed(asked)]


def test_half_of_the_rest_follows() -> None:
    stage, slow, _ = stuck(4)
    sizes = []
    for _ in range(4):
        asked = [o for o in stage.decide(after=0.01) if o.kind is OrderKind.TAKE_BACK]
        sizes.append(len(asked))
        for order in asked:
            stage.give_back(order)
        for order in stage.decide():
            assert order.doer != slow
            stage.outcome(order)
    assert sizes == [2, 1, 1, 0]


def test_who_says_no_is_not_asked_again() -> None:
    stage, _, _ = stuck(3)
    asked = stage.decide(after=0.01)
    assert len(asked) == 2
    for order in asked:
        stage.give_back(order, gives=False)
    assert stage.decide(after=0.1) == []
    stage.outcome(asked[0])
    assert kinds(stage.decide(after=0.1)) == ["TAKE_BACK"], "something moved there"


def test_nothing_is_taken_back_while_something_waits_here() -> None:
    stage = Stage()
    stage.doer(window=2)
    stage.tasks(5)
    stage.decide()
    assert stage.decide(after=1.0) == []


def test_nothing_is_taken_back_for_nobody() -> None:
    stage = Stage()
    stage.doer(window=2)
    stage.tasks(2)
    stage.decide()
    assert stage.decide(after=1.0) == []
    assert stage.board.next_time(stage.now) > stage.now


def test_a_wait_that_can_be_foreseen_is_not_waited_for() -> None:
    stage = Stage(retract_after=0.001, lone_above=0.1)
    stage.measure(0.05)
    stage.doer()
    stage.tasks(2)
    assert len(stage.decide()) == 2
    idle = stage.doer()
    (asked,) = stage.decide()
    stage.give_back(asked)
    assert stage.assigned() == [(asked.ticket, idle)]


def test_what_was_taken_back_does_not_return_to_where_it_waited() -> None:
    stage = Stage(retract_after=0.001, lone_above=0.1)
    stage.measure(0.05)
    stage.doer()
    stage.tasks(2)
    running, _ = stage.decide()
    idle = stage.doer()
    (asked,) = stage.decide()
    stage.leave(idle, Leaving.PLANNED)
    stage.give_back(asked)
    assert stage.decide() == [], "not before something moves there"
    stage.outcome(running)
    assert stage.assigned() == [(asked.ticket, running.doer)]


def test_nothing_is_added_where_nothing_moves() -> None:
    stage = Stage(retract_after=0.001)
    stage.measure(0.000001)
    stage.doer()
    stage.tasks()
    (running,) = stage.decide()
    stage.tasks()
    assert stage.decide(after=0.01) == []
    stage.outcome(running)
    assert len(stage.decide()) == 1


def test_a_given_back_task_is_the_next() -> None:
    stage, slow, idle = stuck(1)
    (asked,) = stage.decide(after=0.01)
    stage.tasks(3)
    stage.give_back(asked)
    assert stage.assigned()[0] == (asked.ticket, idle)
    assert slow != idle


def test_an_answer_that_was_not_asked_for_changes_nothing() -> None:
    stage = Stage()
    stage.doer()
    stage.tasks()
    (order,) = stage.decide()
    assert stage.board.given_back(order.doer, order.token, True, 0.0) == 0
    stage.check()
    assert kinds(stage.decide()) == []


def test_a_place_that_is_free_already_draws_nothing_twice() -> None:
    stage = Stage()
    stage.measure(0.000001)
    for _ in range(2):
        stage.doer(window=5)
    stage.tasks(10)
    stage.decide()
    stage.doer()
    assert len(stage.decide(after=0.01)) == 2, "one idle doer draws from one"


def test_what_waits_in_truth_is_found_though_another_was_believed_to() -> None:
    stage = Stage()
    loop = stage.doer(capacity=2, relays=True)
    tickets = stage.tasks(3)
    given = {order.ticket: order for order in stage.decide() if order.kind is OrderKind.ASSIGN}
    assert sorted(given) == tickets
    idle = stage.doer()
    (back,) = [order for order in stage.decide(after=1.0) if order.kind is OrderKind.TAKE_BACK]
    # The loop has begun that one, and lets another wait.
    stage.board.given_back(loop, back.token, False, stage.now)
    stage.check()
    (other,) = [order for order in stage.decide(after=1.0) if order.kind is OrderKind.TAKE_BACK]
    assert other.token != back.token
    stage.board.given_back(loop, other.token, True, stage.now)
    stage.check()
    assert stage.assigned() == [(other.ticket, idle)]


def test_a_loop_that_runs_all_that_it_has_is_not_asked_for_ever() -> None:
    stage = Stage()
    loop = stage.doer(capacity=2, relays=True)
    stage.tasks(3)
    stage.decide()
    stage.doer()
    asked = 0
    for _ in range(20):
        for order in stage.decide(after=1.0):
            if order.kind is OrderKind.TAKE_BACK:
                asked += 1
                stage.board.given_back(loop, order.token, False, stage.now)
                stage.check()
    assert asked == 3
