# SPDX-License-Identifier: BSD-3-Clause
"""T18: one of two nodes is told to end in the middle of a run, as `scancel`, `covey drain` and SIGTERM do."""
import os
import subprocess
import sys
from time import monotonic

import pytest

from covey.terminal.inquiry import Inquiry, Target
from covey.testing import Flock
from figures import Figures
from tally import Tally, square_after
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

GRACE = 2.0


@pytest.mark.parametrize("way", ["SIGTERM", "covey drain"])
def test_t18_a_drained_node_loses_and_blames_nothing(way: str, figures: Figures) -> None:
    with Flock(nodes=2, slots=1, grace=GRACE) as flock:
        tally = Tally(flock.client().submit, square_after(0.02), 300)
        tally.wait_done(50)
        leaving = flock.nodes[0]
        began = monotonic()
        if way == "SIGTERM":
            assert flock.stop_node(leaving) == 0
        else:
            command = [sys.executable, "-m", "covey", "drain", "node1", "--connect", flock.connection]
            there = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
            said = subprocess.run(command, check=False, capture_output=True, timeout=30, env=there)
            assert said.returncode == 0, (said.stderr, flock.picture())
            wait_until(lambda: not leaving.running, flock.picture)
            assert leaving.stop() == 0
        took = monotonic() - began
        assert tally.done < 300, "it was over before the node had left, so nothing was seen"
        tally.check(state=flock.picture)
        with Inquiry(Target.of_file(flock.connection)) as inquiry:
            status = inquiry.ask("status")
    assert (status["tasks"]["crashes"], status["tasks"]["losses"]) == (0, 0), status
    figures.say(f"T18 {way}", f"0 crashes counted, 0 lost, node gone after {took:.2f} s")
