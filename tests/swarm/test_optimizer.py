# SPDX-License-Identifier: BSD-3-Clause
"""`Optimizer` from outside: the sign, sizes of rounds, foreign optimisers, and what is refused in one sentence."""
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import covey.swarm
from covey.swarm import Optimizer
from covey.swarm.optimizer import ALGORITHMS

BOX = [[-3.0, 5.0], [-4.0, 4.0]]


def sphere(x: Any) -> Any:
    return ((x - 1.0) ** 2).sum(axis=1)


def test_maximising_is_minimising_the_negative_and_says_the_true_sign() -> None:
    up, down = Optimizer(BOX, seed=1), Optimizer(BOX, seed=1, minimize=True)
    for _ in range(8):
        (ids, x), (others, y) = up.ask(), down.ask()
        np.testing.assert_array_equal(x, y)
        up.tell(ids, -sphere(x))
        down.tell(others, sphere(y))
    assert up.best[1] == -down.best[1] < 0


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
@pytest.mark.parametrize("size", [1, 7, 100])
def test_group_size_is_the_size_of_a_round(name: str, size: int) -> None:
    opt = Optimizer(BOX, algorithm=name, group_size=size, seed=1)
    for _ in range(5):
        assert opt.batch == size
        ids, x = opt.ask()
        assert x.shape == (size, 2)
        opt.tell(ids, sphere(x))
    assert opt.evaluations == 5 * size


def test_without_a_seed_one_is_drawn_and_can_be_used_again() -> None:
    first = Optimizer(BOX)
    again = Optimizer(BOX, seed=first.seed)
    np.testing.assert_array_equal(first.ask()[1], again.ask()[1])


def test_a_value_for_a_restarted_swarm_still_counts_for_the_best() -> None:
    """A straggler comes back after its swarm began anew."""
    opt = Optimizer(BOX, seed=1, minimize=True)
    late, x = opt.ask(1)
    for _ in range(800):
        ids, _ = opt.ask(1)
        opt.tell(ids, [7.0])
    opt.tell(late, [1.0])
    assert opt.best[1] == 1.0
    np.testing.assert_array_equal(opt.best[0], x[0])
    opt.ask()


def test_playdohs_rule_is_followed_to_the_letter() -> None:
    """v = ω·v + cl·r₁(own − x) + cg·r₂(best − x), x clipped, from rest: seen in what r₁ must have been."""
    opt = Optimizer(BOX, seed=3, minimize=True, group_size=6, optinfo={"omega": 0.5, "cl": 1.0, "cg": 0.0})
    low, high = np.array(BOX).T
    ids, x = opt.ask()
    own, value, v = x.copy(), sphere(x), np.zeros_like(x)
    opt.tell(ids, value)
    for _ in range(20):
        ids, moved = opt.ask()
        inside = (moved > low) & (moved < high)
        pull = moved - x - 0.5 * v
        with np.errstate(divide="ignore", invalid="ignore"):
            r = pull / (own - x)
        still = np.isclose(own, x, atol=1e-9)
        assert ((r > -1e-6) & (r < 1 + 1e-6))[inside & ~still].all()
        assert np.allclose(pull[inside & still], 0, atol=1e-9)
        # A clipped coordinate's speed is not seen from outside; follow only those that were not.
        v = np.where(inside, moved - x, np.nan)
        x = moved
        told = sphere(x)
        better = told < value
        own[better], value[better] = x[better], told[better]
        opt.tell(ids, told)
        if np.isnan(v).any():
            break
    assert opt.generation > 3


class Ours:
    """An optimiser that speaks our manner, and draws at random."""

    batch = 5

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.told: list[tuple[Any, Any]] = []

    def ask(self, n: int) -> tuple[Any, Any]:
        return [f"p{number}" for number in range(n)], self.rng.normal(size=(n, 2))

    def tell(self, ids: Any, values: Any) -> None:
        self.told.append((ids, values))


