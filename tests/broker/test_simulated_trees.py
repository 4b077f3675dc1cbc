# SPDX-License-Identifier: BSD-3-Clause
"""Loops over loops over slots: everything comes through each level once, wherever it was."""
import pytest

from covey.testing.tree import Tree

BRANCHES = (3, 3, 4)


def test_every_task_passes_every_level_once() -> None:
    tree = Tree(BRANCHES, checking=True)
    tree.submit([0.01] * 180)
    report = tree.run()
    assert set(report.delivered.values()) == {1}
    assert len(report.delivered) == 180
    assert report.runs == 180, "no slot did anything twice"
    assert all(decisions >= 180 for decisions in report.decisions)


def test_all_slots_of_a_tree_work() -> None:
    tree = Tree(BRANCHES, delay=0.0005)
    tree.submit([0.05] * 36 * 40)
    assert tree.run().makespan < 0.05 * 40 * 1.05


def test_what_waits_in_one_branch_goes_to_an_idle_one() -> None:
    tree = Tree((2, 1, 2), checking=True)
    # The first two of a kind are thought to be short; the queue that grows behind the long ones comes back.
    tree.submit([0.0001] * 40)
    tree.submit([5.0, 5.0] + [0.001] * 200, at=1.0)
    report = tree.run()
    assert report.counts["GIVE_BACK"] > 0
    assert set(report.delivered.values()) == {1}
    assert report.makespan < 1.0 + 5.0 + 0.1


@pytest.mark.parametrize("level", [1, 2])
def test_a_lost_branch_loses_no_task(level: int) -> None:
    tree = Tree(BRANCHES, checking=True)
    tree.submit([0.02] * 300)
    tree.lose(next(loop for loop in tree.loops if loop.level == level), at=0.05)
    report = tree.run()
    assert len(report.delivered) == 300
    assert set(report.delivered.values()) == {1}
    assert report.counts["BLAME"] > 0


def test_slots_that_come_and_go_are_known_at_the_top() -> None:
    tree = Tree((2, 2, 2), checking=True)
    first, second = [loop for loop in tree.loops if loop.level == 2][:2]
    tree.submit([0.02] * 200)
    tree.drain_slots(first, at=0.05)
    tree.add_slots(second, 5, at=0.06)
    report = tree.run()
    assert set(report.delivered.values()) == {1}
    assert tree.top.board.capacity(0) == 8 - 2 + 5


def test_time_limits_are_kept_where_the_task_runs() -> None:
    tree = Tree((2, 2, 2), checking=True)
    tree.submit([100.0] * 3, timeout_ms=50)
    report = tree.run()
    assert report.delivered == {0: 1, 1: 1, 2: 1}
    assert report.counts["KILL"] == 3
    assert report.makespan < 0.1


def test_one_branch_stands_for_all() -> None:
    """The tables of one branch see what they would see in the whole tree."""
    seen = []
    for whole in (True, False):
        tree = Tree(BRANCHES, whole=whole)
        tree.submit([0.05] * 36 * 20)
        seen.append(tree.run().makespan)
    assert seen[0] == pytest.approx(seen[1], rel=0.05)


@pytest.mark.slow
def test_ten_thousand_slots() -> None:
    tree = Tree((10, 10, 100), whole=False)
    tree.submit([0.2] * 20_000)
    report = tree.run()
    assert len(report.delivered) == 20_000
    assert set(report.delivered.values()) == {1}
    assert all(loop.board.validate() == 0 for loop in tree.loops if loop.level)
