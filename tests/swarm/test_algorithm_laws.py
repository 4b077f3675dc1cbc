# SPDX-License-Identifier: BSD-3-Clause
"""What holds for every algorithm, whatever it does inside: seeds, states, bounds, order, faults, getting somewhere."""
from typing import Any

import numpy as np
import pytest

from covey.swarm import Choice, Integer, Optimizer, Real
from covey.swarm.optimizer import ALGORITHMS

EVERY = sorted(ALGORITHMS)
# The same name with another rule inside is held to the same laws.
KINDS: list[dict[str, Any]] = [{"algorithm": name} for name in EVERY] + [
    {"algorithm": "pso", "optinfo": {"omega": 0.7}, "group_size": 20},
    {"algorithm": "pso", "group_size": 47},
    # Every member of the portfolio takes part, almost at once.
    {"algorithm": "auto", "budget": 10_000, "optinfo": {"alone": 4}},
]
BOX = [[-3.0, 5.0], [-4.0, 4.0], [0.0, 9.0]]


def said(kind: dict[str, Any]) -> str:
    return "-".join([kind["algorithm"], *(key for key in kind if key != "algorithm")])


laws = pytest.mark.parametrize("kind", KINDS, ids=said)


def sphere(x: Any) -> Any:
    return ((x - 1.0) ** 2).sum(axis=1)


def steps(opt: Optimizer, rounds: int, fitness: Any = sphere) -> list[Any]:
    """What was asked in so many rounds, for comparison bit by bit."""
    asked = []
    for _ in range(rounds):
        ids, x = opt.ask()
        asked.append((ids, x))
        opt.tell(ids, fitness(x))
    return asked


def assert_same(one: list[Any], other: list[Any]) -> None:
    for (ids, x), (others, y) in zip(one, other, strict=True):
        np.testing.assert_array_equal(ids, others)
        np.testing.assert_array_equal(x, y)


@laws
def test_one_seed_is_one_search(kind: dict[str, Any]) -> None:
    first, second = (Optimizer(BOX, seed=11, minimize=True, **kind) for _ in range(2))
    assert_same(steps(first, 12), steps(second, 12))
    assert first.best[1] == second.best[1]
    other = Optimizer(BOX, seed=12, minimize=True, **kind)
    assert not np.array_equal(other.ask()[1], Optimizer(BOX, seed=11, minimize=True, **kind).ask()[1])


@laws
@pytest.mark.parametrize("rounds", [0, 1, 9])
def test_a_restored_state_goes_on_bit_for_bit(kind: dict[str, Any], rounds: int) -> None:
    whole = Optimizer(BOX, seed=3, minimize=True, **kind)
    steps(whole, rounds)
    # In the middle of a round, with values told and points out.
    ids, x = whole.ask()
    half = len(ids) // 2
    if whole.asynchronous:
        whole.tell(ids[:half], sphere(x[:half]))
    else:
        half = 0
    resumed = Optimizer.from_state(whole.state())
    for opt in (whole, resumed):
        opt.tell(ids[half:], sphere(x[half:]))
    assert resumed.evaluations == whole.evaluations
    assert resumed.generation == whole.generation
    assert_same(steps(whole, 8), steps(resumed, 8))
    assert resumed.best[1] == whole.best[1]


@laws
def test_a_state_is_a_copy(kind: dict[str, Any]) -> None:
    opt = Optimizer(BOX, seed=3, minimize=True, **kind)
    steps(opt, 3)
    state = opt.state()
    after = steps(opt, 5)
    assert_same(after, steps(Optimizer.from_state(state), 5))


@laws
def test_a_state_is_plain(kind: dict[str, Any]) -> None:
    opt = Optimizer(BOX, seed=3, minimize=True, **kind)
    steps(opt, 3)

    def look(value: Any) -> None:
        if isinstance(value, dict):
            assert all(isinstance(key, str) for key in value)
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)
        else:
            assert value is None or type(value) in (int, float, str, bool, np.ndarray), type(value)
            assert not isinstance(value, np.ndarray) or value.dtype.kind in "fiub"

    look(opt.state())


@laws
def test_the_order_of_telling_a_round_changes_nothing(kind: dict[str, Any]) -> None:
    plain, shuffled, apart = (Optimizer(BOX, seed=4, minimize=True, **kind) for _ in range(3))
    rng = np.random.default_rng(0)
    for _ in range(10):
        ids, x = plain.ask()
        plain.tell(ids, sphere(x))
        for opt in (shuffled, apart):
            again, y = opt.ask()
            np.testing.assert_array_equal(x, y)
            order = rng.permutation(len(again))
            if opt is shuffled:
                opt.tell(again[order], sphere(y[order]))
            else:
                for row in order:
                    opt.tell(again[row : row + 1], sphere(y[row : row + 1]))
    assert plain.best[1] == shuffled.best[1] == apart.best[1]


@laws
def test_positions_stay_within_the_bounds(kind: dict[str, Any]) -> None:
    opt = Optimizer(BOX, seed=5, minimize=True, **kind)
    low, high = np.array(BOX).T
    for _ in range(25):
        # Downhill leads out of the box: the best is on its edge.
        ids, x = opt.ask()
        assert (x >= low).all()
        assert (x <= high).all()
        opt.tell(ids, x.sum(axis=1))
    assert opt.best[1] < -5


