# SPDX-License-Identifier: BSD-3-Clause
"""Fits a spiking neuron to the recordings of several cells at once.

Why: this is what Playdoh was written for. A leaky integrate-and-fire model gets the current that was injected into each
cell; how well it predicts when the cell fired is the coincidence factor (Jolivet and others 2008): 1 if every spike is
predicted, 0 if as many as by chance. Each cell is a group of its own, and all share every call.

Run it with `python examples/fit_neuron.py`. The recordings are made by cells with known parameters.
"""

import sys
from typing import Any

import numpy as np

import covey

Vector = np.ndarray[Any, Any]

DT = 0.25  # of the simulation, in milliseconds
STEPS = 4000
PRECISION = 4.0  # a spike is predicted if the model fires within so many milliseconds of it
# Time constant (ms) and resistance (in units in which the threshold is 1) of three cells.
CELLS = {"tau": [8.0, 15.0, 25.0], "R": [1.9, 1.6, 2.2]}


def spikes(current: Vector, tau: Vector, R: Vector) -> Vector:  # noqa: N803  as in every textbook
    """Whether each neuron fires at each step: an array of steps × neurons. The potential falls to 0 after a spike."""
    potential = np.zeros(len(tau))
    fired = np.empty((len(current), len(tau)), dtype=bool)
    decay, drive = DT / tau, R * DT / tau
    for step, injected in enumerate(current):
        potential += drive * injected - decay * potential
        fired[step] = potential > 1.0
        potential[fired[step]] = 0.0
    return fired


def coincidence(args: dict[str, Vector], shared_data: dict[str, Any], local_data: dict[str, Any]) -> Vector:
    """The coincidence factor of each particle with its own cell's recording."""
    fired = spikes(shared_data["current"], args["tau"], args["R"])
    window = int(PRECISION / DT)
    so_far = np.vstack([np.zeros((1, fired.shape[1]), dtype=int), fired.cumsum(axis=0)])
    count = so_far[-1]
    seconds = len(fired) * DT
    factors = np.empty(fired.shape[1])
    for neuron, recording in enumerate(local_data["spikes"]):
        first = np.maximum(recording - window, 0)
        last = np.minimum(recording + window + 1, len(fired))
        hits = np.count_nonzero(so_far[last, neuron] > so_far[first, neuron])
        by_chance = 2 * (count[neuron] / seconds) * PRECISION
        total = 0.5 * (count[neuron] + len(recording))
        factors[neuron] = (hits - by_chance * len(recording)) / total / (1 - by_chance) if by_chance < 1 else 0.0
    return factors


def main() -> int:
    dice = np.random.default_rng(2)
    current = 0.7 + 0.35 * np.repeat(dice.normal(size=STEPS // 20), 20)
    recorded = spikes(current, np.array(CELLS["tau"]), np.array(CELLS["R"]))

    found = covey.maximize(
        coincidence,
        {"tau": [2.0, 5.0, 40.0, 100.0], "R": [0.1, 1.0, 3.0, 10.0]},
        shared_data={"current": current},
        local_data={"spikes": [np.flatnonzero(recorded[:, cell]) for cell in range(3)]},
        group_size=40,
        iterations=25,
        target=0.98,
        seed=1,
    )

    covey.print_results(found)
    print(f"\nAfter {found.evaluations} evaluations, in {found.seconds:.1f} s:")
    for cell, (tau, resistance) in enumerate(zip(CELLS["tau"], CELLS["R"], strict=True)):
        print(f"cell {cell} has tau = {tau:g} ms, R = {resistance:g}", end="; ")
        print(f"found {found['tau'][cell]:.3g} ms, {found['R'][cell]:.3g}, coincidence {found['fitness'][cell]:.2f}")
    if found["fitness"].min() < 0.8:
        raise SystemExit("fit_neuron: a cell was not found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
