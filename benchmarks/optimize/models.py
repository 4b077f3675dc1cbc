# SPDX-License-Identifier: BSD-3-Clause
"""Real problems with many valleys and no common slope, each written down in a few lines.

Why: BBOB rewards whoever learns a covariance; on these the ranking turns round, and a default must hold up on both.

Guarantees: functions of a matrix whose rows are points, deterministic, without data files. With each problem comes how
far above the optimum counts as solved.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.optimize.trial import Problem

__all__ = ["PROBLEMS"]

# The published global minima of Lennard-Jones clusters (Hoare & Pal 1971; Wales & Doye 1997).
CLUSTERS = {5: -9.103852, 6: -12.712062, 7: -16.505384, 8: -19.821489, 10: -28.422532}


def cluster(atoms: int) -> tuple[Problem, float]:
    """The energy of so many atoms that attract and repel each other; solved if it is in the deepest valley."""
    first, second = np.triu_indices(atoms, 1)

    def energy(points: Any) -> Any:
        at = np.asarray(points).reshape(-1, atoms, 3)
        squared = ((at[:, first] - at[:, second]) ** 2).sum(axis=2)
        # Atoms on top of each other: large, but a number.
        sixth = 1.0 / np.maximum(squared, 1e-3) ** 3
        return 4.0 * (sixth * sixth - sixth).sum(axis=1)

    box = np.full(3 * atoms, 1.5)
    return Problem(f"cluster of {atoms}", energy, -box, box, CLUSTERS[atoms]), 0.05


def frequency_modulation() -> tuple[Problem, float]:
    """Six parameters of a sound whose frequency is modulated twice, from its waveform."""
    theta = 2 * np.pi / 100
    t = np.arange(101)

    def sound(p: Any) -> Any:
        a1, w1, a2, w2, a3, w3 = (p[:, [k]] for k in range(6))
        return a1 * np.sin(w1 * t * theta + a2 * np.sin(w2 * t * theta + a3 * np.sin(w3 * t * theta)))

    wanted = sound(np.array([[1.0, 5.0, -1.5, 4.8, 2.0, 4.9]]))

    def misfit(points: Any) -> Any:
        return ((sound(np.asarray(points)) - wanted) ** 2).sum(axis=1)

    return Problem("frequency modulation", misfit, np.full(6, -6.4), np.full(6, 6.35), 0.0), 1e-3


def damped(count: int) -> tuple[Problem, float]:
    """Amplitude, decay, frequency and phase of so many damped oscillations, from their sum."""
    t = np.linspace(0, 4, 120)
    rng = np.random.default_rng(2024)
    lower, upper = np.tile([0.2, 0.1, 1.0, 0.0], count), np.tile([2.0, 2.0, 15.0, 2 * np.pi], count)
    true = rng.uniform(lower, upper)

    def signal(p: Any) -> Any:
        p = p.reshape(len(p), count, 4, 1)
        return (p[:, :, 0] * np.exp(-p[:, :, 1] * t) * np.sin(p[:, :, 2] * t + p[:, :, 3])).sum(axis=1)

    wanted = signal(true[None])
    energy = float((wanted**2).sum())

    def misfit(points: Any) -> Any:
        return ((signal(np.asarray(points)) - wanted) ** 2).sum(axis=1) / energy

    return Problem(f"{count} damped oscillations", misfit, lower, upper, 0.0), 1e-3


# The cheapest tour that anybody found here, in many runs of all solvers with twenty times the budget.
CHEAPEST_TOUR = 4.899107


def tour() -> tuple[Problem, float]:
    """When to leave and how long to fly, past five bodies on circular orbits, for the least sum of changes of speed.

    Between bodies the craft flies straight; what it has to change is the difference to the speed of the body it leaves
    and that of the body it meets. Periods that do not match make the valleys.
    """
    radius = np.array([1.0, 1.52, 0.72, 2.3, 1.0, 3.1])
    rate = radius**-1.5
    phase = np.array([0.0, 1.1, 2.3, 4.0, 0.0, 5.2])

    def body(number: int, time: Any) -> tuple[Any, Any]:
        angle = phase[number] + rate[number] * time
        place = radius[number] * np.stack([np.cos(angle), np.sin(angle)])
        speed = radius[number] * rate[number] * np.stack([-np.sin(angle), np.cos(angle)])
        return place, speed

    def cost(points: Any) -> Any:
        p = np.asarray(points)
        time = np.zeros(len(p))
        total = np.zeros(len(p))
        for leg in range(5):
            leaving = time + p[:, 2 * leg]
            arriving = leaving + p[:, 2 * leg + 1]
            here, away = body(leg, leaving)
            there, meeting = body(leg + 1, arriving)
            course = (there - here) / p[:, 2 * leg + 1]
            total += np.hypot(*(course - away)) + np.hypot(*(meeting - course))
            time = arriving
        return total

    return Problem("tour of five", cost, np.tile([0.0, 0.3], 5), np.tile([20.0, 8.0], 5), CHEAPEST_TOUR), 0.02


PROBLEMS: tuple[Callable[[], tuple[Problem, float]], ...] = (
    lambda: cluster(6),
    lambda: cluster(10),
    frequency_modulation,
    lambda: damped(5),
    tour,
)
