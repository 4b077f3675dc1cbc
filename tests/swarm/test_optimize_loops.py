# SPDX-License-Identifier: BSD-3-Clause
"""`optimize()`: what its loops do beside finding the optimum: limits, callbacks, streams, islands, noise."""

import inspect
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import covey
from covey.swarm.calls import Calls
from covey.swarm.evaluation import Evaluation
from covey.swarm.evaluator import Evaluator
from covey.swarm.faults import Tally
from covey.swarm.fitness import Fitness
from covey.swarm.optimizer import ALGORITHMS
from covey.swarm.space import Space

BOX = {"x": [-5, 5], "y": [-5, 5]}


def bowl(x, y):
    return (x - 1) ** 2 + y * y


def run(fun=bowl, optparams=BOX, **options):
    return covey.minimize(fun, optparams, **{"seed": 5, "inline": True, "group_size": 20, **options})


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_each_mode_finds_it_and_keeps_its_books(mode):
    found = run(mode=mode, iterations=40)
    assert found["x"] == pytest.approx([1], abs=0.02)
    assert found.evaluations == 800
    assert found.stopped_because == "iterations"
    history = found.history
    assert history.evaluations[-1, 0] == 800
    assert history.best[-1, 0] == found["fitness"][0]
    assert (np.diff(history.best[:, 0]) <= 0).all()
    assert (np.diff(history.time) >= 0).all()
    assert (history.spread > 0).all()
    assert len(history) == 40


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_each_limit_ends_it_and_is_named(mode):
    assert run(mode=mode).stopped_because == "iterations"
    assert run(mode=mode).evaluations == 200
    by_budget = run(mode=mode, budget=250)
    assert by_budget.stopped_because == "budget"
    assert by_budget.evaluations == (250 if mode == "stream" else 240)
    by_target = run(mode=mode, target=0.01, iterations=200)
    assert by_target.stopped_because == "target"
    assert by_target["fitness"][0] <= 0.01
    assert run(mode=mode, ftol=1e-9, iterations=10_000).stopped_because == "ftol"
    assert run(lambda x, y: y * 0 + 1.0, mode=mode, xtol=1e-9, iterations=10_000).stopped_because == "xtol"
    assert run(mode=mode, callback=lambda info: info.fitness[0] < 9, iterations=100).stopped_because == "callback"


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_ten_iterations_are_meant_where_no_other_limit_is_given(mode):
    assert inspect.signature(covey.optimize).parameters["iterations"].default == 10
    assert "iterations: 'int | None' = 10" in str(inspect.signature(covey.optimize))
    assert run(mode=mode, budget=2_000).evaluations == 2_000
    for limit in ({"ftol": 1e-9}, {"xtol": 1e-9}, {"target": 1e-6}, {"timeout": 0.3}):
        found = run(mode=mode, **limit)
        assert found.stopped_because == next(iter(limit))
        assert len(found.history) > 10
    for limit in ({"ftol": 0.0}, {"target": -1.0}, {"timeout": 60}):
        assert run(mode=mode, iterations=10, **limit).stopped_because == "iterations"
    forever = run(mode=mode, iterations=None, callback=lambda info: info.iteration >= 30)
    assert forever.stopped_because == "callback"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_ten_iterations_are_the_same_whether_said_or_not(algorithm):
    said, unsaid = (run(algorithm=algorithm, **options) for options in ({"iterations": 10}, {}))
    assert said["fitness"].tolist() == unsaid["fitness"].tolist()


def test_a_group_that_finds_nothing_does_not_keep_the_others_waiting_for_ever():
    def fun(x, local_data):
        return np.where(local_data["at"], np.nan, x * x)

    found = run(fun, {"x": [-5, 5]}, local_data={"at": [0, 1]}, ftol=1e-9)
    assert found.stopped_because == "ftol"
    assert np.isfinite(found["fitness"]).tolist() == [True, False]


def test_a_finished_group_costs_nothing_more():
    counts = [0, 0]

    def fun(args, local_data):
        for group in (0, 1):
            counts[group] += int((local_data["at"] == group).sum())
        return args["x"] ** 2 + 100 * local_data["at"]

    found = run(fun, {"x": [-5, 5]}, local_data={"at": [0, 1]}, target=0.1, iterations=30)
    assert found.stopped_because == "iterations"
    assert counts[0] < counts[1] == 600
    assert found.history.evaluations[-1].tolist() == counts


