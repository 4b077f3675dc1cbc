# SPDX-License-Identifier: BSD-3-Clause
"""What a stream gains over rounds where evaluations take unequal times: the two real loops, under a virtual clock.

Why: nobody has 1024 workers at hand, and what is asked is arithmetic: who waits for whom, and how soon a value is
found. The loops, the algorithms and the functions are real; only the workers are simulated, one evaluation at a time
each, whose length is log-normal (s = 1).

    efficiency   work done / (workers x time), on a sphere, 40 rounds' worth; up to the last hand-out, and to the end
    area         under the ECDF by evaluations, as in `bbob`: what it costs to be told out of order
    sooner       time of rounds / time of the stream until both have the better value that both find

Guarantees: both loops have the same seeds, budget and lengths' distribution; a problem on which one of them finds
nothing at all does not exist here, as the level compared is one that both reach.
"""

import heapq
import itertools
import multiprocessing
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.optimize.bbob import problem as bbob_problem
from benchmarks.optimize.score import area, paired
from benchmarks.optimize.trial import Problem as Function
from benchmarks.table import layout

__all__ = ["run"]

# Work for as many rounds, so that the start and the end of a stream weigh as they do in a real one.
ROUNDS_OF_WORK = 40


class Workers:
    """As an Evaluator: each worker takes one particle at a time, whose length is drawn."""

    def __init__(self, count: int, function: Function, seed: int) -> None:
        self.now = 0.0
        # What all workers have done and will have done, and what they have waited, all together; when, and after how
        # much waiting, the last task was handed out.
        self.work = self.waited = self.last_hand_out = self.waited_until_then = 0.0
        # When each new best was found, as (evaluations, time, value minus optimum).
        self.improved: list[tuple[int, float, float]] = []
        self.partial: list[Any] = []
        self._done = 0
        self._best = np.inf
        self._function = function
        self._dice = np.random.default_rng(seed)
        self._idle = count
        self._queue: deque[tuple[Any, Any]] = deque()
        self._running: list[tuple[float, int, Any, Any]] = []
        self._numbers = itertools.count()

    def post(self, key: Any, positions: Any, groups: Any) -> None:
        self._queue.append((key, positions))
        self._start()

    def take(self) -> tuple[Any, Any]:
        from covey.swarm.evaluator import Evaluated

        before = self.now
        self.now, _, key, positions = heapq.heappop(self._running)
        self.waited += self._idle * (self.now - before)
        self._idle += 1
        values = np.asarray(self._function.function(positions)) - self._function.optimum
        for value in values.tolist():
            self._done += 1
            if value < self._best:
                self._best = value
                self.improved.append((self._done, self.now, value))
        self._start()
        return key, Evaluated(values, None)

    def drop(self) -> None:
        """A stream is over; what runs is left."""

    def evaluate(self, positions: Any, groups: Any) -> Any:
        from covey.swarm.evaluator import Evaluated

        for row in range(len(positions)):
            self.post(row, positions[row : row + 1], groups)
        values = np.empty(len(positions))
        for _ in range(len(positions)):
            row, found = self.take()
            values[row] = found.values[0]
        return Evaluated(values, None)

    def _start(self) -> None:
        while self._idle and self._queue:
            key, positions = self._queue.popleft()
            length = float(np.exp(self._dice.normal()))
            self.work += length
            self.last_hand_out, self.waited_until_then = self.now, self.waited
            self._idle -= 1
            heapq.heappush(self._running, (self.now + length, next(self._numbers), key, positions))


