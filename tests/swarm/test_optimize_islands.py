# SPDX-License-Identifier: BSD-3-Clause
"""`optimize(mode="islands")`: no island waits for another, and nobody can tell from the result who landed first."""

import zlib
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

import covey
from covey.swarm.space import Space
from covey.swarm.stops import Stops
from covey.swarm.wave import Outlook, find_generations

BOX = [[-5, 5]] * 3


def bumpy(points):
    return (10 + points**2 - 10 * np.cos(6 * points)).sum(axis=0)


def run(fun=bumpy, **options):
    wanted = {"mode": "islands", "group_size": 24, "islands": 3, "leg": 4, "iterations": 20, "seed": 4, "inline": True}
    return covey.minimize(fun, BOX, **{**wanted, **options})


def same(one, other):
    assert one["x"].tolist() == other["x"].tolist()
    assert one.evaluations == other.evaluations
    for what in ("best", "mean", "spread", "evaluations"):
        assert getattr(one.history, what).tobytes() == getattr(other.history, what).tobytes()


class Delayed:
    """An Executor on which tasks of the numbers in `late` come back only when so many more were asked for."""

    max_workers = 2

    def __init__(self, late, more):
        self.late, self.more = late, more
        self.asked = 0
        self.kept = {}

    def submit(self, fn, /, *args):
        future = Future()
        number, self.asked = self.asked, self.asked + 1
        if number in self.late:
            self.kept[number] = future, fn, args
        else:
            self._answer(future, fn, args)
        for key in [key for key in self.kept if self.asked > key + self.more]:
            self._answer(*self.kept.pop(key))
        return future

    def _answer(self, future, fn, args):
        future.set_result(fn(*args))


class Deadly(Delayed):
    """Which legs die with their slots follows from where they begin, so it is the same in any order."""

    def _answer(self, future, fn, args):
        if zlib.crc32(args[0]) % 4 == 0:
            future.set_exception(covey.PoisonTask("a slot died"))
        else:
            super()._answer(future, fn, args)


@pytest.fixture(scope="module")
def inline():
    return run()


@pytest.mark.parametrize(("late", "more"), [(0, 4), (1, 3), (2, 2), (3, 4)])
def test_who_lands_is_sent_on_while_another_is_still_at_sea(inline, late, more):
    # The leg that is late comes back only when both others of its wave have been sent on. Would they wait for it,
    # nothing more would come.
    found = run(executor=Delayed({late}, more), inline=False, timeout=20)
    assert found.stopped_because == "iterations"
    same(found, inline)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("groups", [1, 2])
def test_any_number_of_slots_gives_the_same(threads, groups):
    with ThreadPoolExecutor(threads) as executor:
        same(run(executor=executor, inline=False, group_count=groups), run(group_count=groups))


def test_a_group_that_is_finished_is_sent_on_once_in_vain_and_not_counted(monkeypatch):
    # However busy the machine is.
    monkeypatch.setattr("covey.swarm.islands.BRIEF", 1e9)

    def fun(points, local_data):
        return (points**2).sum(axis=0) + local_data["at"]

    options = {"local_data": {"at": [0.0, 100.0]}, "target": 1.0}
    one = run(fun, **options)
    executor = Delayed((), 0)
    same(run(fun, **options, executor=executor, inline=False), one)
    # Six legs of each island, of the group that goes on; of the other the first two, and one in vain.
    assert one.history.evaluations[-1].tolist() == [4 * 24, 480]
    assert executor.asked == 3 * (6 + 2 + 1)


def test_an_island_that_begins_anew_does_so_whoever_landed_before():
    found = []
    for late in (set(), {1}, {2, 5}):
        with pytest.warns(RuntimeWarning, match="a slot died"):
            found.append(run(executor=Deadly(late, 2), inline=False, timeout=20))
    assert 0 < found[0].faults.raised < 480
    assert found[0].evaluations == 480
    for other in found[1:]:
        same(other, found[0])


@pytest.mark.parametrize(("brief", "legs"), [(0.0, 6), (1e9, 9)])
def test_where_legs_are_long_none_is_sent_that_nobody_may_want(monkeypatch, brief, legs):
    monkeypatch.setattr("covey.swarm.islands.BRIEF", brief)
    executor = Delayed((), 0)
    found = run(executor=executor, inline=False, callback=lambda info: info.iteration >= 4)
    assert found.stopped_because == "callback"
    assert found.evaluations == 4 * 24
    assert executor.asked == legs


def test_more_iterations_go_on_at_the_end_of_any_leg(tmp_path, inline):
    for iterations in (1, 4, 12):
        file = tmp_path / f"{iterations}"
        run(checkpoint=file, iterations=iterations)
        same(run(checkpoint=file), inline)


def legs(leg, *, iterations=None, budget=None):
    space = Space.of(BOX)
    stops = Stops(
        1, iterations=iterations, budget=budget, target=None, ftol=None, xtol=None, widths=space.init_upper
    )
    made = []
    while (more := find_generations(Outlook(sum(made), 10 * sum(made), [0]), stops, [10], leg)) is not None:
        made.append(more)
    return made


def test_legs_are_short_first_and_end_at_multiples_and_at_limits():
    assert legs(20, iterations=100) == [1, 4, 15, 20, 20, 20, 20]
    assert legs(20, iterations=10) == [1, 4, 5]
    assert legs(2, iterations=7) == [1, 1, 2, 2, 1]
    assert legs(1000, iterations=130) == [1, 4, 20, 100, 5]
    assert legs(20, budget=99) == [1, 4, 4]
    assert legs(20, budget=9) == []
