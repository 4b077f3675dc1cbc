# SPDX-License-Identifier: BSD-3-Clause
"""The optimisers that compete: covey's by name, and each peer as its own documentation uses it.

Why: a peer is only beaten if it was used well. Each has its own defaults; population 40 where it has none. Who
stops by itself is started again with another seed, by `Trial.run`.

Guarantees: a peer that is not installed raises ImportError when it is made, which is a row that says so.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.optimize.trial import Trial

__all__ = ["PEERS", "PSO_PEERS", "Optimiser", "contestant"]

Optimiser = Callable[[Trial], None]


def covey(algorithm: str, free: bool = False, **options: Any) -> Optimiser:
    """`free`: the box is only where the search starts."""
    from covey.swarm import Optimizer

    def run(trial: Trial) -> None:
        box = np.stack([trial.problem.lower, trial.problem.upper], axis=1)
        names = {f"x{number:03}": tuple(interval) for number, interval in enumerate(box.tolist())}
        opt = Optimizer(
            names if free else box, algorithm=algorithm, seed=trial.seed, minimize=True, budget=trial.budget, **options
        )
        while True:
            ids, points = opt.ask()
            opt.tell(ids, trial.matrix(points))

    return run


def pycma(free: bool = False) -> Optimiser:
    import cma

    def run(trial: Trial) -> None:
        warnings.simplefilter("ignore")
        lower, upper = trial.problem.lower, trial.problem.upper
        rng = np.random.default_rng(trial.seed)
        cma.fmin2(
            trial.scalar, lambda: rng.uniform(lower, upper), 0.2 * float(np.mean(upper - lower)),
            {"bounds": None if free else [list(lower), list(upper)], "verbose": -9, "seed": trial.seed + 1,
             "maxfevals": trial.budget, "verb_log": 0},
            restarts=9, bipop=True,
        )

    return run


def pymoo() -> Optimiser:
    from pymoo.algorithms.soo.nonconvex.pso import PSO
    from pymoo.core.problem import Problem
    from pymoo.optimize import minimize

    def run(trial: Trial) -> None:
        class Wrapped(Problem):     # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__(n_var=trial.problem.dimension, n_obj=1, xl=trial.problem.lower, xu=trial.problem.upper)

            def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
                out["F"] = trial.matrix(x)

        minimize(Wrapped(), PSO(), ("n_eval", trial.budget), seed=trial.seed, verbose=False)

    return run


def _pygmo(make: Callable[[Any, int], Any]) -> Optimiser:
    import pygmo

    def run(trial: Trial) -> None:
        class Wrapped:
            def fitness(self, x: Any) -> list[float]:
                return [trial.scalar(x)]

            def get_bounds(self) -> tuple[Any, Any]:
                return trial.problem.lower, trial.problem.upper

        population = pygmo.population(pygmo.problem(Wrapped()), 40, seed=trial.seed)
        pygmo.algorithm(make(pygmo, trial.budget // 40 + 1)).evolve(population)

    return run


def pygmo_pso() -> Optimiser:
    return _pygmo(lambda pygmo, generations: pygmo.pso(gen=generations))


def pygmo_pso_gen() -> Optimiser:
    """The generational variant with a hundred particles, evaluated as one batch: the cheapest peer there is."""
    import pygmo

    def run(trial: Trial) -> None:
        dimension = trial.problem.dimension

        class Wrapped:
            def fitness(self, x: Any) -> list[float]:
                return [trial.scalar(x)]

            def batch_fitness(self, x: Any) -> Any:
                return trial.matrix(np.asarray(x).reshape(-1, dimension))

            def get_bounds(self) -> tuple[Any, Any]:
                return trial.problem.lower, trial.problem.upper

        swarm = pygmo.pso_gen(gen=trial.budget // 100 + 1)
        swarm.set_bfe(pygmo.bfe())
        population = pygmo.population(pygmo.problem(Wrapped()), 100, seed=trial.seed, b=pygmo.bfe())
        pygmo.algorithm(swarm).evolve(population)

    return run


def pygmo_sade() -> Optimiser:
    return _pygmo(lambda pygmo, generations: pygmo.sade(gen=generations))


def pyswarms() -> Optimiser:
    import logging

    from pyswarms.single import GlobalBestPSO

    logging.disable(logging.INFO)

    def run(trial: Trial) -> None:
        np.random.seed(trial.seed)      # its only way of being seeded
        swarm = GlobalBestPSO(
            40, trial.problem.dimension, {"c1": 0.5, "c2": 0.3, "w": 0.9},
            bounds=(np.array(trial.problem.lower), np.array(trial.problem.upper)),
        )
        swarm.optimize(trial.matrix, trial.budget // 40 + 1, verbose=False)

    return run


def scipy_de() -> Optimiser:
    from scipy.optimize import differential_evolution

    def run(trial: Trial) -> None:
        box = list(zip(trial.problem.lower, trial.problem.upper, strict=True))
        differential_evolution(
            lambda x: trial.matrix(x.T), box, rng=trial.seed, polish=False, maxiter=10**6, vectorized=True,
            updating="deferred",
        )

    return run


def at_random() -> Optimiser:
    def run(trial: Trial) -> None:
        rng = np.random.default_rng(trial.seed)
        while True:
            trial.matrix(rng.uniform(trial.problem.lower, trial.problem.upper, (100, trial.problem.dimension)))

    return run


PEERS: dict[str, Callable[[], Optimiser]] = {
    "pycma BIPOP": pycma,
    "pycma BIPOP free": lambda: pycma(free=True),
    "pymoo PSO": pymoo,
    "pygmo pso": pygmo_pso,
    "pygmo pso_gen": pygmo_pso_gen,
    "pyswarms gbest": pyswarms,
    "pygmo sade": pygmo_sade,
    "scipy DE": scipy_de,
    "random": at_random,
}
PSO_PEERS = ("pymoo PSO", "pygmo pso", "pygmo pso_gen", "pyswarms gbest")


def contestant(name: str) -> Optimiser:
    """An optimiser by name: a peer, or one of covey's as `covey ALGORITHM`, with `free` or a GROUP_SIZE behind it."""
    if name in PEERS:
        return PEERS[name]()
    _, algorithm, *more = name.split()
    size = [int(word) for word in more if word != "free"]
    return covey(algorithm, "free" in more, **({"group_size": size[0]} if size else {}))