class LikePycma:
    """An optimiser that speaks pycma's manner."""

    popsize = 4

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.told: list[tuple[Any, Any]] = []

    def ask(self, number: int | None = None) -> list[Any]:
        return [self.rng.normal(size=2) * 9 for _ in range(number or self.popsize)]

    def tell(self, points: Any, values: Any) -> None:
        assert len(points) == len(values)
        self.told.append((points, values))


def test_a_foreign_optimiser_with_ids() -> None:
    mine = Ours()
    opt = Optimizer(BOX, algorithm=mine, minimize=True)
    assert not opt.asynchronous
    assert opt.batch == 5
    ids, x = opt.ask()
    opt.tell(ids[::-1], sphere(x)[::-1])
    assert mine.told[0][0] == ["p0", "p1", "p2", "p3", "p4"]
    np.testing.assert_array_equal(mine.told[0][1], sphere(x))
    assert opt.best[1] == sphere(x).min()


def test_a_foreign_optimiser_like_pycma() -> None:
    mine = LikePycma()
    opt = Optimizer(BOX, algorithm=mine)
    for number in range(3):
        ids, x = opt.ask()
        assert x.shape == (4, 2)
        assert (x >= np.array(BOX)[:, 0]).all()
        # In parts, the last first: it is told once, whole, in its own order and as minimisation.
        opt.tell(ids[2:], -sphere(x[2:]))
        opt.tell(ids[:2], -sphere(x[:2]))
        assert len(mine.told) == number + 1
        np.testing.assert_allclose(mine.told[-1][1], sphere(x))
    assert opt.generation == 3
    with pytest.raises(TypeError, match="the state of a LikePycma is its own"):
        opt.state()


def test_a_foreign_optimiser_is_not_asked_while_its_points_are_out() -> None:
    opt = Optimizer(BOX, algorithm=LikePycma())
    opt.ask(2)
    opt.ask(2)
    with pytest.raises(RuntimeError, match=r"LikePycma are out: tell\(\) their values"):
        opt.ask(1)


@pytest.mark.parametrize(("keywords", "sentence"), [
    ({"algorithm": "psoo"}, r"no algorithm is called 'psoo'; did you mean 'pso'\?"),
    ({"algorithm": "bayes"}, r"no algorithm is called 'bayes'; there are pso, cma"),
    ({"algorithm": object()}, r"This object lacks ask"),
    ({"algorithm": Ours(), "optinfo": {"omega": 1}}, r"optinfo is for covey's own algorithms"),
    ({"optinfo": {"omeg": 0.9}}, r"algorithm 'pso' knows no 'omeg' in optinfo; did you mean 'omega'\?"),
    ({"algorithm": "cma", "optinfo": {"omega": 0.9}}, r"algorithm 'cma' knows no 'omega' in optinfo; it knows sigma"),
    ({"algorithm": "cma", "optinfo": {"sigma": -1}}, r"optinfo\['sigma'\] is .* above 0, not -1"),
    ({"optinfo": {"omega": "high"}}, r"optinfo\['omega'\] is a number, not 'high'"),
    ({"optinfo": {"cl": float("inf")}}, r"optinfo\['cl'\] is a finite number, and here inf"),
    ({"algorithm": "de", "optinfo": {"population": 2}}, r"optinfo\['population'\] is at least 4"),
    ({"algorithm": "ga", "optinfo": {"mutation": 2}}, r"optinfo\['mutation'\] is a rate from 0 to 1"),
    ({"group_size": 0}, r"group_size is a whole number, at least 1, or None, not 0"),
    ({"budget": 1.5}, r"budget is a whole number"),
    ({"seed": -4}, r"seed is a whole number from 0"),
])
def test_bad_options_get_one_sentence(keywords: dict[str, Any], sentence: str) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence) as caught:
        Optimizer(BOX, **keywords)
    assert "\n" not in str(caught.value)