def test_timeout_gives_the_best_so_far():
    seen = []

    def slow(x):
        seen.append(x)
        time.sleep(0.005)  # work
        return x * x

    found = run(slow, {"x": [-5, 5]}, vectorized=False, timeout=0.2)
    assert found.stopped_because == "timeout"
    assert found.evaluations == len(seen)
    assert found["fitness"][0] == min(x * x for x in seen)


def test_ctrl_c_in_the_midst_of_a_round_loses_nothing_of_it():
    seen = []

    def slow(x):
        if len(seen) == 7:
            raise KeyboardInterrupt
        seen.append(x)
        return x * x

    found = run(slow, {"x": [-5, 5]}, vectorized=False)
    assert found.stopped_because == "interrupted"
    assert found.evaluations == 7
    assert found["fitness"][0] == min(x * x for x in seen)


def stuck_once(first):
    """A fitness whose first call never ends."""

    def stuck(x):
        try:
            os.close(os.open(first, os.O_CREAT | os.O_EXCL))
            time.sleep(1000)  # work
        except FileExistsError:
            pass
        return x

    return stuck


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["rounds", "stream"])
def test_timeout_does_not_wait_for_a_client(mode, tmp_path):
    client = covey.Client(max_cpu=2)
    try:
        list(client.map(abs, range(100)))
        found = covey.maximize(
            stuck_once(str(tmp_path / "first")), {"x": [-1, 1]}, seed=4, group_size=4, vectorized=False, mode=mode,
            executor=client, inline=False, timeout=1.5, iterations=1_000_000,
        )
        assert found.stopped_because == "timeout"
        assert found.evaluations >= 3
        assert found.workers_used == 1
    finally:
        client.kill()


@pytest.mark.slow
def test_timeout_kills_a_flock_that_nobody_else_uses(tmp_path):
    # So long because a busy machine needs time to start slots at all.
    found = covey.maximize(
        stuck_once(str(tmp_path / "first")), {"x": [-1, 1]}, seed=4, group_size=4, vectorized=False, mode="stream",
        max_cpu=2, timeout=4.0, iterations=1_000_000,
    )
    assert found.stopped_because == "timeout"


def test_with_a_timeout_nothing_runs_where_it_cannot_be_left():
    class Nowhere:
        """As a place that is cold, where slots would have to be started."""

        here, is_cold, slots = False, True, 1
        asks_for_gpu = has_gpu = False

        def prepared(self, call):
            return call

        def submit(self, call, *args):
            raise Sent

    class Sent(Exception):
        pass

    fitness = Fitness(lambda x: x, Space.of({"x": [-1, 1]}))
    evaluation = Evaluation(fitness, (), True, 16)
    calls = Calls(Nowhere(), fitness, "f", inline=False, clock=lambda: 0.0, deadline=1.0)
    evaluator = Evaluator(evaluation, calls, Tally("f", 1), chunk=16, fixed=False, free=True)
    with pytest.raises(Sent):
        evaluator.evaluate(np.zeros((40, 1)), np.zeros(40, dtype=np.int64))


def test_a_callback_is_told_where_it_stands():
    told = []
    run(callback=told.append, iterations=3, group_count=2)
    assert [info.iteration for info in told] == [1, 2, 3]
    assert [info.evaluations for info in told] == [40, 80, 120]
    assert told[-1].best["x"].shape == (2,)
    assert (told[-1].fitness <= told[0].fitness).all()
    assert told[-1].elapsed >= told[0].elapsed


def test_with_one_in_flight_a_stream_follows_from_its_seed():
    with ThreadPoolExecutor(3) as threads:
        one, two = (run(mode="stream", in_flight=1, executor=each, inline=None) for each in (threads, None))
    assert one["fitness"] == two["fitness"]


class Counting:
    """An Executor that computes nothing until somebody waits, and knows how much was under way."""

    def __init__(self):
        self.pool = ThreadPoolExecutor(4)
        self.now = self.most = 0

    def submit(self, fn, /, *args):
        self.now += 1
        self.most = max(self.most, self.now)
        future = self.pool.submit(fn, *args)
        future.add_done_callback(self.on_done)
        return future

    def on_done(self, future):
        self.now -= 1


def test_a_stream_keeps_its_number_in_flight():
    executor = Counting()
    with executor.pool:
        found = run(mode="stream", in_flight=5, executor=executor, inline=False)
    assert executor.most == 5
    assert 195 < found.evaluations <= 200


