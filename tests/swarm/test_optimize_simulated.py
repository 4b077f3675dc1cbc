# SPDX-License-Identifier: BSD-3-Clause
"""The stream under a virtual clock: hundreds of workers whose evaluations take very unequal times."""

import heapq
import itertools
import math

import numpy as np
import pytest

from covey.swarm.evaluator import Evaluated
from covey.swarm.faults import Tally
from covey.swarm.problem import Problem
from covey.swarm.run import Run
from covey.swarm.space import Space
from covey.swarm.stops import Stops
from covey.swarm.stream import Stream


class Workers:
    """As an Evaluator, for a stream: each worker takes one task at a time, whose length is drawn."""

    def __init__(self, count, seed):
        self.now = 0.0
        # How much time workers have spent without a task, all together; and up to when the last task was handed out.
        self.wasted = self.wasted_before_the_end = self.the_end = 0.0
        self._dice = np.random.default_rng(seed)
        self._idle = count
        self._queue = []
        self._running = []
        self._numbers = itertools.count()

    def post(self, key, positions, groups):
        self._queue.append((key, positions))
        self.the_end, self.wasted_before_the_end = self.now, self.wasted
        self._start()

    def take(self):
        before = self.now
        self.now, _, key, positions = heapq.heappop(self._running)
        self.wasted += self._idle * (self.now - before)
        self._idle += 1
        self._start()
        return key, Evaluated((positions**2).sum(axis=1), None)

    def drop(self):
        pass

    def _start(self):
        while self._idle and self._queue:
            key, positions = self._queue.pop(0)
            length = math.exp(self._dice.normal())
            self._idle -= 1
            heapq.heappush(self._running, (self.now + length, next(self._numbers), key, positions))


def streamed(workers, evaluations, seed):
    problem = Problem(
        space=Space.of([[-5, 5]] * 5), algorithm="pso", optinfo=None, group_size=100, group_count=1, seed=3,
        minimize=True, mode="stream", planned=None, chunk=1, noise=None, in_flight=workers + -(-workers // 4),
        islands=1, leg=1,
    )
    stops = Stops(
        1, iterations=None, budget=evaluations, target=None, ftol=None, xtol=None, widths=problem.widths
    )
    evaluator = Workers(workers, seed)
    run = Run(
        problem, stops, Tally("f", 100), callback=None, progress=None, checkpoint=None, clock=lambda: evaluator.now
    )
    reason = Stream(run, evaluator, [problem.optimizer(0)], 100).go()
    assert reason == "budget"
    assert run.total == evaluations
    return run, evaluator


@pytest.mark.parametrize("workers", [8, 64, 128])
def test_nobody_waits_for_the_slowest(workers):
    run, evaluator = streamed(workers, 20 * workers, seed=1)
    # At the end, when nothing more is handed out, some must wait: that is left out.
    assert evaluator.wasted_before_the_end / (workers * evaluator.the_end) < 0.001
    assert run.best.values[0] < run.history.mean[0, 0]


def test_the_order_of_arrival_is_all_that_matters():
    one, two, three = (streamed(16, 400, seed)[0].history.mean.tolist() for seed in (1, 1, 2))
    assert one == two
    assert one != three
