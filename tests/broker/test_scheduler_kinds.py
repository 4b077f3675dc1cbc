# SPDX-License-Identifier: BSD-3-Clause
"""Which kinds of doers do which tasks, and who comes first where tasks of different needs compete."""
from collections import Counter

import pytest

from stage import Stage, kinds

CPU, GPU, CPU_BESIDE = range(3)
ON_CPU, ON_GPU, GPU_FIRST, ANYWHERE = 0b101, 0b010, 0b011, 0b111


@pytest.mark.parametrize("needs", range(1, 8))
def test_a_task_goes_only_where_it_may(needs: int) -> None:
    stage = Stage()
    doers = [stage.doer(kind=kind) for kind in (CPU, GPU, CPU_BESIDE)]
    stage.measure(0.2)
    stage.tasks(3, needs=needs)
    assert sorted(doer for _, doer in stage.assigned()) == [d for k, d in enumerate(doers) if needs >> k & 1]


def test_what_any_doer_may_do_leaves_the_gpu_alone() -> None:
    stage = Stage()
    doers = {stage.doer(kind=kind): kind for kind in (GPU, CPU_BESIDE, CPU)}
    for expected in (CPU, CPU_BESIDE, GPU):
        stage.tasks(needs=ANYWHERE)
        assert [doers[doer] for _, doer in stage.assigned()] == [expected]


def test_what_prefers_a_gpu_gets_one_unless_somebody_has_no_choice() -> None:
    stage = Stage()
    cpu, gpu = stage.doer(kind=CPU), stage.doer(kind=GPU)
    (task,) = stage.tasks(needs=GPU_FIRST)
    (order,) = stage.decide()
    assert (order.ticket, order.doer) == (task, gpu)
    stage.outcome(order)
    (choosy,) = stage.tasks(needs=GPU_FIRST)
    (bound,) = stage.tasks(needs=ON_GPU)
    assert sorted(stage.assigned()) == [(choosy, cpu), (bound, gpu)]


def test_a_gpu_goes_to_what_needs_it_first() -> None:
    stage = Stage()
    stage.tasks(2, needs=ANYWHERE)
    (bound,) = stage.tasks(needs=ON_GPU)
    gpu = stage.doer(kind=GPU, window=1)
    assert stage.assigned() == [(bound, gpu)]


def test_priority_comes_before_choice() -> None:
    stage = Stage()
    stage.tasks(needs=ON_GPU)
    (urgent,) = stage.tasks(needs=ANYWHERE, priority=1)
    gpu = stage.doer(kind=GPU, window=1)
    assert stage.assigned() == [(urgent, gpu)]


def test_askers_are_equals_whatever_their_tasks_need() -> None:
    stage = Stage()
    other = stage.board.asker_joined(0.0)
    stage.tasks(100, needs=ON_GPU)
    stage.tasks(100, asker=other, needs=ANYWHERE)
    stage.doer(kind=GPU, window=1)
    got: Counter[int] = Counter()
    for _ in range(60):
        (order,) = stage.decide()
        got[order.asker] += 1
        stage.outcome(order, run=0.001)
    assert got == {stage.asker: 30, other: 30}


def test_an_idle_doer_draws_only_what_it_may_do() -> None:
    stage = Stage(retract_after=0.001)
    stage.measure(0.000001)
    stage.doer(kind=CPU_BESIDE, window=6)
    bound = stage.tasks(3, needs=1 << CPU_BESIDE)
    free = stage.tasks(3, needs=ON_CPU)
    stage.decide()
    stage.doer(kind=GPU)
    assert stage.decide(after=0.01) == []
    stage.doer(kind=CPU)
    assert {order.ticket for order in stage.decide(after=0.01)} == set(free)
    assert bound


def test_idle_doers_of_the_wrong_kind_do_not_keep_the_broker_awake() -> None:
    stage = Stage(retract_after=0.001, lease=float("inf"))
    stage.measure(0.000001)
    stage.doer(window=6)
    stage.tasks(6)
    stage.decide()
    stage.doer(kind=GPU)
    stage.decide(after=0.01)
    assert stage.board.next_time(stage.now) == float("inf")


def test_a_suspect_gets_a_doer_of_any_kind_that_will_do() -> None:
    stage = Stage()
    doers = [stage.doer(kind=kind) for kind in (CPU, CPU_BESIDE)]
    stage.tasks(1, needs=1 << CPU)
    (running,) = stage.decide()
    (suspect,) = stage.tasks(needs=ON_CPU, crashes=2)
    assert stage.assigned() == [(suspect, doers[1])]
    assert running.doer == doers[0]


def test_the_capacity_of_a_kind_is_that_of_who_may_get_something() -> None:
    stage = Stage()
    first, second = stage.doer(capacity=4), stage.doer(kind=GPU)
    third = stage.doer(capacity=2)
    assert stage.board.totals().capacity == (6, 1, 0, 0)
    stage.board.drain(first, 0.0)
    assert stage.board.capacity(CPU) == 2
    stage.board.doer_resized(third, 9, 9, 0.0)
    assert stage.board.capacity(CPU) == 9
    (ticket,) = stage.tasks(needs=ON_GPU)
    stage.decide()
    assert kinds(stage.cancel(ticket, force=True)) == ["END", "KILL"]
    assert stage.board.totals().capacity == (9, 0, 0, 0)
    assert second != third
