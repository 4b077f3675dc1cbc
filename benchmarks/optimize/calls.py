# SPDX-License-Identifier: BSD-3-Clause
"""What a call of `optimize` costs around its fitness: through slots, with slots that are not needed, with two.

Why: the other questions ask how good and how dear the algorithms are; this one asks what distribution adds, and gains.

    throughput   a trivial vectorised fitness through two slots, in chunks of 256
    cheap        a fitness of one microsecond a particle, with slots offered, against the same in place
    two slots    Playdoh's own experiment: 10-D Schwefel, 50 particles, 100 iterations, a pause for each particle

Guarantees: those that are compared take turns in one run, and the median of the rounds counts; pauses are spun, not
slept, so that a core is really taken.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.table import layout

__all__ = ["run"]

BOX = np.array([[-500.0, 500.0]] * 10)
PAUSES_US = (1, 5, 20, 50, 100)


def trivial(points: Any) -> Any:
    return points[0]


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def paused(microseconds: float) -> Callable[[Any], Any]:
    """Schwefel's function of a D x N matrix, with a pause for each of the N particles."""

    def schwefel(points: Any) -> Any:
        _spin(points.shape[1] * microseconds * 1e-6)
        return 418.9829 * len(points) - (points * np.sin(np.sqrt(np.abs(points)))).sum(axis=0)

    return schwefel


def _throughput(client: Any, rounds: int) -> str:
    import covey

    rates = []
    for seed in range(rounds):
        found = covey.minimize(
            trivial, BOX, group_size=20_000, iterations=12, chunk=256, inline=False, executor=client, seed=seed)
        # The first rounds bring the fitness to the slots and learn how long it takes.
        seconds = found.history.time[-1] - found.history.time[3]
        rates.append(20_000 * (len(found.history.time) - 4) / seconds)
    return f"{statistics.median(rates) / 1e6:.2f} M evaluations/s"


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _by_hand(fitness: Callable[[Any], Any], iterations: int) -> None:
    from covey.swarm import Optimizer

    optimizer = Optimizer(BOX, group_size=100, seed=1, minimize=True, budget=100 * iterations)
    for _ in range(iterations):
        ids, points = optimizer.ask()
        optimizer.tell(ids, fitness(points.T))


def _cheap(client: Any, rounds: int) -> list[list[str]]:
    import covey

    fitness = paused(1)
    iterations = 2_000
    words = {"group_size": 100, "iterations": iterations, "seed": 1}
    ways: dict[str, Callable[[], Any]] = {
        "by hand, ask and tell": lambda: _by_hand(fitness, iterations),
        "in place, inline=True": lambda: covey.minimize(fitness, BOX, inline=True, **words),
        "two slots offered": lambda: covey.minimize(fitness, BOX, executor=client, **words),
        "two slots offered, none started yet": lambda: covey.minimize(fitness, BOX, max_cpu=2, **words),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, call in ways.items():
            times[way].append(_seconds(call))
    first = statistics.median(times["in place, inline=True"])
    return [
        [way, f"{1e6 * statistics.median(each) / iterations:.0f} µs a round", f"{statistics.median(each) / first:.2f}"]
        for way, each in times.items()
    ]


def _two_slots(one: Any, two: Any, rounds: int) -> list[list[str]]:
    import covey

    lines = []
    for pause in PAUSES_US:
        words = {"group_size": 50, "iterations": 100, "seed": 1, "inline": False}
        times: dict[tuple[str, int], list[float]] = {}
        for _ in range(rounds):
            for mode in ("rounds", "islands"):
                for slots, client in ((1, one), (2, two)):
                    call = partial(covey.minimize, paused(pause), BOX, mode=mode, executor=client, **words)
                    times.setdefault((mode, slots), []).append(_seconds(call))
        middle = {key: statistics.median(each) for key, each in times.items()}
        alone = 100 * 50 * pause * 1e-6
        lines.append([
            f"{pause} µs", f"{alone:.3f} s",
            *(f"{middle[mode, 1]:.3f} / {middle[mode, 2]:.3f} s = {middle[mode, 1] / middle[mode, 2]:.2f}"
              for mode in ("rounds", "islands")),
        ])
    return lines


def run(rounds: int = 5) -> str:
    """The tables."""
    import covey

    with covey.Client(max_cpu=1) as one, covey.Client(max_cpu=2) as two:
        for client in (one, two):
            list(client.map(abs, range(1000)))
        throughput = _throughput(two, rounds)
        cheap = layout(["1 µs a particle, 100 a round", "", "of in place"], _cheap(two, rounds))
        pauses = layout(
            ["pause a particle", "alone", "rounds: 1 slot / 2 slots", "islands: 1 slot / 2 slots"],
            _two_slots(one, two, rounds))
    load = f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"
    return f"{load}\n\nthroughput, two slots, chunks of 256: {throughput}\n\n{cheap}\n\n{pauses}"
