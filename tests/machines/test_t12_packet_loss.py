# SPDX-License-Identifier: BSD-3-Clause
"""T12: a cable that loses one, five and twenty packets of a hundred: no task is lost, none told twice, and up to five
no machine is given up."""
from time import monotonic

import pytest

from covey.terminal.inquiry import Inquiry, Target
from figures import Figures
from hosts import Lab
from lossywire import lossy_wire
from tally import Tally, square_after

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@pytest.mark.parametrize("loss", [0.01, 0.05, pytest.param(0.2, marks=pytest.mark.soak)])
def test_t12_lost_packets_are_no_lost_tasks(lab: Lab, loss: float, figures: Figures) -> None:
    broker, path = lab.broker(lab.alpha)
    with lossy_wire(lab.spaces, "beta", loss) as wire:
        lab.node_of(lab.beta, path)
        with lab.alpha.client(path) as client:
            assert client.submit(abs, -1).result(30) == 1
            began = monotonic()
            tally = Tally(client.submit, square_after(0.005), 300)
            large = [client.submit(len, bytes(100_000)) for _ in range(5)]
            tally.check(deadline=90, state=broker.picture)
            assert [future.result(90) for future in large] == [100_000] * 5
            took = monotonic() - began

        def status() -> dict[str, dict[str, int]]:
            with Inquiry(Target.of_file(path)) as inquiry:
                return inquiry.ask("status")

        losses = lab.alpha.inside(status)["tasks"]["losses"]
        assert wire.lost > 0
    figures.say(
        f"T12 {loss:.0%}", f"{wire.lost} of {wire.lost + wire.passed} packets lost: 0 tasks lost, 0 doubled, {losses} "
        f"times a node given up; {took:.1f} s for 300 tasks of 5 ms and 5 of 100 kB")
    if loss <= 0.05:
        assert losses == 0
