# SPDX-License-Identifier: BSD-3-Clause
"""A task under which memory ran out: once more, alone on its machine, and then no more."""
import pytest

from covey.broker.records import Leaving
from stage import BROKEN, ERROR, MAYBE_RAN, ONCE, OUT_OF_MEMORY, SPLITTABLE, Stage, kinds


def starved(stage: Stage, **how: int) -> tuple[int, int]:
    """The ticket of a task under which memory has run out once, and the slot that stands for the one that died."""
    doer = stage.doer()
    (ticket,) = stage.tasks(**how)
    stage.decide()
    assert kinds(stage.leave(doer, Leaving.OOM)) == ["BLAME"]
    return ticket, stage.doer()


def test_it_is_tried_once_more_and_then_ended() -> None:
    stage = Stage()
    ticket, doer = starved(stage)
    (order,) = stage.decide()
    assert (order.ticket, order.doer, order.attempt, order.crashes) == (ticket, doer, 2, 0)
    blame, end = stage.leave(doer, Leaving.OOM)
    assert (blame.kind.name, end.kind.name, end.ticket, end.status) == ("BLAME", "END", ticket, OUT_OF_MEMORY)
    totals = stage.board.totals()
    assert (totals.ooms, totals.crashes, totals.losses, totals.ended) == (2, 0, 0, 1)


def test_no_slot_runs_anything_beside_it() -> None:
    stage = Stage()
    other = stage.doer()
    running = stage.tasks()
    (first,) = stage.decide()
    ticket, doer = starved(stage)
    more = stage.tasks(5)
    # The slot that came has a place free and the other one does not: each gets what it would have got.
    given = dict(stage.assigned())
    assert ticket not in given
    ends = [first, *(order for order in stage.orders if order.ticket in given)]
    assert {order.doer for order in ends} == {other, doer}
    for order in ends:
        assert stage.assigned() == []
        stage.outcome(order)
    ((alone, where),) = stage.assigned()
    assert (alone, where in (other, doer)) == (ticket, True)
    (order,) = stage.orders
    assert stage.assigned(after=100.0) == [], "nobody is beside it, however long it takes"
    stage.outcome(order)
    assert {place for _, place in stage.assigned()} == {other, doer}
    assert first.ticket == running[0]
    assert len(more) == 5


def test_what_was_sent_ahead_is_asked_back() -> None:
    stage = Stage()
    stage.measure(0.0001)
    other = stage.doer(window=4)
    tickets = stage.tasks(3)
    ahead = stage.decide()
    assert [order.doer for order in ahead] == [other] * 3
    ticket, doer = starved(stage)
    asked = stage.decide()
    assert [(o.kind.name, o.ticket) for o in asked] == [("TAKE_BACK", tickets[2]), ("TAKE_BACK", tickets[1])]
    stage.give_back(asked[0])
    stage.give_back(asked[1])
    assert stage.assigned() == []
    stage.outcome(ahead[0])
    assert [given for given, _ in stage.assigned()] == [ticket]
    stage.outcome(stage.orders[0])
    assert [given for given, _ in stage.assigned()] == tickets[1:]
    assert doer != other


def test_after_one_the_others_have_their_turn() -> None:
    stage = Stage()
    stage.measure(1.0)
    doers = [stage.doer(), stage.doer()]
    hungry = stage.tasks(2)
    stage.decide()
    for doer in doers:
        stage.leave(doer, Leaving.OOM)
    small = stage.tasks(3)
    doers = [stage.doer(), stage.doer()]
    seen: list[set[int]] = []
    for _ in range(4):
        orders = [order for order in stage.decide() if order.kind.name == "ASSIGN"]
        seen.append({order.ticket for order in orders})
        for order in orders:
            stage.outcome(order, run=1.0)
    assert seen[0] == set(small[:2])
    assert seen[1] | seen[3] == set(hungry)
    assert seen[2] == {small[2]}


def test_slots_of_other_machines_go_on() -> None:
    stage = Stage()
    node = stage.doer(capacity=2, relays=True)
    ticket, doer = starved(stage, needs=1)
    more = stage.tasks(3)
    given = dict(stage.assigned())
    assert list(given.values()).count(node) == 2
    (order,) = [order for order in stage.orders if order.doer == doer]
    stage.outcome(order)
    assert stage.assigned() == [(ticket, doer)]
    assert set(given) == set(more)


def test_one_that_is_killed_by_force_while_it_is_alone_gives_the_machine_back() -> None:
    stage = Stage()
    ticket, doer = starved(stage)
    other = stage.doer()
    ((alone, where),) = stage.assigned()
    (late,) = stage.tasks()
    assert stage.assigned() == []
    assert (kinds(stage.cancel(ticket, force=True)), alone) == (["END", "KILL"], ticket)
    assert stage.assigned() == [], "its slot has not died yet"
    assert stage.leave(where, Leaving.KILLED) == []
    assert stage.assigned() == [(late, ({doer, other} - {where}).pop())]
    totals = stage.board.totals()
    assert (totals.ooms, totals.crashes) == (1, 0)


