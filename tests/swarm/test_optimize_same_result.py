# SPDX-License-Identifier: BSD-3-Clause
"""`optimize()`: one seed gives one result, bit for bit, wherever and by how many it was computed."""

import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import covey

BOX = {"x": [-5, 5], "y": [-5, 5]}
LOCAL = {"at": [0.0, 1.0, 2.0]}


def bumpy(args, shared_data, local_data):
    x, y = args["x"], args["y"]
    return np.cos(3 * x) + (x - local_data["at"]) ** 2 + y * y * shared_data["steep"]


def optimized(**options):
    wanted = {"shared_data": {"steep": 2.0}, "local_data": LOCAL, "group_size": 23, "seed": 11, "iterations": 12}
    return covey.minimize(bumpy, BOX, **{**wanted, **options})


def same(one, other):
    assert one["fitness"].tolist() == other["fitness"].tolist()
    assert one["x"].tolist() == other["x"].tolist()
    for what in ("best", "mean", "spread", "evaluations"):
        assert getattr(one.history, what).tobytes() == getattr(other.history, what).tobytes()


def same_values(one, other):
    assert one["x"].tolist() == other["x"].tolist()
    assert one.history.mean.tobytes() == other.history.mean.tobytes()


@pytest.fixture(scope="module")
def inline():
    return optimized(inline=True)


@pytest.fixture(scope="module")
def client():
    with covey.Client(max_cpu=2) as client:
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2])
def test_on_slots(inline, slots):
    found = optimized(max_cpu=slots, inline=False)
    same(found, inline)
    assert 1 <= found.workers_used <= slots


@pytest.mark.parametrize("threads", [3, 8])
def test_on_somebody_elses_threads(inline, threads):
    with ThreadPoolExecutor(threads) as executor:
        same(optimized(executor=executor, inline=False), inline)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_on_somebody_elses_processes(inline):
    with ProcessPoolExecutor(2) as executor:
        found = optimized(executor=executor, inline=False, iterations=12)
    same(found, inline)
    assert found.workers_used in (1, 2)


def test_wherever_its_cost_was_found_to_send_it(inline):
    same(optimized(), inline)


class Backwards:
    """An Executor that answers the calls of a round in the wrong order."""

    def __init__(self):
        self.waiting = []

    def submit(self, fn, /, *args):
        future = Lazy(self)
        self.waiting.append((future, fn, args))
        return future


class Lazy(Future):
    def __init__(self, executor):
        super().__init__()
        self.executor = executor

    def done(self):
        waiting = self.executor.waiting
        while waiting:
            future, fn, args = waiting.pop()
            future.set_result(fn(*args))
        return super().done()


def test_in_whatever_order_values_arrive(inline):
    same(optimized(executor=Backwards(), inline=False), inline)


@pytest.mark.slow
@pytest.mark.faults
def test_with_slots_killed_on_the_way(inline, tmp_path, figures):
    place = str(tmp_path)

    def deadly(args, shared_data, local_data):
        # Three times in all, a slot that holds a chunk is killed.
        for number in range(3):
            try:
                os.close(os.open(f"{place}/{number}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return bumpy(args, shared_data, local_data)

    found = covey.minimize(
        deadly, BOX, shared_data={"steep": 2.0}, local_data=LOCAL, group_size=23, seed=11, iterations=12, max_cpu=2,
        inline=False,
    )
    assert len(os.listdir(place)) == 3
    same(found, inline)
    figures.say("T23", f"3 slots killed: {found.evaluations:,} points, values and the best the same to the last bit")


@pytest.mark.slow
def test_on_a_client_that_others_use_too(inline, client):
    same(optimized(executor=client, inline=False), inline)
    assert client.submit(abs, -1).result() == 1


@pytest.mark.slow
def test_what_is_dear_is_sent_to_slots():
    def slow(x):
        import time

        time.sleep(0.004)  # work
        return x * x

    found = covey.minimize(slow, {"x": [-1, 1]}, seed=1, iterations=2, vectorized=False, max_cpu=2, group_size=20)
    assert found.workers_used == 2
    alone = covey.minimize(slow, {"x": [-1, 1]}, seed=1, iterations=2, inline=True, vectorized=False, group_size=20)
    same(found, alone)


@pytest.mark.slow
def test_a_class_is_made_once_in_each_slot(client, tmp_path):
    place = str(tmp_path)

    class Costly:
        def __init__(self):
            with open(f"{place}/made", "a") as file:
                file.write(f"{os.getpid()}\n")

        def __call__(self, x):
            return x * x

    for seed in (1, 2):
        covey.minimize(Costly, {"x": [-1, 1]}, seed=seed, executor=client, inline=False)
    made = (tmp_path / "made").read_text().split()
    assert len(made) == len(set(made)) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_inside_a_slot_it_runs_in_place(client, mode):
    def inner(seed):
        found = covey.minimize(lambda y: y * y, {"y": [-1, 1]}, seed=seed, mode=mode, iterations=3, max_cpu=2)
        return found.workers_used, found["fitness"].tolist()

    used, fitness = client.submit(inner, 5).result()
    assert used == 0
    assert fitness == covey.minimize(lambda y: y * y, {"y": [-1, 1]}, seed=5, mode=mode, iterations=3, inline=True)[
        "fitness"
    ].tolist()


@pytest.mark.parametrize("size", [33, 100])
def test_in_whatever_way_it_was_cut_when_something_raised(monkeypatch, size):
    # Where nobody says where, it runs here, in one call a round.
    monkeypatch.setattr("covey.swarm.pace.CHEAP", 10.0)

    def steep(X):  # noqa: N803
        if (X[0] > 4.5).any():
            raise ValueError
        # Other last bits for a particle alone than for it among others.
        return (np.sqrt(2) * X**2 + np.sin(X)).sum(axis=0)

    found = []
    for options in ({"inline": True}, {}, {"executor": Backwards(), "inline": False}):
        with pytest.warns(RuntimeWarning, match="raised"):
            found.append(covey.minimize(steep, [[-5, 5]] * 20, group_size=size, seed=3, iterations=20, **options))
    for other in found[1:]:
        same_values(other, found[0])


def test_another_seed_is_another_result(inline):
    assert optimized(inline=True, seed=12)["x"].tolist() != inline["x"].tolist()


def test_without_a_seed_the_result_tells_which_it_was():
    first = optimized(inline=True, seed=None)
    same(optimized(inline=True, seed=first.seed), first)
