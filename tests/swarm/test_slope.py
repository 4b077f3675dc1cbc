# SPDX-License-Identifier: BSD-3-Clause
"""The portfolio goes straight downhill first: what that finds at once, and where it gives up."""
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from covey.swarm import Integer, Optimizer
from covey.swarm.algorithm import Domain, Plan
from covey.swarm.slope import BEGIN, PLACES, Slope
from covey.swarm.space import Space

Fitness = Callable[[Any], Any]


def rosenbrock(x: Any) -> Any:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(axis=1)


def ellipsoid(x: Any) -> Any:
    """Turned, and a million times as steep in one direction as in another."""
    dimension = x.shape[1]
    turned = np.linalg.qr(np.random.default_rng(3).normal(size=(dimension, dimension)))[0]
    return ((x @ turned - 1) ** 2 * np.logspace(0, 6, dimension)).sum(axis=1)


def alone(dimension: int, *, seed: int = 1, box: float = 5.0) -> Slope:
    return Slope(Plan(Domain.of(Space.of([[-box, box]] * dimension)), seed))


def descend(slope: Slope, fitness: Fitness, most: int) -> int:
    """Lets the descent under way end; how many evaluations that took."""
    began = slope.descents
    while slope.descents == began:
        assert slope.evaluations < most, "it does not end"
        ids, x = slope.ask()
        slope.tell(ids, fitness(x))
    return slope.evaluations


@pytest.mark.parametrize(
    ("fitness", "dimension", "most"), [(rosenbrock, 8, 200), (ellipsoid, 10, 150)], ids=["rosenbrock", "ellipsoid"])
def test_a_smooth_valley_is_followed_to_its_end(fitness: Fitness, dimension: int, most: int) -> None:
    opt = Optimizer([[-5.0, 5.0]] * dimension, algorithm="auto", seed=4, minimize=True)
    while opt.evaluations < most * dimension:
        ids, x = opt.ask()
        opt.tell(ids, fitness(x))
    assert opt.best[1] < 1e-8


def test_a_parabola_takes_two_decisions() -> None:
    slope = alone(6)
    for _ in range(3):
        ids, x = slope.ask()
        slope.tell(ids, ((x - 0.3) ** 2 * np.arange(1, 7)).sum(axis=1))
    assert slope.evaluations == 1 + 2 * 6 + 1
    assert slope.best[1] < 1e-25


def test_a_corner_is_reached_in_a_few_steps() -> None:
    slope = alone(5)
    spent = descend(slope, lambda x: x @ np.array([1.0, -2.0, 4.0, -8.0, 16.0]), 100)
    assert slope.best[0] is not None
    assert slope.best[0].tolist() == [0, 1, 0, 1, 0]
    assert spent < 60


@pytest.mark.parametrize("fitness", [
    lambda x: np.floor(4 * np.abs(x).sum(axis=1)),                                  # steps
    lambda x: np.zeros(len(x)),                                                     # nothing at all
    lambda x: (x**2).sum(axis=1) + np.random.default_rng(len(x)).normal(size=len(x)),   # noise
    lambda x: np.where(x[:, 0] > 0.5, np.inf, x[:, 0]),                             # a cliff
    lambda x: np.full(len(x), np.nan),
], ids=["steps", "flat", "noise", "cliff", "nan"])
def test_what_has_no_slope_is_given_up_soon(fitness: Fitness) -> None:
    with np.errstate(all="raise"):
        assert descend(alone(10), fitness, 1000) < 300


def test_there_is_always_a_point_to_give_when_none_is_out() -> None:
    # Of every size that values have, and of every kind of place.
    rng = np.random.default_rng(9)
    slope = alone(4, box=1e100)
    for _ in range(400):
        ids, x = slope.ask()
        assert len(ids) > 0
        assert np.isfinite(x).all()
        slope.tell(ids, rng.normal(size=len(ids)) * 10.0 ** rng.integers(-300, 300, len(ids)))


def test_a_later_descent_begins_at_the_best_of_some_places() -> None:
    slope = alone(3)
    descend(slope, lambda x: np.zeros(len(x)), 200)
    assert slope.state()["phase"] == BEGIN
    assert slope.batch == PLACES
    ids, x = slope.ask()
    slope.tell(ids, x[:, 0])
    np.testing.assert_array_equal(slope.state()["x"], x[x[:, 0].argmin()])


def test_points_may_be_asked_for_a_few_at_a_time() -> None:
    whole, few = alone(7), alone(7)
    for _ in range(40):
        ids, x = whole.ask()
        whole.tell(ids, rosenbrock(x))
        given = []
        while few.batch:
            given.append(few.ask(3))
        np.testing.assert_array_equal(np.concatenate([points for _, points in given]), x)
        # While points are out there are no others; the last come back first.
        assert few.ask()[0].size == 0
        for some, points in reversed(given):
            few.tell(some, rosenbrock(points))
    assert few.best[1] == whole.best[1]


def test_a_round_is_filled_up_by_others() -> None:
    opt = Optimizer([[-5.0, 5.0]] * 6, algorithm="auto", seed=2, minimize=True, group_size=50)
    sizes = set()
    while opt.best[1] > 1e-8 or not sizes:
        assert opt.evaluations < 30_000
        ids, x = opt.ask()
        sizes.add(len(ids))
        opt.tell(ids, rosenbrock(x))
    assert sizes == {50}


def test_whole_numbers_have_no_slope() -> None:
    opt = Optimizer({"n": Integer(-50, 50), "x": [-5, 5]}, algorithm="auto", seed=2, minimize=True)
    assert "3" not in opt.state()["search"]["members"]
    while opt.evaluations < 2000:
        ids, x = opt.ask()
        opt.tell(ids, ((x - [7, 1.5]) ** 2).sum(axis=1))
    assert opt.best[1] < 1e-3
