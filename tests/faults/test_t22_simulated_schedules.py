# SPDX-License-Identifier: BSD-3-Clause
"""T22: a hundred thousand random schedules of faults under a virtual clock; after each step every invariant is derived
anew, and each task ends exactly once.

A seed is a whole schedule: how many slots and clients, how long tasks take, what dies when, which links are cut and for
how long, what is lost, doubled and overtaken, who cancels and who leaves. A failure names the seed.
"""
import random
from collections.abc import Sequence
from time import monotonic

import pytest

import covey
from covey.settings import Settings
from covey.testing.simulator import CANCELLED, LOST, VALUE, Faults, Simulator
from figures import Figures

pytestmark = pytest.mark.faults

POISONED, TIMED_OUT = 4, 5


def schedule(seed: int) -> None:
    """One hour of misfortune. AssertionError if it ends otherwise than it must."""
    rng = random.Random(seed)

    def maybe(every: float) -> float:
        return rng.choice((0.0, rng.uniform(0.3, 1.0) * every))

    faults = Faults(
        crash_every=maybe(0.5), silence_every=maybe(1.0), silence_for=rng.choice((0.05, 0.5, 3.0)),
        drain_every=maybe(1.0), respawn=0.02, loss=rng.choice((0.0, 0.05, 0.3)), doubling=rng.choice((0.0, 0.3)),
        reordering=rng.choice((0.0, 0.3)))
    patient = rng.random() < 0.7
    settings = Settings(
        lease=1.0, beat_every=0.25, crash_limit=100 if patient else 2, loss_limit=100 if patient else 2)
    simulator = Simulator(
        seed=seed, delay=0.001, jitter=rng.choice((0.0, 0.002)), settings=settings, faults=faults, checking=True)
    for _ in range(rng.randint(1, 2)):
        simulator.add_slots(rng.randint(1, 3), capacity=rng.choice((1, 1, 3)))
    timeout = rng.choice((0, 0, 200))
    asked = {}
    for _ in range(rng.randint(1, 2)):
        asker = simulator.add_asker(rng.choice((1.0, 3.0)))
        asked[asker] = rng.randint(1, 25)
        simulator.submit(
            asker, [rng.expovariate(1 / 0.05) for _ in range(asked[asker])], at=rng.random() * 0.1,
            function=rng.choice((0, None)), priority=rng.randint(-1, 1), timeout_ms=timeout)
    cancelled = set()
    for asker, count in asked.items():
        if rng.random() < 0.3:
            ticket = rng.randrange(count)
            cancelled.add((asker, ticket))
            simulator.cancel(asker, ticket, at=rng.random(), force=rng.random() < 0.5)
    gone = {asker for asker in asked if rng.random() < 0.1}
    for asker in gone:
        simulator.lose_asker(asker, at=rng.random() * 0.3)
    report = simulator.run()
    wanted = {(asker, ticket) for asker, count in asked.items() if asker not in gone for ticket in range(count)}
    assert wanted <= set(report.delivered), f"seed {seed}: lost {wanted - set(report.delivered)}"
    assert set(report.delivered.values()) <= {1}, f"seed {seed}: delivered twice {report.delivered}"
    for task, status in report.statuses.items():
        # No patience is endless: what takes four times as long as its slots live is begun fifty times before it ends.
        # So each task that was given up is asked whether it really met that many misfortunes.
        right = {VALUE}
        right |= {POISONED} if report.crashed.get(task, 0) >= settings.crash_limit else set()
        # Slots that ran nothing and died before it came count with those that were lost.
        right |= {LOST, POISONED} if report.lost.get(task, 0) >= settings.loss_limit else set()
        right |= {CANCELLED} if task in cancelled else set()
        right |= {TIMED_OUT} if timeout else set()
        assert status in right, f"seed {seed}: {task} ended with {status}"


def schedules(seeds: Sequence[int]) -> int:
    for seed in seeds:
        schedule(seed)
    return len(seeds)


# Each broke what is asserted here once, for the reason that stands beside it.
@pytest.mark.parametrize("seed", [
    46001,      # of 0.6 s on slots that live 0.17 s: blamed for 91 that died under it, and 9 that it never reached
])
def test_t22_schedules_that_broke_something_once(seed: int) -> None:
    schedule(seed)


@pytest.mark.slow
def test_t22_two_thousand_schedules_break_no_invariant() -> None:
    assert schedules(range(2000)) == 2000


@pytest.mark.soak
def test_t22_a_hundred_thousand_schedules_in_three_minutes(figures: Figures) -> None:
    began = monotonic()
    with covey.Client() as client:
        done = sum(client.map(schedules, [range(at, at + 500) for at in range(0, 100_000, 500)], chunksize=1))
    took = monotonic() - began
    figures.say("T22", f"{done:,} schedules in {took:.0f} s, no invariant broken")
    assert took < 180
