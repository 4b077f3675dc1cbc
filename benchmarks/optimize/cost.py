# SPDX-License-Identifier: BSD-3-Clause
"""What an optimiser itself costs for each evaluation: CPU time, less the time within the function.

Why: for a cheap vectorised function the optimiser is what one waits for.

Guarantees: the function is a sphere for everybody; the median of several rounds, the contestants in turn.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.optimize.contestants import PEERS, Optimiser, contestant, covey
from benchmarks.optimize.trial import Problem, Trial
from benchmarks.table import layout

__all__ = ["run"]

SETTINGS = ((100, 10), (100, 100), (20, 10), (1, 10))


def sphere(points: Any) -> Any:
    return (np.asarray(points) ** 2).sum(axis=1)


def _us(optimiser: Optimiser, dimension: int, budget: int) -> float:
    problem = Problem("sphere", sphere, np.full(dimension, -5.0), np.full(dimension, 5.0), 0.0)
    trial = Trial(problem, budget, seed=1)
    began = time.process_time()
    trial.run(optimiser)
    spent = time.process_time() - began - trial.seconds
    return 1e6 * spent / trial.used


def run(algorithms: Sequence[str], peers: Sequence[str], rounds: int = 5) -> str:
    """The table, in microseconds for each evaluation: covey's with several group sizes, peers with their own."""
    lines = []
    for algorithm in algorithms:
        cells = []
        for group, dimension in SETTINGS:
            budget = 40_000 if group > 1 else 4_000
            optimiser = covey(algorithm, group_size=group)
            cells.append(f"{statistics.median(_us(optimiser, dimension, budget) for _ in range(rounds)):.2f}")
        lines.append([f"covey {algorithm}", *cells])
    for name in peers:
        if name not in PEERS:
            continue
        try:
            optimiser = contestant(name)
        except ImportError:
            lines.append([name, "not installed", *[""] * (len(SETTINGS) - 1)])
            continue
        figures = {
            dimension: f"{statistics.median(_us(optimiser, dimension, 20_000) for _ in range(3)):.2f} (own population)"
            for dimension in (10, 100)
        }
        lines.append([name, figures[10], figures[100], "", ""])
    return layout(["µs an evaluation", *(f"{group} a round, {dimension}-D" for group, dimension in SETTINGS)], lines)
