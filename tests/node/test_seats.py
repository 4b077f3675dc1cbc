# SPDX-License-Identifier: BSD-3-Clause
"""The seats of a node, and those that GPUs get besides when tasks ask for a part of one."""

import pytest

from covey.node.devices import Gpu
from covey.node.seats import Seat, further_seats, seats_of
from covey.slot import CPU, CPU_BESIDE, GPU

FIRST, SECOND = Gpu("GPU-a", "Fake", 8, 8, 0), Gpu("GPU-b", "Fake", 8, 8, 1)
QUARTER, HALF, THIRD, LITTLE = 2500, 5000, 3334, 1


def devices(seats: list[Seat]) -> list[int]:
    return [seat.device for seat in seats]


def test_a_gpu_has_one_seat_to_begin_with() -> None:
    assert [(seat.kind, seat.gpu) for seat in seats_of(1, [FIRST, SECOND])] == [
        (CPU_BESIDE, None),
        (GPU, FIRST),
        (GPU, SECOND),
    ]


@pytest.mark.parametrize(
    ("share", "limit", "more"),
    [(QUARTER, 8, 3), (HALF, 8, 1), (THIRD, 8, 1), (LITTLE, 8, 7), (HALF, 1, 0), (HALF, 0, 0)],
)
def test_each_gpu_gets_as_many_as_tasks_fit(share: int, limit: int, more: int) -> None:
    assert sorted(devices(further_seats(seats_of(2, [FIRST, SECOND]), share, limit))) == [0] * more + [1] * more


def test_further_seats_are_like_the_first_of_their_gpu() -> None:
    found = further_seats(seats_of(1, [FIRST, SECOND]), HALF, 8)
    assert found == [Seat(4, GPU, FIRST, 0), Seat(5, GPU, SECOND, 1)]
    assert found[0].environment()["CUDA_VISIBLE_DEVICES"] == "GPU-a"


def test_what_is_there_counts() -> None:
    seats = seats_of(1, [FIRST])
    seats += further_seats(seats, HALF, 8)
    assert further_seats(seats, HALF, 8) == []
    assert [seat.number for seat in further_seats(seats, QUARTER, 8)] == [4, 5]


def test_where_there_is_no_gpu_nothing_is_shared() -> None:
    assert further_seats(seats_of(4), QUARTER, 8) == []
    assert seats_of(1)[0].kind == CPU