@pytest.mark.slow
def test_a_stream_on_slots_with_several_groups():
    found = run(mode="stream", group_count=3, max_cpu=2, inline=None, iterations=15, chunk=3)
    assert found.history.evaluations[-1].tolist() == [300, 300, 300]
    assert found["x"] == pytest.approx([1, 1, 1], abs=0.5)


@pytest.mark.slow
def test_islands_on_slots_are_the_islands_in_place():
    options = {"mode": "islands", "iterations": 20, "leg": 5, "islands": 3, "group_count": 2}
    one, two = run(**options), run(max_cpu=2, **options, inline=None)
    assert one["fitness"].tolist() == two["fitness"].tolist()
    assert one.history.best.tobytes() == two.history.best.tobytes()
    assert two.workers_used > 0


def test_islands_learn_of_each_other():
    def visited(leg):
        told = set()

        def fun(x):
            told.update(x.tolist())
            return x * x

        assert run(fun, {"x": [-5, 5]}, mode="islands", islands=4, leg=leg, iterations=30).evaluations == 600
        return told

    assert visited(leg=30) != visited(leg=3)


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
@pytest.mark.parametrize("vectorized", [True, False])
def test_constraints_are_kept(mode, vectorized):
    found = run(mode=mode, iterations=40, vectorized=vectorized, constraints=[lambda x, y: x + 1, lambda x, y: -y])
    assert found.feasible.all()
    assert found["x"][0] <= -1
    assert found["fitness"] == pytest.approx([4], abs=0.3)


def test_what_breaks_a_constraint_least_is_given_if_all_do():
    found = run(constraints=lambda x, y: abs(x) + 1, iterations=30)
    assert not found.feasible.any()
    assert abs(found["x"][0]) < 0.05
    assert "found nothing that is allowed" in str(found)


@pytest.mark.parametrize("mode", ["rounds", "stream"])
def test_a_noisy_best_is_a_mean_and_no_lucky_draw(mode):
    dice = np.random.default_rng(1)

    def noisy(x):
        return x * 0 + dice.normal(size=len(x))

    lucky = run(noisy, {"x": [-5, 5]}, mode=mode, iterations=30)
    careful = run(noisy, {"x": [-5, 5]}, mode=mode, iterations=30, noise=30)
    assert lucky["fitness"][0] < -2
    assert careful["fitness"][0] > -1.2
    assert careful.evaluations >= 600


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_each_algorithm_in_each_mode_and_from_a_file(tmp_path, algorithm, mode):
    options = {"mode": mode, "algorithm": algorithm, "iterations": 20, "checkpoint": tmp_path / "file"}
    whole = run(**{**options, "checkpoint": None})
    assert whole["fitness"][0] < 1.0
    # A planned end is part of the plan of some algorithms, so it is a callback that breaks this off.
    half = run(**options, callback=lambda info: info.iteration >= 10)
    assert half.evaluations < whole.evaluations or mode == "islands"
    assert run(**options)["fitness"] == whole["fitness"]


def test_an_object_of_another_library():
    class Hops:
        """Asks in pycma's manner."""

        def __init__(self):
            self.dice = np.random.default_rng(2)
            self.at, self.value = np.zeros(2), np.inf

        def ask(self):
            return [self.at + self.dice.normal(size=2) for _ in range(10)]

        def tell(self, points, values):
            if min(values) < self.value:
                self.at, self.value = points[int(np.argmin(values))], min(values)

    found = run(lambda X: (X**2).sum(axis=0), [[-5, 5], [-5, 5]], algorithm=Hops(), group_size=None, iterations=30)  # noqa: N803
    assert found["fitness"][0] < 0.5
    assert found.algorithm == "Hops"


@pytest.mark.parametrize("minimize", [True, False])
def test_an_optimizer_of_ours_keeps_its_own_sign(minimize):
    its = covey.swarm.Optimizer([[-5, 5]] * 2, seed=1, minimize=minimize)
    found = run(lambda X: (X**2).sum(axis=0), [[-5, 5]] * 2, algorithm=its, iterations=40)  # noqa: N803
    assert found["fitness"][0] < 1e-3


@pytest.mark.parametrize("mode", ["rounds", "stream"])
def test_confirmations_live_on_the_budget_too(mode):
    in_flight = 8 if mode == "stream" else None
    found = run(lambda x: x * x, {"x": [-5, 5]}, mode=mode, budget=200, noise=50, in_flight=in_flight)
    assert 150 < found.evaluations <= 200
    assert np.isfinite(found["fitness"][0])