@laws
def test_unbounded_parameters_never_overflow(kind: dict[str, Any]) -> None:
    opt = Optimizer({"a": [0, 1], "b": [-1e140, 1e140], "c": [-np.inf, 0, 1e-140, np.inf]}, seed=6, **kind)
    with np.errstate(all="raise", under="ignore"):
        for _ in range(60):
            ids, x = opt.ask()
            assert np.isfinite(x).all()
            opt.tell(ids, np.log1p(np.abs(x)).sum(axis=1))
    assert np.isfinite(opt.best[1])


@laws
def test_what_is_no_number_is_never_best(kind: dict[str, Any]) -> None:
    opt = Optimizer(BOX, seed=7, minimize=True, **kind)
    ids, x = opt.ask()
    opt.tell(ids, np.full(len(ids), np.nan))
    assert opt.best[0] is None
    assert np.isnan(opt.best[1])
    bad = np.array([np.nan, np.inf, -np.inf])
    finite = []
    for number in range(12):
        ids, x = opt.ask()
        values = sphere(x)
        values[number % 2 :: 2] = bad[number % 3]
        finite.extend(values[np.isfinite(values)])
        opt.tell(ids, values)
    assert opt.best[1] == min(finite)


@laws
def test_best_is_what_was_evaluated(kind: dict[str, Any]) -> None:
    for minimize in (True, False):
        opt = Optimizer(
            {"a": Real(1e-3, 10, log=True), "n": Integer(-3, 4), "c": Choice("xyz")}, seed=8, minimize=minimize, **kind
        )
        seen: dict[bytes, float] = {}
        for _ in range(10):
            ids, x = opt.ask()
            values = (np.log(x[:, 0]) + x[:, 1]) ** 2 + x[:, 2]
            seen |= dict(zip(map(bytes, x), values, strict=True))
            opt.tell(ids, values)
        position, value = opt.best
        assert value == (min if minimize else max)(seen.values())
        assert seen[bytes(position)] == value


@laws
def test_whole_numbers_and_choices_are_found(kind: dict[str, Any]) -> None:
    values = ("p", "q", "r", "s")
    parameters = {"n": Integer(1, 30), "c": Choice(values), "t": Real(1e-6, 1, log=True)}
    opt = Optimizer(parameters, seed=9, minimize=True, **kind)
    while opt.evaluations < 1500:
        ids, x = opt.ask()
        told = opt.space.columns(x)
        assert told["n"].dtype == np.int64
        assert set(told["c"]) <= set(values)
        opt.tell(ids, (told["n"] - 23) ** 2 + 3.0 * (told["c"] != "r") + np.log10(told["t"] / 1e-3) ** 2)
    assert opt.best[1] < 0.5


@laws
def test_a_better_point_from_elsewhere_is_best(kind: dict[str, Any]) -> None:
    opt = Optimizer(BOX, seed=10, minimize=True, **kind)
    steps(opt, 3)
    # Better than the sphere is anywhere: some have its bottom by now.
    opt.inject([[1.0, 1.0, 1.001], [0, 0, 0]], [-1e-6, np.nan])
    assert opt.best[1] == -1e-6
    resumed = Optimizer.from_state(opt.state())
    assert_same(steps(opt, 5), steps(resumed, 5))
    assert opt.best[1] == -1e-6


FACTORS = {"pso": 1e-3, "cma": 1e-6, "de": 1e-1, "ga": 1e-2, "auto": 1e-6}


@pytest.mark.parametrize("name", EVERY)
def test_it_gets_somewhere_on_the_sphere(name: str) -> None:
    opt = Optimizer([[-5.0, 5.0]] * 4, algorithm=name, seed=1, minimize=True, budget=1600)
    ids, x = opt.ask()
    opt.tell(ids, sphere(x))
    first = opt.best[1]
    while opt.evaluations < 1600:
        steps(opt, 1)
    assert opt.best[1] < first * FACTORS[name]


@laws
def test_points_may_be_asked_for_while_others_are_out(kind: dict[str, Any]) -> None:
    opt = Optimizer(BOX, seed=2, minimize=True, **kind)
    assert opt.asynchronous
    rng = np.random.default_rng(1)
    out: list[tuple[int, Any]] = []
    for _ in range(400):
        ids, x = opt.ask(1)
        assert len(ids) == 1
        out.append((int(ids[0]), x))
        if len(out) > 50:
            number, x = out.pop(int(rng.integers(len(out))))
            opt.tell([number], sphere(x))
    for number, x in out:
        opt.tell([number], sphere(x))
    assert opt.evaluations == 400
    assert opt.best[1] < 1.0


@laws
def test_one_at_a_time_is_one_search_too(kind: dict[str, Any]) -> None:
    found = []
    for _ in range(2):
        opt = Optimizer(BOX, seed=2, minimize=True, **kind)
        for _ in range(300):
            ids, x = opt.ask(1)
            opt.tell(ids, sphere(x))
        found.append(opt.best)
    assert found[0][1] == found[1][1] < 0.5


@laws
def test_a_constant_function_ends_nothing(kind: dict[str, Any]) -> None:
    opt = Optimizer(BOX, seed=2, **kind)
    while opt.evaluations < 600:
        ids, x = opt.ask()
        assert np.isfinite(x).all()
        opt.tell(ids, np.zeros(len(x)))
    assert opt.best[1] == 0.0


@laws
def test_one_parameter_is_enough(kind: dict[str, Any]) -> None:
    opt = Optimizer([[0.0, 10.0]], seed=2, minimize=True, **kind)
    steps(opt, 12)
    assert opt.best[1] < 0.5