def test_nothing_is_drawn_from_a_loop_for_slots_that_are_kept_free() -> None:
    stage = Stage()
    loop = stage.doer(capacity=2, relays=True)
    stage.tasks(3)
    at_loop = {order.ticket: order for order in stage.decide() if order.doer == loop}
    ticket, doer = starved(stage, needs=1)
    other = stage.doer()
    (alone,) = stage.decide()
    assert (len(at_loop), alone.ticket) == (3, ticket)
    assert kinds(stage.decide(after=1.0)) == [], "one slot has it, and the other is kept free"
    stage.outcome(alone)
    # From now on what waits at the loop is sought: one that it has begun, then the one that it lets wait in truth.
    (back,) = stage.decide(after=1.0)
    assert back.kind.name == "TAKE_BACK"
    stage.give_back(back, gives=False)
    (further,) = stage.decide(after=1.0)
    assert (further.kind.name, further.token != back.token) == ("TAKE_BACK", True)
    stage.give_back(further)
    ((found, where),) = stage.assigned()
    assert (found, where in (doer, other)) == (further.ticket, True)


def test_the_end_of_a_node_is_a_loss_whatever_it_is_called() -> None:
    stage = Stage()
    node = stage.doer(capacity=2, relays=True)
    stage.tasks()
    stage.decide()
    stage.leave(node, Leaving.OOM)
    totals = stage.board.totals()
    assert (totals.ooms, totals.losses) == (0, 1)


def test_one_that_is_cancelled_meanwhile_keeps_nobody_waiting() -> None:
    stage = Stage()
    other = stage.doer()
    stage.tasks()
    stage.decide()
    ticket, doer = starved(stage)
    stage.decide()
    (late,) = stage.tasks()
    assert stage.assigned() == [], "the machine is kept for it"
    assert kinds(stage.cancel(ticket)) == ["END"]
    assert stage.assigned() == [(late, doer)]
    assert other != doer


def test_what_was_cancelled_and_never_ends_is_not_waited_for_for_ever() -> None:
    stage = Stage(pause=0, lease=0)
    other = stage.doer()
    (endless,) = stage.tasks()
    stage.decide()
    ticket, doer = starved(stage)
    stage.decide()
    assert kinds(stage.cancel(endless)) == ["END", "TAKE_BACK", "REVOKE"]
    assert stage.assigned(after=9.0) == [], "it may end yet"
    assert stage.board.next_time(stage.now) == 10.0
    assert stage.assigned(after=1.0) == [(ticket, doer)]
    (alone,) = stage.orders
    (late,) = stage.tasks()
    assert stage.assigned(after=100.0) == [], "nobody else is beside it"
    stage.outcome(alone)
    assert stage.assigned() == [(late, doer)]
    assert other != doer


def test_one_that_is_cancelled_while_it_is_alone_and_never_ends_keeps_the_machine_no_longer() -> None:
    stage = Stage(pause=0, lease=0)
    ticket, doer = starved(stage)
    other = stage.doer()
    ((_, where),) = stage.assigned()
    (late,) = stage.tasks()
    stage.cancel(ticket)
    assert stage.assigned() == []
    assert stage.assigned(after=9.0) == [], "it may end yet"
    assert stage.assigned(after=1.0) == [(late, ({doer, other} - {where}).pop())]


def test_what_is_wanted_is_waited_for_however_long_it_takes() -> None:
    stage = Stage(pause=0, lease=0)
    stage.doer()
    stage.tasks()
    (running,) = stage.decide()
    ticket, _ = starved(stage)
    assert stage.assigned() == []
    assert stage.assigned(after=3600.0) == []
    stage.outcome(running)
    assert [given for given, _ in stage.assigned()] == [ticket]


def test_nobody_waits_for_one_whose_kind_of_slot_is_gone() -> None:
    stage = Stage()
    gpu = stage.doer(kind=1)
    stage.tasks(needs=2)
    stage.decide()
    stage.leave(gpu, Leaving.OOM)
    doer = stage.doer()
    (ticket,) = stage.tasks()
    assert stage.assigned() == [(ticket, doer)]


def test_its_asker_may_leave() -> None:
    stage = Stage()
    starved(stage)
    stage.board.asker_left(stage.asker, stage.now)
    stage.check()
    assert kinds(stage.orders) == ["END"]


def test_a_bundle_is_handed_back() -> None:
    stage = Stage()
    doer = stage.doer()
    stage.tasks(flags=SPLITTABLE)
    stage.decide()
    assert [o.status for o in stage.leave(doer, Leaving.OOM)] == [0, BROKEN]


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_the_limit_is_a_setting(limit: int) -> None:
    stage = Stage(oom_limit=limit)
    doer = stage.doer()
    (ticket,) = stage.tasks()
    for _ in range(limit):
        stage.decide()
        assert kinds(stage.leave(doer, Leaving.OOM)) == ["BLAME"]
        doer = stage.doer()
    assert stage.assigned() == [(ticket, doer)]
    assert [o.status for o in stage.leave(doer, Leaving.OOM)] == [0, OUT_OF_MEMORY]


