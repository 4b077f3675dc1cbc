# SPDX-License-Identifier: BSD-3-Clause
"""The pure parts of `optimize()`: how rounds are cut, what they cost, when it is over, what is the best."""

import math

import numpy as np
import pytest

from covey.swarm.best import Best, leader_of
from covey.swarm.chunks import default_chunk, ends_of, tasks_of
from covey.swarm.faults import Fault, Tally
from covey.swarm.feasible import better, told
from covey.swarm.history import mean_and_spread
from covey.swarm.pace import CHEAP, START, Pace
from covey.swarm.stops import PATIENCE, Stops


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100, 5000])
@pytest.mark.parametrize("seconds", [None, 1e-7, 1e-4, 1.0])
@pytest.mark.parametrize("slots", [1, 2, 64])
def test_tasks_hold_each_chunk_once_whatever_is_known(count, seconds, slots):
    ends = ends_of(count, default_chunk(count))
    tasks = tasks_of(ends, seconds, slots)
    assert [start + end for start, parts in tasks for end in parts] == ends
    assert tasks[0][0] == 0
    # The cut does not depend on what was measured; how many travel together does.
    if seconds is None or seconds * default_chunk(count) > 1:
        assert len(tasks) == len(ends)


@pytest.mark.parametrize("slots", [2, 4])
@pytest.mark.parametrize("count", [50, 100, 500, 1000, 20_000])
def test_the_default_cut_leaves_few_slots_busy_to_the_end(count, slots):
    tasks = tasks_of(ends_of(count, default_chunk(count)), None, slots)
    assert max(sum(task[1][-1] for task in tasks[slot::slots]) for slot in range(slots)) <= 1.05 * count / slots


def test_cheap_chunks_travel_together_but_leave_none_idle():
    assert len(tasks_of(ends_of(1024, 16), 1e-6, 4)) == 4


def test_pace_tries_sends_and_comes_back():
    pace = Pace()
    assert pace.may_try_more
    assert not pace.is_cheap(1)
    pace.on_tried(10, 0.5)
    assert not pace.may_try_more
    for _ in range(20):
        pace.on_round(10, 1e-6)
    assert pace.is_cheap(100)
    pace.on_round(10, 1.0)
    assert not pace.is_cheap(1 + int(CHEAP))


def test_a_short_round_stays_here_until_that_cost_as_much_as_slots_would():
    pace = Pace()
    assert not pace.may_stay(1)
    pace.on_tried(10, 0.001)
    stayed = 0
    while pace.may_stay(100):
        pace.on_round(100, 0.01, here=True)
        stayed += 1
    assert START / 0.01 - 2 <= stayed <= START / 0.01
    long = Pace()
    long.on_tried(10, 0.003)
    assert not long.may_stay(100)


def test_two_slots_save_less_than_eight():
    pace = Pace()
    pace.on_tried(100, 1.2 * CHEAP)
    assert not pace.is_cheap(100)
    assert pace.is_cheap(100, slots=1)
    assert pace.is_cheap(100, slots=2)
    assert not pace.is_cheap(100, slots=8)


def test_the_feasible_are_before_all_others_whatever_their_value():
    values, violations = np.array([9.0, 1.0, 2.0, -1e90]), np.array([0.0, 0.1, 0.2, 0.3])
    assert np.argsort(told(values, violations, True)).tolist() == [0, 1, 2, 3]
    assert np.argsort(told(values, violations, False)).tolist() == [3, 2, 1, 0]
    assert (np.isfinite(told(values, violations, True) ** 2)).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("minimize", [True, False])
def test_what_is_not_finite_is_told_as_nan_and_never_best(bad, minimize):
    values = np.array([bad, 1.0, bad])
    ranks = told(values, None, minimize)
    assert np.isnan(ranks).tolist() == [True, False, True]
    assert leader_of(ranks, minimize) == 1
    assert leader_of(told(np.array([bad]), None, minimize), minimize) is None


def test_better_is_feasible_first_then_value():
    assert better(5.0, 0.0, 1.0, 0.5, True)
    assert not better(1.0, 0.5, 5.0, 0.0, True)
    assert not better(1.0, 0.0, 1.0, 0.0, True)
    assert not better(math.nan, 0.0, math.nan, 0.0, True)


def test_best_keeps_the_first_of_equals():
    best = Best(1, 1, True)
    positions, values = np.array([[1.0], [2.0]]), np.array([3.0, 3.0])
    assert best.offer(0, positions, values, None, values)
    assert best.positions[0] == [1.0]
    assert not best.offer(0, positions[1:], values[1:], None, values[1:])


def stops(groups=1, **wanted):
    limits = {"iterations": None, "budget": None, "target": None, "ftol": None, "xtol": None} | wanted
    return Stops(groups, widths=np.array([10.0]), **limits)


def reached(*values, positions=None):
    best = Best(len(values), 1, True)
    best.values[:] = values
    best.positions[:] = np.array(positions or [0.0] * len(values))[:, None]
    return best


