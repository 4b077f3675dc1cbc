# SPDX-License-Identifier: BSD-3-Clause
"""Tasks that raised and are tried again: at once or after a rest, as often as they may, and never if that is final."""
import pytest

from covey.broker.board import Board
from covey.broker.records import Leaving, OrderRecord, Ruling
from covey.settings import Settings
from stage import ERROR, POISONED, Stage, kinds


def rests(stage: Stage, doer: int, count: int) -> list[float]:
    """How long a task rested after each of so many errors."""
    found = []
    (order,) = stage.decide()
    for _ in range(count):
        assert stage.outcome(order, status=ERROR).ruling is Ruling.AGAIN
        began = stage.now
        stage.now = stage.board.next_time(stage.now)
        (order,) = stage.decide()
        assert order.doer == doer
        found.append(stage.now - began)
    return found


def test_a_retry_without_a_rest_comes_at_once() -> None:
    stage = Stage(lease=float("inf"))
    stage.doer()
    stage.tasks(retries=1)
    (order,) = stage.decide()
    assert stage.outcome(order, status=ERROR).ruling is Ruling.AGAIN
    (again,) = stage.decide()
    assert (again.ticket, again.attempt, again.retries) == (order.ticket, 2, 0)
    assert stage.outcome(again, status=ERROR).ruling is Ruling.ACCEPTED


def test_what_is_final_is_not_tried_again() -> None:
    stage = Stage()
    stage.doer()
    stage.tasks(retries=5, retry_wait_ms=100)
    (order,) = stage.decide()
    assert stage.outcome(order, status=ERROR, final=True).ruling is Ruling.ACCEPTED
    assert stage.board.totals().retried == 0


def test_each_rest_may_be_twice_as_long_up_to_the_limit() -> None:
    longest = [0.0] * 9
    for seed in range(60):
        stage = Stage(lease=float("inf"), retry_wait_limit=4.0)
        stage.board = Board(Settings(lease=float("inf"), retry_wait_limit=4.0), seed=seed)
        stage.asker = stage.board.asker_joined(0.0)
        doer = stage.doer()
        stage.tasks(retries=9, retry_wait_ms=100)
        longest = [max(pair) for pair in zip(longest, rests(stage, doer, 9), strict=True)]
    bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0, 4.0]
    for rest, bound in zip(longest, bounds, strict=True):
        assert 0.8 * bound < rest <= bound + 1e-9


def test_a_first_rest_over_the_limit_stays_what_it_is() -> None:
    stage = Stage(lease=float("inf"), retry_wait_limit=1.0)
    doer = stage.doer()
    stage.tasks(retries=40, retry_wait_ms=5000)
    found = rests(stage, doer, 40)
    assert 4.0 < max(found) <= 5.0 + 1e-9


def test_what_failed_together_does_not_come_back_together() -> None:
    stage = Stage(lease=float("inf"))
    stage.doer(capacity=50, window=50)
    stage.tasks(50, retries=1, retry_wait_ms=1000)
    for order in stage.decide():
        stage.outcome(order, status=ERROR)
    back: list[float] = []
    while len(back) < 50:
        stage.now = stage.board.next_time(stage.now)
        back += [stage.now] * len(stage.decide())
    assert len(set(back)) > 45
    assert sum(when < 0.5 for when in back) in range(10, 41)


def test_the_same_seed_rests_as_long() -> None:
    def hour() -> list[float]:
        stage = Stage(lease=float("inf"))
        doer = stage.doer()
        stage.tasks(retries=5, retry_wait_ms=700)
        return rests(stage, doer, 5)

    assert hour() == hour()


def test_who_rests_holds_no_place() -> None:
    stage = Stage()
    doer = stage.doer(window=1)
    (first,) = stage.tasks(retries=1, retry_wait_ms=1000)
    (order,) = stage.decide()
    stage.outcome(order, status=ERROR)
    (second,) = stage.tasks()
    assert stage.assigned() == [(second, doer)]
    assert stage.board.totals().waiting == 1
    assert first != second


