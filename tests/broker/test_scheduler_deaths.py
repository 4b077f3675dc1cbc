# SPDX-License-Identifier: BSD-3-Clause
"""Who is blamed for what when doers die, fall silent, are killed or leave; and what late news are worth."""
import pytest

from covey.broker.records import Leaving, Ruling
from stage import BROKEN, LOST, POISONED, SPLITTABLE, TIMED_OUT, VALUE, Stage, kinds


def test_what_ran_is_blamed_and_what_waited_is_not() -> None:
    stage = Stage()
    stage.measure(0.0001)
    doer = stage.doer(window=3)
    first, second, third = stage.tasks(3)
    running, *_ = stage.decide()
    (blame,) = stage.leave(doer, Leaving.CRASHED)
    assert (blame.kind.name, blame.doer, blame.ticket, blame.token) == ("BLAME", doer, first, running.token)
    stage.doer(window=3)
    orders = stage.decide()
    assert [(o.ticket, o.crashes, o.attempt) for o in orders] == [(first, 1, 2), (second, 0, 1), (third, 0, 1)]


def test_a_doer_of_many_blames_all_that_ran() -> None:
    stage = Stage()
    stage.measure(0.0001)
    doer = stage.doer(capacity=2, window=4)
    tickets = stage.tasks(4)
    stage.decide()
    blames = stage.leave(doer, Leaving.CRASHED)
    assert [(o.kind.name, o.ticket) for o in blames] == [("BLAME", tickets[0]), ("BLAME", tickets[1])]


def test_a_started_corrects_who_ran() -> None:
    stage = Stage()
    stage.measure(0.0001)
    doer = stage.doer(window=3)
    first, second, _ = stage.tasks(3)
    orders = stage.decide()
    stage.outcome(orders[0])
    assert stage.board.started(doer, orders[2].token, 0.0) == 1
    stage.check()
    (blame,) = stage.leave(doer, Leaving.CRASHED)
    assert blame.token == orders[2].token
    assert first != second


def test_three_deaths_poison_a_task() -> None:
    stage = Stage(crash_limit=3)
    (ticket,) = stage.tasks()
    for death in range(1, 4):
        doer = stage.doer()
        (order,) = stage.decide()
        assert (order.attempt, order.crashes) == (death, death - 1)
        orders = stage.leave(doer, Leaving.CRASHED)
        assert orders[0].kind.name == "BLAME"
        assert orders[0].attempt == death
    assert kinds(orders) == ["BLAME", "END"]
    assert (orders[1].ticket, orders[1].status, orders[1].crashes, orders[1].cargo) == (ticket, POISONED, 3, 100)


def test_a_limit_that_is_higher_than_anybody_counts_is_none() -> None:
    stage = Stage(crash_limit=256, loss_limit=256)
    stage.tasks(timeout_ms=1_000)
    for death in range(2 * 256):
        doer = stage.doer()
        # More attempts than a token tells apart, and for each an entry on the agenda.
        (order,) = stage.decide(after=0.003)
        assert kinds(stage.leave(doer, Leaving.LOST if death % 2 else Leaving.CRASHED)) == ["BLAME"]
    stage.doer()
    (order,) = stage.decide()
    assert order.token >> 56 == 2 * 256 + 1 - 2 * 255
    assert (order.attempt, order.crashes) == (255, 255)
    assert kinds(stage.decide(after=0.999)) == []
    assert kinds(stage.decide(after=0.002)) == ["END", "KILL"]


def test_a_bundle_is_handed_back_at_its_first_crash() -> None:
    stage = Stage()
    doer = stage.doer()
    stage.tasks(flags=SPLITTABLE)
    stage.decide()
    blame, end = stage.leave(doer, Leaving.CRASHED)
    assert (blame.kind.name, end.kind.name, end.status) == ("BLAME", "END", BROKEN)


def test_a_crash_known_from_before_counts() -> None:
    stage = Stage(crash_limit=2)
    doer = stage.doer()
    stage.tasks(crashes=1, flags=SPLITTABLE)
    stage.decide()
    assert [o.status for o in stage.leave(doer, Leaving.CRASHED)] == [0, POISONED]


def test_a_suspect_is_alone() -> None:
    stage = Stage()
    stage.measure(0.0001)
    doer = stage.doer(capacity=2, window=10)
    bystanders = stage.tasks(1)
    running = stage.decide()
    (suspect,) = stage.tasks(crashes=2)
    more = stage.tasks(3)
    assert stage.decide() == [], "the doer is emptied for it"
    stage.outcome(running[0])
    (order,) = stage.decide()
    assert (order.ticket, order.doer) == (suspect, doer)
    stage.outcome(order)
    assert [ticket for ticket, _ in stage.assigned()] == more
    assert bystanders == [running[0].ticket]