def test_islands_give_what_they_have_when_the_time_is_over():
    def slow(x):
        time.sleep(0.01)  # work
        return x * x

    found = run(slow, {"x": [-5, 5]}, mode="islands", timeout=0.5, islands=1, leg=1_000)
    assert found.stopped_because == "timeout"
    assert found.seconds < 5
    assert len(found.history) == found.evaluations / 20


def test_islands_that_landed_before_ctrl_c_count():
    calls = []

    def pressed(x):
        calls.append(len(x))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return x * x

    found = run(pressed, {"x": [-5, 5]}, mode="islands", islands=2, leg=1)
    assert found.stopped_because == "interrupted"
    assert found.evaluations == 30


def test_patience_counts_generations_of_islands():
    found = run(lambda x: x * 0 + 1.0, {"x": [-5, 5]}, mode="islands", ftol=0.0, leg=5, iterations=100)
    assert found.stopped_because == "ftol"
    assert 11 * 20 <= found.evaluations < 16 * 20


@pytest.mark.parametrize("names", [("x",), ("x", "y")])
def test_progress_counts_evaluations(capsys, names):
    run(lambda **all: sum(all.values()) ** 2, {name: [-1, 1] for name in names}, progress=True)
    assert "200" in capsys.readouterr().err


def test_ctrl_c_while_a_noisy_best_is_confirmed():
    calls, confirmations = [], []

    def pressed(x):
        time.sleep(0.02)  # work: so much that it is done piece by piece
        calls.append(len(x))
        if (x == x[0]).all():
            confirmations.append(len(x))
        if len(confirmations) == 20 + 3:
            raise KeyboardInterrupt
        return x * x

    found = run(pressed, {"x": [-5, 5]}, group_size=2, chunk=2, noise=40, iterations=100)
    assert found.stopped_because == "interrupted"
    assert found.evaluations == sum(calls) - 2


@pytest.mark.parametrize("mode", ["rounds", "stream"])
def test_a_timeout_before_any_best_is_confirmed_says_so(mode):
    def slow(x):
        time.sleep(0.005)  # work
        return x * x

    with pytest.raises(TimeoutError, match="no candidate for the best was evaluated noise=10000 times more"):
        run(slow, {"x": [-5, 5]}, mode=mode, group_size=10, chunk=1, noise=10_000, timeout=0.2)


def test_a_stream_that_ends_before_any_best_is_confirmed_says_so():
    sentence = "noise=100 times more before the end of its iterations: set that farther"
    with pytest.raises(covey.BadFitness, match=sentence):
        run(mode="stream", iterations=1, group_size=10, in_flight=20, noise=100)


@pytest.mark.parametrize("mode", ["rounds", "stream"])
@pytest.mark.parametrize("after", [8, 30])
def test_ctrl_c_before_any_best_is_confirmed_gives_what_there_is(mode, after):
    seen = []

    def pressed(x):
        if len(seen) >= after:
            raise KeyboardInterrupt
        time.sleep(0.02)  # work: so much that it is done piece by piece
        seen.extend(x)
        return x * x

    found = run(pressed, {"x": [-5, 5]}, mode=mode, chunk=1, in_flight=25 if mode == "stream" else None, noise=40)
    assert found.stopped_because == "interrupted"
    assert found["fitness"][0] == min(x * x for x in seen)
    assert found["x"][0] ** 2 == found["fitness"][0]
    assert not found.confirmed.any()
    assert "1 of 1 groups have a best that is unconfirmed" in str(found)
    assert run(lambda x: x * x, {"x": [-5, 5]}, mode=mode, noise=2).confirmed.all()


def test_patience_waits_for_a_confirmation():
    found = run(lambda x: x * x, {"x": [-5, 5]}, mode="stream", group_size=2, in_flight=8, noise=500, ftol=1e-9)
    assert found.stopped_because == "ftol"
    assert found.confirmed.all()


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_what_is_allowed_comes_before_what_is_not_however_bad_it_is(mode):
    found = run(
        lambda x: np.where(x > 0, 1e300 * (1 + x), x), {"x": [-9, 1]}, mode=mode, constraints=lambda x: -x,
        iterations=30,
    )
    assert found.feasible.all()
    assert 0 <= found["x"][0] < 0.01
