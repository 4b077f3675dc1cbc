# SPDX-License-Identifier: BSD-3-Clause
"""How often each contestant solves real problems of many valleys, within the same number of evaluations.

Guarantees: every contestant has the same seeds and budgets; success is judged by the problem's own threshold.
"""

import multiprocessing
from collections.abc import Sequence

from benchmarks.optimize.contestants import contestant
from benchmarks.optimize.models import PROBLEMS
from benchmarks.optimize.trial import Trial
from benchmarks.table import layout

__all__ = ["run"]


def _one(job: tuple[str, int, int, int]) -> tuple[str, int, float, int]:
    name, number, seed, per_dimension = job
    problem, success = PROBLEMS[number]()
    try:
        optimiser = contestant(name)
    except ImportError:
        return name, number, float("nan"), 0
    trial = Trial(problem, per_dimension * problem.dimension, seed, target=success).run(optimiser)
    return name, number, trial.best, trial.used


def run(names: Sequence[str], per_dimension: int, seeds: Sequence[int], jobs: int) -> str:
    """The table: successes of so many runs, and the evaluations that a success took in the median."""
    work = [(name, number, seed, per_dimension) for number in range(len(PROBLEMS)) for name in names for seed in seeds]
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        results = pool.map(_one, work, chunksize=1)
    lines = []
    for name in names:
        cells, rates = [], []
        for number, make in enumerate(PROBLEMS):
            _, success = make()
            runs = [(best, used) for who, which, best, used in results if (who, which) == (name, number)]
            if any(best != best for best, _ in runs):
                cells.append("not installed")
                continue
            solved = sorted(used for best, used in runs if best <= success)
            rates.append(len(solved) / len(runs))
            median = f" ({solved[len(solved) // 2] / 1000:.0f} k)" if solved else ""
            cells.append(f"{len(solved)}/{len(runs)}{median}")
        lines.append([name, f"{100 * sum(rates) / len(rates):.0f} %" if rates else "-", *cells])
    head = ["optimiser", "solved", *(f"{make()[0].name}, {make()[0].dimension}-D" for make in PROBLEMS)]
    return layout(head, lines)
