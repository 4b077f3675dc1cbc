# SPDX-License-Identifier: BSD-3-Clause
"""Fits a model of ordinary differential equations to data: hares and lynxes.

Why: this is what most people who fit models do, and the whole of it is one function that integrates all particles at
once, with numpy alone. covey spreads its calls over the cores; the swarm needs no derivatives.

Run it with `python examples/fit_ode.py`. The data are made with known rates, so that what is found can be checked.
"""

import sys
from typing import Any

import numpy as np

import covey

Vector = np.ndarray[Any, Any]

TRUE = {"birth": 0.55, "eaten": 0.028, "death": 0.84, "gain": 0.026}
START = (30.0, 4.0)
YEARS = 20
STEPS = 20  # of the integrator, in a year


def growth(hares: Vector, lynxes: Vector, birth: Vector, eaten: Vector, death: Vector, gain: Vector) -> Vector:
    return np.array([hares * (birth - eaten * lynxes), lynxes * (gain * hares - death)])


def populations(birth: Vector, eaten: Vector, death: Vector, gain: Vector) -> Vector:
    """Hares and lynxes in each year, by Runge and Kutta's method: an array of years × 2 × particles."""
    state = np.array([np.full(len(birth), START[0]), np.full(len(birth), START[1])])
    rates = (birth, eaten, death, gain)
    h = 1.0 / STEPS
    years = [state]
    for _ in range(YEARS):
        for _ in range(STEPS):
            a = growth(*state, *rates)
            b = growth(*(state + 0.5 * h * a), *rates)
            c = growth(*(state + 0.5 * h * b), *rates)
            d = growth(*(state + h * c), *rates)
            state = state + h / 6 * (a + 2 * b + 2 * c + d)
        years.append(state)
    return np.array(years)


def misfit(birth: Vector, eaten: Vector, death: Vector, gain: Vector, shared_data: dict[str, Any]) -> Vector:
    """The squared error of the logarithms, for every particle."""
    # Rates that make no sense blow up; they get inf or NaN, which covey counts as the worst there is.
    with np.errstate(all="ignore"):
        wrong = np.log(populations(birth, eaten, death, gain)) - shared_data["seen"][:, :, None]
        return (wrong**2).mean(axis=(0, 1))


def main() -> int:
    dice = np.random.default_rng(1)
    truth = populations(**{name: np.array([rate]) for name, rate in TRUE.items()})[:, :, 0]
    seen = np.log(truth) + 0.05 * dice.normal(size=truth.shape)

    fast, slow = covey.swarm.Real(0.1, 2.0, log=True), covey.swarm.Real(0.005, 0.2, log=True)
    box = {"birth": fast, "eaten": slow, "death": fast, "gain": slow}
    # The rates hang together, and the misfit is smooth: an algorithm that learns covariances needs the fewest trials.
    found = covey.minimize(
        misfit, box, shared_data={"seen": seen}, algorithm="cma", group_size=60, iterations=60, ftol=1e-9, seed=1
    )

    print(found)
    print()
    for name, true in TRUE.items():
        print(f"{name:6} is {true:.4f} and was found to be {found.best[name]:.4f}")
    off = max(abs(found.best[name] / true - 1) for name, true in TRUE.items())
    if off > 0.1:
        raise SystemExit(f"fit_ode: a rate is off by {off:.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