def _went(mode: str, workers: int, function: Function, budget: int, algorithm: str, seed: int) -> Workers:
    """One loop, to the end of its budget."""
    from covey.swarm.faults import Tally
    from covey.swarm.problem import Problem
    from covey.swarm.rounds import Rounds
    from covey.swarm.run import Run
    from covey.swarm.space import Space
    from covey.swarm.stops import Stops
    from covey.swarm.stream import Stream

    box = np.stack([function.lower, function.upper], axis=1)
    problem = Problem(
        space=Space.of(box), algorithm=algorithm, optinfo=None, group_size=workers, group_count=1, seed=seed,
        minimize=True, mode=mode, planned=budget, chunk=1, noise=None, in_flight=workers + -(-workers // 4),
        islands=1, leg=1,
    )
    stops = Stops(1, iterations=None, budget=budget, target=None, ftol=None, xtol=None, widths=problem.widths)
    simulated = Workers(workers, function, seed)
    run = Run(
        problem, stops, Tally(function.name, workers), callback=None, progress=None, checkpoint=None,
        clock=lambda: simulated.now,
    )
    evaluator: Any = simulated
    optimizers = [problem.optimizer(0)]
    loop = Rounds(run, evaluator, optimizers) if mode == "rounds" else Stream(run, evaluator, optimizers, workers)
    loop.go()
    return simulated


def _efficiency(workers: int) -> list[str]:
    sphere = Function("sphere", lambda points: (points**2).sum(axis=1), np.full(10, -5.0), np.full(10, 5.0), 0.0)
    budget = ROUNDS_OF_WORK * workers
    rounds = _went("rounds", workers, sphere, budget, "pso", 1)
    stream = _went("stream", workers, sphere, budget, "pso", 1)
    until = 1 - stream.waited_until_then / (workers * stream.last_hand_out)
    to_the_end = [1 - loop.waited / (workers * loop.now) for loop in (rounds, stream)]
    return [str(workers), f"{to_the_end[0]:.1%}", f"{until:.1%}", f"{to_the_end[1]:.1%}"]


def _time_of(level: float, loop: Workers) -> float:
    return next(time for _, time, value in loop.improved if value <= level)


def _pair(job: tuple[str, int, int, int, int, int]) -> tuple[float, float, float]:
    """Areas of rounds and stream, and how many times sooner the stream has the better value that both find."""
    algorithm, workers, function, instance, dimension, per_dimension = job
    budget = per_dimension * dimension
    loops = [
        _went(mode, workers, bbob_problem(function, instance, dimension), budget, algorithm, 1000 * instance + function)
        for mode in ("rounds", "stream")
    ]
    areas = [area([(count, value) for count, _, value in loop.improved], dimension, budget) for loop in loops]
    level = max(loop.improved[-1][2] for loop in loops)
    rounds, stream = (_time_of(level, loop) for loop in loops)
    return areas[0], areas[1], rounds / stream


def _quality(
    algorithm: str, workers: int, instances: Sequence[int], dimension: int, per_dimension: int, pool: Any
) -> list[str]:
    jobs = [
        (algorithm, workers, function, instance, dimension, per_dimension)
        for instance in instances for function in range(1, 25)
    ]
    rounds, stream, sooner = np.array(pool.map(_pair, jobs, chunksize=1)).T
    mean, low, high = paired(stream, rounds)
    middle, least, most = np.exp(paired(np.log(sooner), np.zeros(len(sooner))))
    return [
        algorithm, str(workers), f"{rounds.mean():.3f}", f"{stream.mean():.3f}",
        f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]", f"{middle:.1f} [{least:.1f}, {most:.1f}]",
        f"{np.median(sooner):.1f}",
    ]


def run(
    algorithms: Sequence[str], workers: Sequence[int], instances: Sequence[int], per_dimension: int, jobs: int,
    dimension: int = 10,
) -> str:
    """The tables."""
    efficiency = layout(
        ["workers", "rounds", "stream, while there is work", "stream, to the end"],
        [_efficiency(count) for count in (8, 32, 64, 128, 512, 1024)],
    )
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        quality = layout(
            ["algorithm", "workers", "area: rounds", "stream", "stream minus rounds [95 %]", "times sooner [95 %]",
             "median"],
            [_quality(each, count, instances, dimension, per_dimension, pool)
             for each in algorithms for count in workers],
        )
    return f"{efficiency}\n\n{quality}"
