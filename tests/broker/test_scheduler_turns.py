# SPDX-License-Identifier: BSD-3-Clause
"""Whose turn it is, what an asker may send, and how an ordinary task goes its way."""
import pytest

from covey.broker.board import Board
from covey.broker.records import Leaving, OrderKind, Refusal, Ruling
from covey.settings import Settings
from stage import CANCELLED, ERROR, Stage, kinds


def test_a_task_goes_its_way() -> None:
    stage = Stage()
    doer = stage.doer()
    stage.tasks(function=3, priority=-2, retries=1, timeout_ms=5000, flags=1)
    (order,) = stage.decide()
    assert (order.kind.name, order.doer, order.ticket, order.cargo, order.function) == ("ASSIGN", doer, 0, 100, 3)
    assert (order.priority, order.retries, order.timeout_ms, order.flags, order.attempt) == (-2, 1, 5000, 1, 1)
    assert stage.board.find(order.token) == (stage.asker, 0)
    verdict = stage.outcome(order)
    assert (verdict.ruling, verdict.asker, verdict.ticket, verdict.cargo) == (Ruling.ACCEPTED, stage.asker, 0, 100)
    assert stage.outcome(order).ruling is Ruling.STALE
    assert stage.board.find(order.token) is None


def test_tasks_of_one_asker_go_in_their_order() -> None:
    stage = Stage()
    for _ in range(5):
        stage.doer()
    tickets = stage.tasks(5)
    assert [ticket for ticket, _ in stage.assigned()] == tickets


def test_urgent_tasks_of_an_asker_go_first() -> None:
    stage = Stage()
    later, usual, urgent = (stage.tasks(2, priority=p) for p in (-5, 0, 7))
    for _ in range(6):
        stage.doer()
    assert [ticket for ticket, _ in stage.assigned()] == urgent + usual + later


def test_priority_does_not_count_between_askers() -> None:
    stage = Stage()
    other = stage.board.asker_joined(0.0)
    stage.tasks(50, priority=100)
    modest = stage.tasks(50, asker=other, priority=-100)
    for _ in range(10):
        stage.doer(window=1)
    given = [ticket for ticket, _ in stage.assigned()]
    assert len([ticket for ticket in given if ticket in modest]) == 5


def shares(stage: Stage, askers: list[int], rounds: int = 300) -> list[int]:
    """How many tasks each asker got, of so many."""
    doer = stage.doer(window=1)
    got = dict.fromkeys(askers, 0)
    for _ in range(rounds):
        (order,) = stage.decide()
        got[order.asker] += 1
        stage.outcome(order, run=0.001)
    stage.leave(doer, Leaving.PLANNED)
    return list(got.values())


def test_weights_are_shares() -> None:
    stage = Stage()
    askers = [stage.asker, stage.board.asker_joined(0.0, 2.0), stage.board.asker_joined(0.0, 3.0)]
    for asker in askers:
        stage.tasks(300, asker=asker)
    assert shares(stage, askers) == pytest.approx([50, 100, 150], abs=2)


def test_a_share_is_time_not_tasks() -> None:
    stage = Stage()
    stage.measure(0.001, function=1)
    stage.measure(0.010, function=2)
    other = stage.board.asker_joined(0.0)
    stage.tasks(300, function=1)
    stage.tasks(300, asker=other, function=2)
    stage.doer(window=1)
    seconds = {stage.asker: 0.0, other: 0.0}
    for _ in range(110):
        (order,) = stage.decide()
        took = 0.001 if order.function == 1 else 0.010
        seconds[order.asker] += took
        stage.outcome(order, run=took)
    assert seconds[stage.asker] == pytest.approx(seconds[other], abs=0.011)


def test_a_newcomer_neither_waits_nor_rules() -> None:
    stage = Stage()
    stage.tasks(500)
    assert shares(stage, [stage.asker], 100) == [100]
    other = stage.board.asker_joined(0.0)
    stage.tasks(300, asker=other)
    assert shares(stage, [stage.asker, other], 100) == pytest.approx([50, 50], abs=1)


def test_idling_earns_nothing() -> None:
    stage = Stage()
    other = stage.board.asker_joined(0.0)
    stage.tasks(1, asker=other)
    stage.tasks(500)
    shares(stage, [stage.asker, other], 200)
    stage.tasks(300, asker=other)
    assert shares(stage, [stage.asker, other], 100) == pytest.approx([50, 50], abs=1)


