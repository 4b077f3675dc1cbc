# SPDX-License-Identifier: BSD-3-Clause
"""T11, P6 and P7: one of two machines is cut off without a word, and the cable is mended: nothing is lost, nothing told
twice, what ran there is elsewhere within sixteen seconds, and the machine works again within five."""
import threading
from time import monotonic

import pytest

from chores import places
from figures import Figures
from hosts import Lab
from tally import Tally, square_after
from waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@pytest.mark.parametrize("seconds", [5.0, 20.0, pytest.param(60.0, marks=pytest.mark.soak)])
def test_t11_a_silent_partition(lab: Lab, seconds: float, figures: Figures) -> None:
    broker, path = lab.broker(lab.alpha)
    lab.node_of(lab.beta, path)
    lab.node_of(lab.gamma, path)
    with lab.alpha.client(path) as client:
        wait_until(lambda: places(client) == {"beta", "gamma"}, client.__repr__)
        tally = Tally(client.submit, square_after(0.1), 60)
        tally.wait_done(10)
        lab.spaces.cut("beta")
        began = monotonic()
        try:
            if seconds > 16:
                # All of it, what ran at beta included, on the machine that is left.
                tally.check(deadline=16.0 + 60 * 0.1, state=broker.picture)
                taken = monotonic() - began
            threading.Event().wait(max(0.0, seconds - (monotonic() - began)))   # as long as the fault lasts
        finally:
            lab.spaces.mend("beta")
        mended = monotonic()
        if seconds <= 16:
            tally.check(deadline=30.0, state=broker.picture)
            taken = monotonic() - began
        wait_until(lambda: places(client) == {"beta", "gamma"}, broker.picture, deadline=60.0)
        back = monotonic() - mended
    figures.say(
        f"T11 {seconds:.0f} s",
        f"0 lost, 0 doubled; all done {taken:.1f} s after the cut; node back {back:.1f} s after its end")
    assert back < 5.0