def test_the_third_crash_disturbs_nobody() -> None:
    stage = Stage()
    stage.measure(0.0001)
    stage.tasks()
    for _ in range(2):
        doer = stage.doer(window=9)
        stage.decide()
        stage.leave(doer, Leaving.CRASHED)
    bystanders = stage.tasks(5)
    doer = stage.doer(window=9)
    assert len(stage.decide()) == 1, "it has the slot for itself"
    assert kinds(stage.leave(doer, Leaving.CRASHED)) == ["BLAME", "END"]
    stage.doer(window=9)
    assert [(o.ticket, o.attempt) for o in stage.decide()] == [(ticket, 1) for ticket in bystanders]


def test_an_empty_doer_takes_the_suspect_at_once() -> None:
    stage = Stage()
    first, second = stage.doer(), stage.doer(capacity=4)
    (suspect,) = stage.tasks(crashes=2)
    others = stage.tasks(2)
    given = dict(stage.assigned())
    alone = given.pop(suspect)
    assert alone in (first, second)
    assert list(given) == others
    assert alone not in given.values()


def test_the_reserve_is_given_up_with_the_suspect() -> None:
    stage = Stage()
    doer = stage.doer(capacity=2, window=2)
    stage.tasks()
    stage.decide()
    (suspect,) = stage.tasks(crashes=2)
    (other,) = stage.tasks()
    assert stage.decide() == []
    stage.cancel(suspect)
    assert stage.assigned() == [(other, doer)]


def test_losses_are_counted_apart() -> None:
    stage = Stage(loss_limit=2, crash_limit=2)
    stage.tasks()
    for why in (Leaving.LOST, Leaving.CRASHED):
        doer = stage.doer()
        stage.decide()
        assert kinds(stage.leave(doer, why)) == ["BLAME"]
    doer = stage.doer()
    (order,) = stage.decide()
    assert order.crashes == 1
    blame, end = stage.leave(doer, Leaving.LOST)
    assert (blame.kind.name, end.kind.name, end.status) == ("BLAME", "END", LOST)
    totals = stage.board.totals()
    assert (totals.crashes, totals.losses, totals.ended) == (1, 2, 1)


def test_slots_that_die_before_it_comes_are_losses() -> None:
    stage = Stage(loss_limit=3, crash_limit=1)
    (first, second) = stage.tasks(2)
    for _ in range(2):
        doer = stage.doer()
        stage.decide()
        (blame,) = stage.leave(doer, Leaving.IDLE)
        assert (blame.kind.name, blame.ticket) == ("BLAME", first)
    doer = stage.doer()
    stage.decide()
    _, end = stage.leave(doer, Leaving.IDLE)
    assert (end.kind.name, end.ticket, end.status, end.crashes) == ("END", first, POISONED, 0)
    stage.doer()
    assert [(o.ticket, o.attempt) for o in stage.decide()] == [(second, 1)]


@pytest.mark.parametrize("why", [Leaving.PLANNED, Leaving.KILLED])
def test_nobody_is_blamed(why: Leaving) -> None:
    stage = Stage()
    doer = stage.doer(capacity=2)
    tickets = stage.tasks(2)
    stage.decide()
    assert stage.leave(doer, why) == []
    stage.doer(capacity=2)
    assert [(o.ticket, o.crashes) for o in stage.decide()] == [(ticket, 0) for ticket in tickets]


def test_the_first_outcome_wins_whichever_attempt_it_is_of() -> None:
    stage = Stage()
    lost = stage.doer()
    (ticket,) = stage.tasks()
    (early,) = stage.decide()
    stage.leave(lost, Leaving.LOST)
    stage.doer(window=1)
    (late,) = stage.decide()
    verdict = stage.outcome(early, doer=-1)
    assert (verdict.ruling, verdict.ticket) == (Ruling.ACCEPTED, ticket)
    assert [(o.kind.name, o.token) for o in stage.orders] == [("TAKE_BACK", late.token), ("REVOKE", late.token)]
    stage.tasks()
    assert stage.decide() == [], "the second attempt still runs there"
    assert stage.outcome(late).ruling is Ruling.STALE
    assert len(stage.decide()) == 1


def test_an_old_outcome_ends_a_task_that_waits_again() -> None:
    stage = Stage()
    lost = stage.doer()
    stage.tasks()
    (order,) = stage.decide()
    stage.leave(lost, Leaving.LOST)
    assert stage.outcome(order, doer=-1).ruling is Ruling.ACCEPTED
    assert stage.board.totals().waiting == 0


def test_a_row_used_again_has_other_tokens() -> None:
    stage = Stage()
    stage.doer()
    stage.tasks()
    (order,) = stage.decide()
    stage.outcome(order)
    stage.tasks()
    (other,) = stage.decide()
    assert other.token & 0xFFFFFFFF == order.token & 0xFFFFFFFF
    assert other.token != order.token
    assert stage.outcome(order).ruling is Ruling.STALE
    assert stage.outcome(other).ruling is Ruling.ACCEPTED


