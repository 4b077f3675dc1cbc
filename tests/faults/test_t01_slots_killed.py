# SPDX-License-Identifier: BSD-3-Clause
"""T1 and P1: slots are killed under a long run, again and again; nothing is lost, nothing is told twice."""
import threading
from time import monotonic

import pytest

from covey.testing import Flock
from figures import Figures
from tally import Tally, square_after

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def test_t1_a_thousand_tasks_under_twenty_kills() -> None:
    with Flock(nodes=2, slots=2, seed=1) as flock:
        tally = Tally(flock.client().submit, square_after(0.01), 1000)
        for kill in range(20):
            tally.wait_done(45 * (kill + 1), state=flock.picture)
            flock.kill_slot()
        tally.check(state=flock.picture)


@pytest.mark.soak
def test_t1_ten_thousand_tasks_under_a_kill_every_second(figures: Figures) -> None:
    with Flock(nodes=2, slots=2, seed=2) as flock:
        client = flock.client()
        Tally(client.submit, square_after(0.01), 200).check()
        began = monotonic()
        Tally(client.submit, square_after(0.01), 10_000).check(300, flock.picture)
        undisturbed = monotonic() - began
        over = threading.Event()
        kills: list[int] = []

        def fire() -> None:
            while not over.wait(1.0):
                kills.append(flock.kill_slot())

        gunner = threading.Thread(target=fire)
        gunner.start()
        began = monotonic()
        try:
            Tally(client.submit, square_after(0.01), 10_000).check(300, flock.picture)
        finally:
            took = monotonic() - began
            over.set()
            gunner.join()
    figures.say("T1", f"{len(kills)} kills, 0 lost, 0 doubled, {took / undisturbed:.2f} × the undisturbed time")
    assert len(kills) >= 20
    assert took <= 1.5 * undisturbed