def test_what_did_not_run_is_not_charged() -> None:
    stage = Stage()
    other = stage.board.asker_joined(0.0)
    stage.tasks(5)
    stage.tasks(5, asker=other)
    doer = stage.doer(window=1)
    (first,) = stage.decide()
    stage.outcome(first, run=0.001)
    stage.leave(doer, Leaving.PLANNED)
    askers = set()
    for _ in range(6):
        doer = stage.doer(window=1)
        (order,) = stage.decide()
        askers.add(order.asker)
        stage.leave(doer, Leaving.PLANNED)
    assert askers == {stage.asker, other} - {first.asker}, "whose turn it was, its turn it still is"


def test_a_ticket_names_one_unfinished_task() -> None:
    stage = Stage()
    other = stage.board.asker_joined(0.0)
    assert stage.board.task(stage.asker, 5, 0.0) >= 0
    assert stage.board.task(stage.asker, 5, 0.0) == Refusal.DUPLICATE
    assert stage.board.task(other, 5, 0.0) >= 0
    stage.cancel(5)
    assert stage.board.task(stage.asker, 5, 0.0) >= 0


def test_credit_in_tasks_and_in_bytes() -> None:
    board = Board(Settings(credit_tasks=3, credit_bytes=100))
    asker, other = board.asker_joined(0.0), board.asker_joined(0.0)
    assert [board.task(asker, ticket, 0.0) >= 0 for ticket in range(3)] == [True] * 3
    assert board.task(asker, 3, 0.0) == Refusal.OVER_CREDIT
    assert board.task(other, 0, 0.0, length=60) >= 0
    assert board.task(other, 1, 0.0, length=60) == Refusal.OVER_CREDIT
    board.cancel(other, 0, 0.0)
    assert board.task(other, 1, 0.0, length=5000) >= 0, "one that is over all credit may come alone"
    assert board.task(other, 2, 0.0, length=0) == Refusal.OVER_CREDIT


def test_a_doer_gets_bytes_up_to_its_room_and_one_task_however_large() -> None:
    board = Board()
    asker, doer = board.asker_joined(0.0), board.doer_joined(0.0, capacity=8, relays=True)
    assert board.byte_room(doer, 100) == 0
    assert board.byte_room(doer + 1, 100) == Refusal.NO_SUCH

    def given(now: float) -> list[int]:
        board.decide(now)
        assert board.validate() == 0
        return [order.token for order in board.orders() if order.kind == OrderKind.ASSIGN]

    for ticket in range(5):
        assert board.task(asker, ticket, 0.0, length=60) >= 0
    tokens = given(0.0)
    assert len(tokens) == 2, "60 bytes leave room, 120 leave none"
    assert board.outcome(doer, tokens[0], 0.1).ruling == Ruling.ACCEPTED
    assert len(given(0.1)) == 1
    assert board.byte_room(doer, 0) == 0
    assert board.outcome(doer, tokens[1], 0.2).ruling == Ruling.ACCEPTED
    assert given(0.2) == [], "it still has one"
    assert board.byte_room(doer, 1 << 40) == 0
    assert len(given(0.3)) == 2
    board.cancel(asker, 2, 0.4)
    assert board.validate() == 0


def test_facts_that_cannot_be() -> None:
    board = Board()
    asker = board.asker_joined(0.0)
    assert board.task(asker + 1, 0, 0.0) == Refusal.NO_SUCH
    assert board.task(asker, 0, 0.0, needs=9) == Refusal.NO_SUCH
    assert board.task(asker, 0, 0.0, needs=0) == Refusal.NO_SUCH
    assert board.task(asker, 0, 0.0, function=-1) == Refusal.NO_SUCH
    assert board.doer_joined(0.0, 7) == Refusal.NO_SUCH
    assert board.doer_left(0, 0, 0.0) == Refusal.NO_SUCH
    assert board.asker_left(9, 0.0) == Refusal.NO_SUCH
    assert board.cancel(asker, 1, 0.0) == 0
    assert board.outcome(3, 99, 0.0).ruling is Ruling.STALE


def test_kinds_do_not_mix_where_needs_forbid_it() -> None:
    stage = Stage()
    gpu, cpu = stage.doer(kind=1), stage.doer()
    (on_cpu,), (on_gpu,) = stage.tasks(), stage.tasks(needs=2)
    assert sorted(stage.assigned()) == [(on_cpu, cpu), (on_gpu, gpu)]