def test_iterations_and_budget():
    assert stops(iterations=3).reason(3, 0, 10) == "iterations"
    assert stops(iterations=3).reason(2, 0, 10) is None
    assert stops(budget=100).reason(9, 95, 10) == "budget"
    assert stops(budget=100).reason(9, 90, 10) is None


def test_a_group_that_has_reached_the_target_goes_no_further():
    its = stops(2, target=1.0)
    its.on_iteration(reached(0.5, 2.0))
    assert its.active == [1]
    assert its.reason(1, 0, 1) is None
    its.on_iteration(reached(0.5, 1.0))
    assert its.reason(2, 0, 1) == "target"


def test_ftol_looks_ten_iterations_back():
    its = stops(ftol=0.01)
    for number in range(PATIENCE):
        its.on_iteration(reached(1.0 - 0.1 * number))
    assert its.active == [0]
    for _ in range(PATIENCE):
        its.on_iteration(reached(0.0))
    its.on_iteration(reached(0.0))
    assert its.reason(0, 0, 1) == "ftol"


def test_xtol_is_a_part_of_the_initial_interval():
    its = stops(xtol=0.01)
    for number in range(PATIENCE + 1):
        its.on_iteration(reached(1.0 / (number + 1), positions=[0.005 * number]))
    assert its.reason(0, 0, 1) == "xtol"


def test_a_target_set_farther_is_aimed_at_again():
    its = stops(target=1.0)
    its.on_iteration(reached(0.5))
    later = stops(target=0.1)
    later.restore(its.state(), reached(0.5))
    assert later.active == [0]


def test_mean_and_spread_leave_out_what_counts_for_nothing():
    values = np.array([1.0, 3.0, np.inf, np.nan, 100.0])
    assert mean_and_spread(values[:4]) == (2.0, 1.0)
    assert mean_and_spread(values, np.array([0.0, 0.0, 0.0, 0.0, 1.0])) == (2.0, 1.0)
    assert all(math.isnan(each) for each in mean_and_spread(np.array([np.nan])))


def test_a_tally_forgives_once_it_has_seen_a_value():
    tally = Tally("f", 100)
    tally.on_raised(4, ValueError("a"))
    tally.on_values(np.array([1.0, np.nan, np.inf, -np.inf, np.nan]), 1, Fault("more", "more"))
    tally.on_raised(100, ValueError("b"))
    faults = tally.faults()
    assert (faults.raised, faults.nan, faults.infinite, faults.first_error) == (105, 1, 2, "ValueError: a")


def test_a_tally_ends_what_only_raises():
    tally = Tally("f", 100)
    tally.on_raised(99, ValueError("a"))
    with pytest.raises(ValueError, match="b") as caught:
        tally.on_raised(1, ValueError("b"))
    assert "f: the first 100 evaluations all raised" in caught.value.__notes__[0]


def test_a_tally_does_not_wait_for_a_slow_round_of_nothing_but_errors():
    now = [0.0]
    tally = Tally("f", 100, lambda: now[0])
    tally.on_raised(16, ValueError("a"))
    now[0] = 60.0
    with pytest.raises(ValueError, match="b"):
        tally.on_raised(1, ValueError("b"))


def test_one_slow_round_does_not_send_the_next_ones_away():
    pace = Pace()
    pace.on_round(100, 1e-5, here=True)
    for _ in range(3):
        pace.on_round(100, 0.01, here=True)
        assert pace.is_cheap(100)
    pace.on_round(100, 0.01, here=True)
    assert not pace.is_cheap(100)
    other = Pace()
    other.on_round(100, 1e-5, here=True)
    other.on_round(100, 0.5, here=True)
    assert not other.is_cheap(100)


@pytest.mark.parametrize("minimize", [True, False])
def test_what_is_told_is_in_the_order_of_the_rule_however_large_it_is(minimize):
    sign = 1.0 if minimize else -1.0
    values = sign * np.array([-1e308, -1e100, -1.0, 0.0, 1e90, 1e97, 1.1e97, 1e100, 1e120, 1e300, 1.7e308])
    limits = np.array([1e-9, 1.0, 1e39, 1e41, 1e100, 1.7e308])
    told_all = told(
        np.concatenate([values, np.zeros(len(limits))]), np.concatenate([np.zeros(len(values)), limits]), minimize
    )
    assert (np.diff(sign * told_all) > 0).all()
    assert np.isfinite(told_all[1:] ** 2 / 1e90)[len(values) - 1 :].all()
    assert told_all[:6].tolist() == values[:6].tolist()


def test_the_best_tells_violations_apart_that_an_algorithm_does_not():
    best = Best(1, 1, True)
    values, violations = np.array([1.0, 5.0, 2.0]), np.array([1e-20, 1e-22, 1e-21])
    assert best.offer(0, np.zeros((3, 1)), values, violations, told(values, violations, True))
    assert best.values[0] == 5.0