def test_time_is_up() -> None:
    stage = Stage()
    doer = stage.doer(window=2)
    (slow, other) = (*stage.tasks(timeout_ms=50), *stage.tasks())
    stage.decide()
    assert stage.board.next_time(0.0) == pytest.approx(0.05)
    assert stage.decide(after=0.049) == []
    end, kill = stage.decide(after=0.002)
    assert (end.kind.name, end.ticket, end.status) == ("END", slow, TIMED_OUT)
    assert (kill.kind.name, kill.doer) == ("KILL", doer)
    assert stage.leave(doer, Leaving.KILLED) == []
    stage.doer()
    assert [(o.ticket, o.crashes) for o in stage.decide()] == [(other, 0)]


def test_a_timeout_counts_from_the_start() -> None:
    stage = Stage()
    doer = stage.doer(window=2)
    _, second = stage.tasks(2, timeout_ms=50)
    first_order, second_order = stage.decide()
    stage.now = 0.04
    stage.outcome(first_order)
    assert stage.decide(after=0.03) == []
    stage.board.started(doer, second_order.token, stage.now)
    assert stage.decide(after=0.04) == []
    assert [o.ticket for o in stage.decide(after=0.011)] == [second, second]


def test_a_corrected_belief_keeps_one_entry_on_the_agenda() -> None:
    stage = Stage(lease=float("inf"))
    doer = stage.doer(window=2)
    stage.tasks(2, timeout_ms=50)
    orders = stage.decide()
    for order in orders * 3:
        stage.board.started(doer, order.token, stage.now)
        stage.check()
    ended = []
    while stage.now < 0.2:
        ended += kinds(stage.decide(after=0.01))
    assert ended == ["END", "KILL"]


def test_finished_tasks_leave_nothing_on_the_agenda() -> None:
    stage = Stage(lease=float("inf"))
    stage.doer()
    for _ in range(500):
        stage.tasks(timeout_ms=3_600_000)
        (order,) = stage.decide(after=0.001)
        stage.outcome(order)
    assert stage.board.next_time(stage.now) == float("inf")


def test_a_silent_doer_is_given_up() -> None:
    stage = Stage(lease=5.0, pause=1.0)
    silent, lively = stage.doer(), stage.doer()
    (ticket,) = stage.tasks()
    (order,) = stage.decide()
    speaking = lively if order.doer == silent else silent
    orders = []
    while stage.now < 6.0 and not orders:
        assert stage.board.next_time(stage.now) <= stage.now + 0.5
        stage.board.heard(speaking, stage.now)
        orders = stage.decide(after=0.5)
    assert stage.now == pytest.approx(5.0)
    assert [(o.kind.name, o.doer, o.status) for o in orders] == [
        ("DISMISS", order.doer, LOST), ("BLAME", order.doer, 0), ("ASSIGN", speaking, 0)]
    # Who is given up may speak again: what it did counts, but it gets nothing.
    assert stage.outcome(order, status=VALUE).ruling is Ruling.ACCEPTED
    assert kinds(stage.orders) == ["TAKE_BACK", "REVOKE"]
    assert stage.leave(order.doer, Leaving.LOST) == []
    assert stage.board.totals().losses == 1
    assert ticket == order.ticket


def test_a_pause_of_ours_is_nobodys_silence() -> None:
    stage = Stage(lease=5.0, pause=1.0)
    stage.doer()
    stage.decide()
    assert stage.decide(after=3600.0) == []
    for _ in range(9):
        assert stage.decide(after=0.5) == []
    assert kinds(stage.decide(after=0.6)) == ["DISMISS"]


def test_draining() -> None:
    stage = Stage()
    stage.measure(0.0001)
    doer = stage.doer(window=3)
    tickets = stage.tasks(4)
    orders = stage.decide()
    stage.board.drain(doer, 0.0)
    stage.check()
    asked = [(o.kind.name, o.token) for o in stage.orders]
    assert asked == [("TAKE_BACK", orders[2].token), ("TAKE_BACK", orders[1].token)]
    stage.give_back(orders[2])
    stage.give_back(orders[1], gives=False)
    assert stage.decide() == []
    stage.outcome(orders[0])
    assert stage.decide() == []
    stage.outcome(orders[1])
    assert [(o.kind.name, o.doer, o.status) for o in stage.orders] == [("DISMISS", doer, 0)]
    stage.doer()
    assert [ticket for ticket, _ in stage.assigned()] == tickets[2:]
    assert stage.leave(doer, Leaving.PLANNED) == []


def test_draining_who_holds_nothing() -> None:
    stage = Stage()
    doer = stage.doer()
    stage.board.drain(doer, 0.0)
    stage.board.drain(doer, 0.0)
    stage.check()
    assert kinds(stage.orders) == ["DISMISS"]
