# SPDX-License-Identifier: BSD-3-Clause
"""T2: nodes are killed under a long run and others take their place; no slot of a dead one outlives it."""
import threading
from time import monotonic

import pytest

from covey.testing import Flock
from figures import Figures
from tally import Tally, square_after
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_t2_a_node_killed_and_replaced_three_times() -> None:
    with Flock(nodes=2, slots=2, seed=1) as flock:
        slots = set(flock.slots())
        tally = Tally(flock.client().submit, square_after(0.01), 800)
        for kill in range(3):
            tally.wait_done(200 * (kill + 1), state=flock.picture)
            flock.kill_node()
            flock.start_node()
            slots |= set(flock.slots())
        tally.check(state=flock.picture)
    wait_until(lambda: not any(map(lives, slots)), lambda: f"{[*filter(lives, slots)]} live on", deadline=2.0)


@pytest.mark.soak
def test_t2_a_node_killed_every_five_seconds(figures: Figures) -> None:
    kills = 0
    slots: set[int] = set()
    with Flock(nodes=2, slots=2, seed=2) as flock:
        tally = Tally(flock.client().submit, square_after(0.01), 10_000)
        pause = threading.Event()
        began = monotonic()
        while tally.done < 10_000:
            assert monotonic() - began < 300, flock.picture()
            pause.wait(5.0)
            slots |= set(flock.slots())
            flock.kill_node()
            flock.start_node()
            kills += 1
        tally.check()
    wait_until(lambda: not any(map(lives, slots)), lambda: f"{[*filter(lives, slots)]} live on", deadline=2.0)
    figures.say("T2", f"{kills} nodes killed, 0 lost, 0 doubled, no process left after 2 s")