def test_who_rests_can_be_cancelled_given_back_and_left_alone() -> None:
    stage = Stage(lease=float("inf"))
    stage.doer(capacity=3, window=3)
    other = stage.board.asker_joined(0.0)
    cancelled, back = stage.tasks(2, retries=1, retry_wait_ms=1000)
    stage.tasks(1, asker=other, retries=1, retry_wait_ms=1000)
    for order in stage.decide():
        stage.outcome(order, status=ERROR)
    assert kinds(stage.cancel(cancelled)) == ["END"]
    assert stage.board.retract(stage.asker, back, stage.now) == 1
    stage.check()
    assert [(o.kind.name, o.status) for o in stage.orders] == [("GIVE_BACK", 1)]
    assert stage.board.asker_left(other, stage.now) == 0
    stage.check()
    assert [(o.kind.name, o.asker) for o in stage.orders] == [("END", -1)]
    assert stage.board.totals().waiting == 0
    assert stage.board.next_time(stage.now) == float("inf")


def test_an_outcome_of_an_earlier_attempt_ends_the_rest() -> None:
    stage = Stage()
    lost = stage.doer()
    stage.tasks(retries=1, retry_wait_ms=1000)
    (early,) = stage.decide()
    stage.leave(lost, Leaving.LOST)
    stage.doer()
    (late,) = stage.decide()
    assert stage.outcome(late, status=ERROR).ruling is Ruling.AGAIN
    assert stage.outcome(early, doer=-1).ruling is Ruling.ACCEPTED
    assert stage.board.totals().waiting == 0


def test_who_rests_is_tried_from_here_though_it_ran_at_a_loop() -> None:
    stage = Stage()
    loop = stage.doer(relays=True)
    stage.tasks(retries=2)
    stage.tasks(retries=2, retry_wait_ms=1000)
    stage.board.doer_resized(loop, 2, 9, stage.now)
    at_once, rested = sorted(stage.decide(), key=lambda order: order.ticket)
    assert (at_once.retries, rested.retries) == (2, 0)
    assert stage.outcome(at_once, status=ERROR).ruling is Ruling.ACCEPTED, "the loop has tried it often enough"
    assert stage.outcome(rested, status=ERROR).ruling is Ruling.AGAIN
    assert stage.assigned(after=1.0) == [(rested.ticket, loop)]


def test_a_suspect_is_still_one_after_its_rest() -> None:
    stage = Stage()
    doer = stage.doer(capacity=2, window=10)
    (suspect,) = stage.tasks(crashes=2, retries=1, retry_wait_ms=500)
    (order,) = stage.decide()
    stage.outcome(order, status=ERROR)
    (running,) = stage.tasks()
    assert stage.assigned() == [(running, doer)]
    assert stage.assigned(after=0.5) == [], "the doer is emptied for it"
    assert suspect != running


def test_the_end_says_how_often_it_raised() -> None:
    stage = Stage(crash_limit=1)
    doer = stage.doer()
    stage.tasks(retries=2)
    order: OrderRecord
    for _ in range(2):
        (order,) = stage.decide()
        stage.outcome(order, status=ERROR)
    stage.decide()
    blame, end = stage.leave(doer, Leaving.CRASHED)
    assert (end.status, end.raised, blame.attempt) == (POISONED, 2, 3)
    assert stage.board.totals().retried == 2


@pytest.mark.parametrize("count", [1, 3000])
def test_the_agenda_forgets_rests_that_are_over(count: int) -> None:
    stage = Stage(lease=float("inf"))
    stage.doer(capacity=count, window=count)
    stage.tasks(count, retries=1, retry_wait_ms=1000)
    for order in stage.decide():
        stage.outcome(order, status=ERROR)
    for ticket in range(count):
        stage.board.cancel(stage.asker, ticket, stage.now)
    stage.check()
    assert stage.board.next_time(stage.now) == float("inf")