def test_an_error_is_tried_again_as_often_as_asked() -> None:
    stage = Stage()
    stage.doer()
    stage.tasks(1, retries=2)
    for attempt in (1, 2):
        (order,) = stage.decide()
        assert order.attempt == attempt
        assert stage.outcome(order, status=ERROR).ruling is Ruling.AGAIN
    (order,) = stage.decide()
    assert stage.outcome(order, status=ERROR).ruling is Ruling.ACCEPTED
    assert stage.board.totals().retried == 2


def test_an_asker_that_leaves_takes_its_tasks_along() -> None:
    stage = Stage()
    stage.doer(window=2)
    stage.tasks(4)
    running, queued = stage.decide()
    stage.board.asker_left(stage.asker, 0.0)
    stage.check()
    ends = [order for order in stage.orders if order.kind.name == "END"]
    assert {order.asker for order in ends} == {-1}
    assert sorted(order.cargo for order in ends) == [100, 101, 102, 103]
    assert [order.token for order in stage.orders if order.kind.name == "REVOKE"] == [running.token, queued.token]
    assert stage.outcome(running).ruling is Ruling.STALE
    assert stage.board.totals().assigned == stage.board.totals().waiting == 0


def test_what_was_said_to_one_that_left_is_said_to_nobody() -> None:
    stage = Stage()
    (ticket,) = stage.tasks()
    stage.board.cancel(stage.asker, ticket, 0.0)
    stage.board.asker_left(stage.asker, 0.0)
    assert [(order.kind.name, order.asker) for order in stage.board.orders()] == [("END", -1)]


def test_cancelling_what_waits() -> None:
    stage = Stage()
    first, second, third = stage.tasks(3)
    (end,) = stage.cancel(second)
    assert (end.kind.name, end.asker, end.ticket, end.status, end.cargo) == (
        "END", stage.asker, second, CANCELLED, 100 + second)
    stage.doer()
    assert [ticket for ticket, _ in stage.assigned()] == [first, third]


def test_cancelling_what_runs_holds_the_place_until_it_ends() -> None:
    stage = Stage()
    stage.doer(window=1)
    first, second = stage.tasks(2)
    (order,) = stage.decide()
    assert kinds(stage.cancel(first)) == ["END", "TAKE_BACK", "REVOKE"]
    stage.give_back(order, gives=False)
    assert stage.decide() == [], "it still runs there"
    assert stage.outcome(order).ruling is Ruling.STALE
    assert [ticket for ticket, _ in stage.assigned()] == [second]


def test_cancelling_what_had_not_begun_frees_the_place() -> None:
    stage = Stage()
    stage.doer(window=1)
    first, second = stage.tasks(2)
    (order,) = stage.decide()
    stage.cancel(first)
    stage.give_back(order)
    assert [ticket for ticket, _ in stage.assigned()] == [second]


def test_what_is_known_to_run_is_not_asked_back() -> None:
    stage = Stage()
    doer = stage.doer()
    (ticket,) = stage.tasks()
    (order,) = stage.decide()
    stage.board.started(doer, order.token, 0.0)
    assert kinds(stage.cancel(ticket)) == ["END", "REVOKE"]


def test_what_waits_behind_a_cancelled_task_comes_back_too() -> None:
    stage = Stage()
    stage.doer()
    first, _ = stage.tasks(2)
    running, queued = stage.decide()
    stage.cancel(first)
    stage.give_back(running, gives=False)
    idle = stage.doer()
    (asked,) = stage.decide(after=0.01)
    assert asked.token == queued.token
    stage.give_back(asked)
    assert stage.assigned() == [(queued.ticket, idle)]


def test_cancelling_what_waits_at_a_doer() -> None:
    stage = Stage()
    stage.doer(window=2)
    _, second, third = stage.tasks(3)
    stage.decide()
    assert kinds(stage.cancel(second)) == ["END", "REVOKE"]
    assert [ticket for ticket, _ in stage.assigned()] == [third]


def test_cancelling_by_force_kills() -> None:
    stage = Stage()
    doer = stage.doer(window=2)
    first, second = stage.tasks(2)
    stage.decide()
    end, kill = stage.cancel(first, force=True)
    assert (end.status, kill.kind.name, kill.doer) == (CANCELLED, "KILL", doer)
    assert stage.decide() == [], "who is about to be killed gets nothing more"
    assert stage.leave(doer, Leaving.KILLED) == []
    other = stage.doer()
    (order,) = stage.decide()
    assert (order.ticket, order.doer, order.crashes) == (second, other, 0)
