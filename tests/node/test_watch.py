# SPDX-License-Identifier: BSD-3-Clause
"""Which slot goes because of its memory: figures in, verdicts out."""
import logging

import pytest

from covey.node.memory import Memory
from covey.node.watch import OFTEN, SELDOM, MemoryWatch, Worker

MIB = 1 << 20


class Machine:
    """What slots take and what is left, as a test says."""

    def __init__(self, limit: int = 0) -> None:
        self.taken: dict[int, int] = {}
        self.left = 800 * MIB
        self.precious: set[int] = set()
        self.watch = MemoryWatch(
            limit, resident=lambda pid: self.taken.get(pid, MIB),
            free=lambda: Memory(1000 * MIB, self.left, "the memory of this machine"))

    def look(self, *workers: Worker) -> list[int]:
        return [pid for pid, _ in self.why(*workers)]

    def why(self, *workers: Worker) -> list[tuple[int, str]]:
        return self.watch.look(workers, lambda token: token not in self.precious)


A, B, C = Worker(11, 1, 1, "f"), Worker(12, 2, 2, "g"), Worker(13, 3, 3)


def test_at_80_percent_the_log_is_told_once_for_each_task(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "covey.node")
    machine = Machine(limit=100 * MIB)
    machine.taken[11] = 80 * MIB
    assert machine.look(A) == []
    assert caplog.text == ""
    machine.taken[11] = 81 * MIB
    assert [machine.look(A, B), machine.look(A, B)] == [[], []]
    (record,) = caplog.records
    assert record.getMessage() == (
        "slot 1 (pid 11), which runs f(), has 81.0 MiB of the 100.0 MiB that a slot may have (slot_max_rss); at 95 % "
        "it is ended")
    machine.look(Worker(11, 9, 1, "h"))
    assert len(caplog.records) == 2
    machine.taken[13] = 90 * MIB
    machine.look(C)
    assert caplog.records[2].getMessage().startswith("slot 3 (pid 13) has 90.0 MiB")


def test_over_95_percent_it_is_ended() -> None:
    machine = Machine(limit=100 * MIB)
    machine.taken |= {11: 95 * MIB, 12: 96 * MIB}
    assert machine.why(A, B, C) == [(12, "it had 96.0 MiB of the 100.0 MiB that a slot may have (slot_max_rss)")]


def test_without_a_limit_no_slot_is_too_large() -> None:
    machine = Machine()
    machine.taken[11] = 1 << 50
    assert machine.look(A) == []


def test_a_machine_that_is_short_ends_the_task_that_began_last() -> None:
    machine = Machine()
    machine.look(A)
    machine.look(B, A)
    machine.left = 49 * MIB
    ((pid, why),) = machine.why(C, A, B)
    assert pid == C.pid, "seen for the first time now"
    assert why == (
        "of the memory of this machine only 49.0 MiB of 1,000.0 MiB were left, and its task was the last to begin")
    assert machine.look(A, B) == [B.pid]


def test_what_would_not_be_tried_again_is_spared() -> None:
    machine = Machine()
    machine.look(A, B)
    machine.left = 0
    machine.precious = {B.token}
    assert machine.look(A, B) == [A.pid]
    machine.precious = {A.token, B.token}
    assert machine.look(A, B) == []


def test_one_that_is_alone_already_is_left_to_the_kernel() -> None:
    machine = Machine()
    machine.left = 0
    assert machine.look(A) == []


def test_one_over_its_own_limit_goes_before_others_for_the_machine() -> None:
    machine = Machine(limit=100 * MIB)
    machine.look(A, B)
    machine.left = 0
    machine.taken[11] = 99 * MIB
    assert machine.look(A, B) == [A.pid]


def test_it_looks_often_only_where_there_is_something_to_see() -> None:
    machine = Machine()
    assert machine.watch.pause == SELDOM
    machine.left = 199 * MIB
    machine.look(A)
    assert machine.watch.pause == OFTEN
    machine.left = 201 * MIB
    machine.look(A)
    assert machine.watch.pause == SELDOM
    assert Machine(limit=MIB).watch.pause == OFTEN
