# SPDX-License-Identifier: BSD-3-Clause
"""Doers that are loops themselves: what is left to them, how their size changes, and how tasks are asked back."""
import pytest

from covey.broker.records import Leaving, OrderKind, OrderRecord, Refusal, Ruling
from stage import CANCELLED, ERROR, LOST, Stage, kinds


def retract(stage: Stage, ticket: int, *, asker: int | None = None) -> list[OrderRecord]:
    stage.board.retract(stage.asker if asker is None else asker, ticket, stage.now)
    stage.check()
    return stage.orders


def answers(orders: list[OrderRecord]) -> list[tuple[int, int, int]]:
    return [(o.ticket, o.status, o.cargo) for o in orders if o.kind is OrderKind.GIVE_BACK]


def test_what_is_taken_back_before_it_began_was_no_attempt() -> None:
    stage = Stage()
    stage.measure(0.0001)
    stage.doer(window=3)
    stage.tasks(3, attempts=4)
    orders = stage.decide()
    assert [order.attempt for order in orders] == [5, 5, 5]
    stage.doer()
    (asked,) = (o for o in stage.decide(after=60.0) if o.kind is OrderKind.TAKE_BACK)
    stage.give_back(asked)
    (again,) = stage.decide()
    assert (again.ticket, again.attempt) == (asked.ticket, 5)
    assert again.token != asked.token


def test_a_loop_keeps_the_time_itself() -> None:
    stage = Stage(lease=float("inf"))
    stage.doer(capacity=4, relays=True)
    stage.tasks(4, timeout_ms=10)
    assert len(stage.decide()) == 4
    assert stage.board.next_time(stage.now) == float("inf")
    assert stage.decide(after=60.0) == []


def test_a_loop_survives_a_kill() -> None:
    stage = Stage()
    stage.measure(0.0001)
    loop = stage.doer(capacity=1, relays=True)
    running, waiting, _ = stage.tasks(3)
    stage.decide()
    assert [(o.kind.name, o.doer) for o in stage.cancel(running, force=True)][1] == ("KILL", loop)
    assert kinds(stage.cancel(waiting, force=True)) == ["END", "KILL"], "whether it waits there, the loop knows better"
    (next_one,) = stage.tasks()
    assert stage.assigned() == [(next_one, loop)]


def test_the_end_of_a_loop_is_a_loss() -> None:
    stage = Stage(loss_limit=1, crash_limit=1)
    loop = stage.doer(capacity=1, relays=True)
    stage.tasks()
    stage.decide()
    blame, end = stage.leave(loop, Leaving.CRASHED)
    assert (blame.kind.name, end.status) == ("BLAME", LOST)


def test_an_error_of_a_loop_was_tried_again_there() -> None:
    stage = Stage()
    stage.doer(relays=True)
    stage.tasks(retries=5)
    (order,) = stage.decide()
    assert stage.outcome(order, status=ERROR).ruling is Ruling.ACCEPTED


def test_a_loop_gets_suspects_beside_others() -> None:
    stage = Stage()
    loop = stage.doer(capacity=4, relays=True)
    plain, suspect = (*stage.tasks(), *stage.tasks(crashes=2))
    assert sorted(stage.assigned()) == [(plain, loop), (suspect, loop)]


def test_a_loop_gets_more_ahead_than_a_slot() -> None:
    stage = Stage(quantum=0.002, relay_quantum=0.02)
    stage.measure(0.0001)
    stage.doer(capacity=3, relays=True)
    stage.tasks(1000)
    assert len(stage.decide()) == 600


def test_a_doer_that_grows_begins_what_waited() -> None:
    stage = Stage()
    stage.measure(0.0001)
    doer = stage.doer(capacity=1, window=4)
    stage.tasks(6)
    stage.decide()
    assert stage.board.totals().running == 1
    stage.board.doer_resized(doer, 3, 6, 0.0)
    stage.check()
    assert stage.board.totals().running == 3
    assert len(stage.decide()) == 2


def test_a_doer_that_shrinks_keeps_what_it_has() -> None:
    stage = Stage()
    doer = stage.doer(capacity=3, window=3)
    first, second, third = stage.tasks(3)
    orders = stage.decide()
    stage.board.started(doer, orders[2].token, 0.0)
    stage.board.doer_resized(doer, 1, 1, 0.0)
    stage.check()
    (blame,) = stage.leave(doer, Leaving.LOST)
    assert blame.ticket == third, "who was heard to run is the last to be doubted"
    stage.doer(capacity=3)
    assert {ticket for ticket, _ in stage.assigned()} == {first, second, third}