def test_what_must_run_only_once_is_not_tried_again() -> None:
    stage = Stage()
    doer = stage.doer()
    (ticket,) = stage.tasks(flags=ONCE)
    (order,) = stage.decide()
    assert not stage.board.may_starve(order.token)
    blame, end = stage.leave(doer, Leaving.OOM)
    assert (blame.why, end.ticket, end.status) == (Leaving.OOM, ticket, MAYBE_RAN)
    stage.doer()
    assert stage.assigned() == []


def test_one_whose_asker_takes_no_results_keeps_nobody_waiting() -> None:
    stage = Stage()
    other = stage.doer()
    (busy,) = stage.tasks()
    (running,) = stage.decide()
    ticket, doer = starved(stage)
    assert stage.assigned() == [], "the machine is kept for it"
    stage.board.asker_held(stage.asker, True)
    (late,) = stage.tasks(asker=stage.board.asker_joined(stage.now))
    assert stage.assigned() == [(late, doer)]
    (second,) = stage.orders
    stage.outcome(running)
    stage.outcome(second)
    assert stage.assigned() == []
    stage.board.asker_held(stage.asker, False)
    ((alone, where),) = stage.assigned()
    assert (alone, where in (other, doer)) == (ticket, True)
    assert busy == running.ticket


def test_one_that_waits_for_its_machine_ends_with_the_link_of_its_asker() -> None:
    stage = Stage()
    stage.doer()
    stage.tasks()
    stage.decide()
    _, doer = starved(stage)
    assert stage.assigned() == []
    stage.board.asker_away(stage.asker, stage.now)
    stage.check()
    assert kinds(stage.orders) == ["END"]
    (late,) = stage.tasks(asker=stage.board.asker_joined(stage.now))
    assert stage.assigned() == [(late, doer)]


def test_one_that_is_alone_stays_so_when_another_adopts_it() -> None:
    stage = Stage()
    starved(stage)
    other = stage.doer()
    (order,) = stage.decide()
    stage.board.asker_away(stage.asker, stage.now)
    stage.check()
    assert not stage.board.may_starve(order.token), "who is away is tried nothing again"
    asker = stage.board.asker_joined(stage.now)
    assert stage.board.adopted(order.token, asker, 77) == 0
    (late,) = stage.tasks(asker=asker)
    assert stage.assigned() == []
    assert [(o.asker, o.ticket, o.status) for o in stage.leave(order.doer, Leaving.OOM)][1:] == [
        (asker, 77, OUT_OF_MEMORY)]
    assert stage.assigned() == [(late, other)]


def test_one_that_runs_for_an_asker_who_is_away_is_not_tried_again() -> None:
    stage = Stage()
    doer = stage.doer()
    stage.tasks()
    stage.decide()
    stage.board.asker_away(stage.asker, stage.now)
    stage.check()
    assert kinds(stage.leave(doer, Leaving.OOM)) == ["BLAME", "END"]
    stage.doer()
    assert stage.assigned() == []


def test_who_rests_meanwhile_keeps_nobody_waiting() -> None:
    stage = Stage()
    ticket, _ = starved(stage, retries=1, retry_wait_ms=500)
    stage.doer()
    (order,) = stage.decide()
    stage.outcome(order, status=ERROR)
    (late,) = stage.tasks()
    assert [given for given, _ in stage.assigned()] == [late]
    stage.outcome(stage.orders[0])
    assert [given for given, _ in stage.assigned(after=0.6)] == [ticket], "alone, still"
    assert stage.orders[0].retries == 0
    assert stage.leave(stage.orders[0].doer, Leaving.OOM)[1].raised == 1


def test_an_error_of_its_own_leaves_it_alone_the_next_time_too() -> None:
    stage = Stage()
    ticket, doer = starved(stage, retries=1)
    stage.doer()
    (order,) = stage.decide()
    stage.outcome(order, status=ERROR)
    stage.tasks(4)
    seen = []
    for _ in range(8):
        orders = [order for order in stage.decide() if order.kind.name == "ASSIGN"]
        seen.append([order.ticket for order in orders])
        for order in orders:
            stage.outcome(order)
    assert [ticket] in seen
    assert doer >= 0


def test_only_what_would_be_tried_again_may_be_starved() -> None:
    stage = Stage()
    doer = stage.doer()
    stage.tasks()
    (order,) = stage.decide()
    assert stage.board.may_starve(order.token)
    stage.leave(doer, Leaving.OOM)
    assert not stage.board.may_starve(order.token)
    stage.doer()
    (order,) = stage.decide()
    assert not stage.board.may_starve(order.token)