def test_bad_answers_get_one_sentence() -> None:
    opt = Optimizer(BOX, seed=1)
    ids, x = opt.ask()
    values = sphere(x)
    with pytest.raises(ValueError, match=r"one value for each of 12 points, and these have the shape \(3,\)"):
        opt.tell(ids, values[:3])
    with pytest.raises(ValueError, match=r"have the shape \(\)"):
        opt.tell(ids, 1.0)
    with pytest.raises(TypeError, match="values are real numbers, and these are complex128"):
        opt.tell(ids, values + 1j)
    with pytest.raises(TypeError, match="values are real numbers"):
        opt.tell(ids, ["a"] * len(ids))
    with pytest.raises(TypeError, match="wants the ids that ask"):
        opt.tell(values, values)
    with pytest.raises(ValueError, match="the id 99, which ask"):
        opt.tell([99], [1.0])
    with pytest.raises(ValueError, match="told twice"):
        opt.tell([0, 0], [1.0, 2.0])
    opt.tell(ids, values)
    with pytest.raises(ValueError, match="the id 0, whose value it knows already"):
        opt.tell([0], [1.0])
    with pytest.raises(ValueError, match=r"ask\(n\) wants a number of points"):
        opt.ask(0)
    with pytest.raises(ValueError, match="one value for each of 1 points"):
        opt.inject([[0, 0]], [1.0, 2.0])


def test_a_state_of_another_version_is_refused() -> None:
    state = Optimizer(BOX, seed=1).state()
    with pytest.raises(ValueError, match="no state of an Optimizer of this version"):
        Optimizer.from_state(state | {"format": 0})


@pytest.mark.parametrize("name", ["cma", "auto"])
def test_a_corner_of_the_box_is_reached_exactly(name: str) -> None:
    opt = Optimizer([[-5.0, 5.0]] * 6, algorithm=name, seed=2, minimize=True, budget=2500)
    slope = np.array([1.0, -2.0, 4.0, -8.0, 16.0, -32.0])
    while opt.evaluations < 2500:
        ids, x = opt.ask()
        opt.tell(ids, x @ slope)
    assert opt.best[1] == -5 * np.abs(slope).sum()


def test_the_room_opens_without_numpy() -> None:
    code = "import sys, covey.swarm; dir(covey.swarm); print('numpy' in sys.modules)"
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
    with pytest.raises(AttributeError, match=r"covey\.swarm has no name 'Optimiser'"):
        _ = covey.swarm.Optimiser


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (-3000.0, 3000.0)])
@pytest.mark.parametrize(("at", "dimension"), [(50.0, 1), (-1000.0, 1), (1000.0, 2)])
def test_an_optimum_far_outside_of_where_the_search_starts_is_found(
    at: float, dimension: int, bounds: tuple[float, float]
) -> None:
    """A swarm collapses on its way there; its next beginnings must reach farther."""
    for seed in range(1, 6):
        opt = Optimizer([[bounds[0], 0.0, 1.0, bounds[1]]] * dimension, group_size=100, seed=seed, minimize=True)
        while opt.evaluations < 10_000:
            ids, x = opt.ask()
            assert (x >= bounds[0]).all()
            assert (x <= bounds[1]).all()
            opt.tell(ids, ((x - at) ** 2).sum(axis=1))
        np.testing.assert_allclose(opt.best[0], at, rtol=0, atol=1e-6)


def test_the_wide_box_of_a_new_beginning_is_part_of_its_state() -> None:
    opt = Optimizer({"x": [0, 1]}, seed=2, minimize=True)
    for _ in range(150):
        again = Optimizer.from_state(opt.state())
        ids, x = opt.ask()
        np.testing.assert_array_equal(x, again.ask()[1])
        opt.tell(ids, (x[:, 0] - 300) ** 2)
    assert opt.best[1] < 1


def test_it_says_what_it_is() -> None:
    opt = Optimizer(BOX, seed=7, minimize=True)
    assert repr(opt) == "<covey.swarm.Optimizer: 'pso' minimizes, 2 parameters, seed 7, 0 evaluations, best nan>"
    ids, _ = opt.ask(3)
    opt.tell(ids, [3.0, 1.5, 2.0])
    assert repr(opt).endswith("seed 7, 3 evaluations, best 1.5>")
    assert "'LikePycma' maximizes" in repr(Optimizer(BOX, algorithm=LikePycma()))
    with pytest.raises(TypeError, match="minimize is True or False, not 'yes'"):
        Optimizer(BOX, minimize="yes")  # type: ignore[arg-type]