def test_a_doer_without_a_place_gets_nothing_and_wants_nothing() -> None:
    stage = Stage(retract_after=0.001)
    doer = stage.doer(capacity=0)
    (ticket,) = stage.tasks()
    assert stage.decide(after=1.0) == []
    stage.board.doer_resized(doer, 1, 1, stage.now)
    assert stage.assigned() == [(ticket, doer)]
    stage.board.doer_resized(doer, 0, 0, stage.now)
    stage.check()
    idle = stage.doer()
    (asked,) = stage.decide(after=0.01)
    stage.give_back(asked)
    assert stage.assigned() == [(ticket, idle)]
    assert stage.board.doer_resized(99, 1, 1, 0.0) == Refusal.NO_SUCH


def test_ghosts_go_first_when_a_doer_shrinks() -> None:
    stage = Stage()
    doer = stage.doer(capacity=2, window=2)
    first, second = stage.tasks(2)
    stage.decide()
    stage.cancel(first)
    stage.board.doer_resized(doer, 1, 2, 0.0)
    stage.check()
    assert [blame.ticket for blame in stage.leave(doer, Leaving.LOST)] == [second]


@pytest.mark.parametrize("crashes", [0, 2])
def test_what_waits_is_given_back_at_once(crashes: int) -> None:
    stage = Stage()
    (ticket,) = stage.tasks(crashes=crashes)
    assert answers(retract(stage, ticket)) == [(ticket, 1, 100)]
    assert stage.board.totals().waiting == 0
    assert stage.board.totals().given_back == 1
    assert answers(retract(stage, ticket)) == [(ticket, 0, 0)], "it is here no more"


@pytest.mark.parametrize("gives", [True, False])
def test_what_waits_at_a_doer_is_asked_back_from_there(gives: bool) -> None:
    stage = Stage()
    stage.measure(0.0001)
    stage.doer()
    _, ticket = stage.tasks(2)
    stage.decide()
    (asked,) = retract(stage, ticket)
    assert (asked.kind.name, asked.ticket) == ("TAKE_BACK", ticket)
    stage.give_back(asked, gives=gives)
    assert answers(stage.orders) == [(ticket, int(gives), (100 + ticket) * gives)]


def test_what_is_known_to_run_stays() -> None:
    stage = Stage()
    doer = stage.doer()
    (ticket,) = stage.tasks()
    (order,) = stage.decide()
    stage.board.started(doer, order.token, 0.0)
    assert answers(retract(stage, ticket)) == [(ticket, 0, 0)]
    assert stage.outcome(order).ruling is Ruling.ACCEPTED


def test_what_is_only_believed_to_run_is_asked_for() -> None:
    stage = Stage()
    stage.doer()
    (ticket,) = stage.tasks()
    stage.decide()
    (asked,) = retract(stage, ticket)
    stage.give_back(asked)
    assert answers(stage.orders) == [(ticket, 1, 100)]


def test_what_ends_meanwhile_is_not_given_back() -> None:
    stage = Stage()
    stage.doer(capacity=3, relays=True)
    done, dropped, failed = (*stage.tasks(2), *stage.tasks(retries=1))
    orders = {order.ticket: order for order in stage.decide()}
    for ticket in (done, dropped, failed):
        retract(stage, ticket)
    stage.outcome(orders[done])
    assert answers(stage.orders) == [(done, 0, 0)]
    assert [(o.kind.name, o.status) for o in stage.cancel(dropped)][:2] == [("END", CANCELLED), ("GIVE_BACK", 0)]
    stage.outcome(orders[failed], status=ERROR)
    assert answers(stage.orders) == [(failed, 0, 0)]


@pytest.mark.parametrize("why", list(Leaving))
def test_what_had_not_begun_when_its_doer_was_lost_is_given_back(why: Leaving) -> None:
    stage = Stage()
    stage.measure(0.0001)
    doer = stage.doer(window=2)
    running, waiting = stage.tasks(2)
    stage.decide()
    retract(stage, running)
    retract(stage, waiting)
    found = dict(o[:2] for o in answers(stage.leave(doer, why)))
    assert found == {waiting: 1, running: int(why in (Leaving.PLANNED, Leaving.KILLED))}


def test_an_asker_that_left_is_not_answered() -> None:
    stage = Stage()
    stage.doer()
    (ticket,) = stage.tasks()
    (order,) = stage.decide()
    retract(stage, ticket)
    stage.board.asker_left(stage.asker, 0.0)
    stage.check()
    assert kinds(stage.orders) == ["END", "REVOKE"]
    stage.give_back(order)
    assert stage.orders == []


def test_what_was_given_back_to_one_that_left_is_still_let_go() -> None:
    stage = Stage()
    (ticket,) = stage.tasks()
    stage.board.retract(stage.asker, ticket, 0.0)
    stage.board.asker_left(stage.asker, 0.0)
    assert [(o.kind.name, o.asker, o.cargo) for o in stage.board.orders()] == [("GIVE_BACK", -1, 100)]
