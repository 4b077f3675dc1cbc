# SPDX-License-Identifier: BSD-3-Clause
"""Tasks that take a share of a GPU: how many fit on one, on what is begun, and at a loop that has some."""
from covey.broker.board import Board
from covey.broker.records import Leaving, Refusal
from stage import Stage

GPU, ON_GPU = 1, 0b010


def on_gpus(*devices: int, slots: int = 4) -> tuple[Stage, dict[int, int]]:
    stage = Stage()
    found = {
        stage.board.doer_joined(0.0, GPU, device=device): device for device in devices for _ in range(slots)}
    return stage, found


def test_a_device_has_ten_thousand_units() -> None:
    stage, _ = on_gpus(0)
    stage.tasks(4, needs=ON_GPU, share=3334)
    orders = stage.decide()
    assert len(orders) == 2
    stage.outcome(orders[0])
    assert len(stage.decide()) == 1, "to 0.0001"


def test_a_task_is_never_split_over_two_devices() -> None:
    stage, _ = on_gpus(0, 1)
    stage.tasks(3, needs=ON_GPU, share=6000)
    assert len(stage.decide()) == 2


def test_what_is_begun_is_filled_up_first() -> None:
    stage, devices = on_gpus(0, 1)
    stage.tasks(4, needs=ON_GPU, share=2500)
    assert len({devices[doer] for _, doer in stage.assigned()}) == 1
    (whole,) = stage.tasks(needs=ON_GPU)
    assert [ticket for ticket, _ in stage.assigned()] == [whole]


def test_a_whole_task_waits_for_a_whole_device() -> None:
    stage, _ = on_gpus(0)
    stage.tasks(needs=ON_GPU, share=1)
    (order,) = stage.decide()
    stage.tasks(needs=ON_GPU)
    assert stage.decide() == []
    stage.outcome(order)
    assert len(stage.decide()) == 1


def test_units_come_back_however_a_slot_ends() -> None:
    stage, _ = on_gpus(0, slots=2)
    stage.tasks(needs=ON_GPU, share=10_000)
    (order,) = stage.decide()
    stage.tasks(needs=ON_GPU, share=10_000)
    assert stage.decide() == []
    stage.leave(order.doer, Leaving.CRASHED)
    assert len(stage.decide()) == 1


def test_a_ghost_holds_its_units() -> None:
    stage, _ = on_gpus(0, slots=2)
    (ticket, _) = stage.tasks(2, needs=ON_GPU, share=6000)
    (order,) = stage.decide()
    stage.cancel(ticket)
    assert stage.decide() == []
    stage.outcome(order)
    assert len(stage.decide()) == 1


def test_a_suspect_gets_a_whole_device_in_the_end() -> None:
    stage, _ = on_gpus(0, slots=2)
    stage.tasks(3, needs=ON_GPU, share=5000)
    first, second = stage.decide()
    (suspect,) = stage.tasks(needs=ON_GPU, crashes=2)
    stage.outcome(first)
    assert stage.decide() == [], "what is begun runs empty for it"
    stage.outcome(second)
    assert suspect in [ticket for ticket, _ in stage.assigned()]


def test_a_device_counts_once_however_many_slots_it_has() -> None:
    stage, devices = on_gpus(0, 5)
    assert stage.board.capacity(GPU) == 2
    for doer in [doer for doer, device in devices.items() if device == 5]:
        stage.leave(doer, Leaving.PLANNED)
    assert stage.board.capacity(GPU) == 1


def test_a_loop_has_as_many_units_as_devices() -> None:
    stage = Stage()
    loop = stage.doer(kind=GPU, capacity=2, relays=True)
    stage.tasks(5, needs=ON_GPU, share=5000)
    stage.decide()
    assert stage.board.totals().running == 4
    assert loop == 0


def test_a_loop_runs_no_more_at_once_than_its_gpus_have_slots() -> None:
    stage = Stage(slots_per_gpu=3)
    stage.measure(0.2)
    first = stage.doer(kind=GPU, capacity=2, relays=True)
    stage.tasks(9, needs=ON_GPU, share=1)
    (order, *_) = stage.decide()
    assert stage.board.totals().running == 6
    second = stage.doer(kind=GPU, capacity=1, relays=True)
    assert [doer for _, doer in stage.assigned()] == [second] * 3, "what is begun is full, however little is taken"
    stage.outcome(order)
    stage.board.doer_resized(first, 1, 100, stage.now)
    stage.check()
    assert stage.board.totals().running == 6
    stage.board.doer_resized(first, 0, 0, stage.now)
    stage.check()
    assert stage.board.totals().running == 3


def test_a_share_at_a_loop_without_sharing_takes_a_whole_gpu() -> None:
    stage = Stage(slots_per_gpu=0)
    stage.measure(0.2)
    loops = [stage.doer(kind=GPU, capacity=1, relays=True) for _ in range(2)]
    stage.tasks(2, needs=ON_GPU, share=5000)
    assert sorted(doer for _, doer in stage.assigned()) == loops


def test_a_share_is_of_gpus_only() -> None:
    stage = Stage()
    stage.doer(capacity=1, window=1)
    stage.tasks(2, share=1)
    assert len(stage.decide()) == 1


def test_devices_that_cannot_be() -> None:
    board = Board()
    assert board.doer_joined(0.0, 0, device=0) == Refusal.NO_SUCH
    assert board.doer_joined(0.0, GPU, device=0, relays=True) == Refusal.NO_SUCH
    assert board.doer_joined(0.0, GPU, device=1 << 30) == Refusal.NO_SUCH
    assert board.task(board.asker_joined(0.0), 0, 0.0, share=10_001) == Refusal.NO_SUCH
