# SPDX-License-Identifier: BSD-3-Clause
"""BBOB: 24 noiseless functions, and the area under the ECDF of every contestant, paired with covey's.

Why: the one public yardstick on which all of these were compared. Needs the package `ioh`.

Guarantees: who competes sees the same functions, instances and budgets; a figure over problems is a mean, an
interval comes from resampling the problems that both ran.
"""

import json
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.optimize.contestants import contestant
from benchmarks.optimize.score import area, paired
from benchmarks.optimize.trial import Problem, Trial
from benchmarks.table import layout

__all__ = ["run"]

GROUPS = {"separable": range(1, 6), "low cond.": range(6, 10), "high cond.": range(10, 15),
          "multimodal": range(15, 20), "weak struct.": range(20, 25)}


def problem(function: int, instance: int, dimension: int) -> Problem:
    import ioh

    inner = ioh.get_problem(function, instance, dimension, ioh.ProblemClass.BBOB)
    return Problem(f"f{function}", inner, np.full(dimension, -5.0), np.full(dimension, 5.0), float(inner.optimum.y))


def _one(job: tuple[str, int, int, int, int]) -> dict[str, Any]:
    name, function, instance, dimension, per_dimension = job
    try:
        optimiser = contestant(name)
    except ImportError as missing:
        return {"name": name, "missing": str(missing)}
    trial = Trial(problem(function, instance, dimension), per_dimension * dimension, 1000 * instance + function)
    began = time.process_time()
    trial.run(optimiser)
    spent = time.process_time() - began - trial.seconds
    return {
        "name": name, "function": function, "instance": instance, "dimension": dimension, "budget": per_dimension,
        "area": area(trial.improved, dimension, trial.budget), "best": trial.best,
        "us": 1e6 * spent / max(trial.used, 1),
    }


def run(
    names: Sequence[str], dimensions: Sequence[int], per_dimension: int, instances: Sequence[int], jobs: int,
    known: Sequence[dict[str, Any]] = (), record: Path | None = None,
) -> str:
    """The table; `record` keeps every run as JSON, `known` are runs kept earlier that need not be done again."""
    wanted = [
        (name, function, instance, dimension, per_dimension)
        for dimension in sorted(dimensions, reverse=True)
        for name in names for instance in instances for function in range(1, 25)
    ]
    done = {
        (run["name"], run["function"], run["instance"], run["dimension"], run["budget"]): run
        for run in known if "function" in run
    }
    results = [done[job] for job in wanted if job in done]
    work = [job for job in wanted if job not in done]
    if jobs == 1:
        results += [_one(job) for job in work]
    elif work:
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            results += list(pool.imap_unordered(_one, work, chunksize=1))
    if record:
        record.write_text(json.dumps(results))
    return table(results, names, dimensions)


def table(results: Sequence[dict[str, Any]], names: Sequence[str], dimensions: Sequence[int]) -> str:
    """A row for each contestant; differences are those to the first."""
    areas: dict[str, dict[tuple[int, int, int], float]] = {name: {} for name in names}
    cost: dict[str, list[float]] = {name: [] for name in names}
    missing = {r["name"]: r["missing"] for r in results if "missing" in r}
    for r in results:
        if "missing" not in r:
            areas[r["name"]][r["function"], r["instance"], r["dimension"]] = r["area"]
            cost[r["name"]].append(r["us"])
    lines = []
    ours = areas[names[0]]
    for name in names:
        if name in missing:
            lines.append([name, f"not installed: {missing[name]}"] + [""] * (len(dimensions) + len(GROUPS) + 2))
            continue
        mine = areas[name]
        by_dimension = [_mean(v for (_, _, d), v in mine.items() if d == dimension) for dimension in dimensions]
        by_group = [_mean(v for (f, _, _), v in mine.items() if f in functions) for functions in GROUPS.values()]
        if name == names[0]:
            against = "-"
        else:
            keys = sorted(ours.keys() & mine.keys())
            mean, low, high = paired([ours[k] for k in keys], [mine[k] for k in keys])
            against = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        lines.append([name, _mean(mine.values()), *by_dimension, *by_group, f"{np.mean(cost[name]):.1f}", against])
    head = ["optimiser", "AUC", *(f"{d}-D" for d in dimensions), *GROUPS, "µs/eval", f"{names[0]} minus it [95 %]"]
    return layout(head, lines)


def _mean(values: Any) -> str:
    return f"{np.mean(list(values)):.3f}"
