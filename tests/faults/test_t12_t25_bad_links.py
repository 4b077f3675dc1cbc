# SPDX-License-Identifier: BSD-3-Clause
"""T25 and P5: a large argument and a large result over a link of 16 Mbit/s, heartbeats on, while somebody else's small
tasks go on at the same node; T12: calls over a link that is late."""
import threading
from time import monotonic

import pytest

from covey.testing import Flock, Proxy
from figures import Figures
from tally import Tally, quantile, square_after
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

RATE = 2_000_000.0      # bytes: 16 Mbit/s


def over_a_slow_link(size: int) -> list[float]:
    """Sends a body there and back over it; returns what a small task took meanwhile, each after the other."""
    # Two slots, so that it is the link that they share and not a slot.
    with Flock(nodes=0, slots=2) as flock, Proxy(flock.address()) as proxy:
        flock.start_node(through=proxy.address)
        large, small = flock.client(), flock.client()
        assert large.submit(abs, -1).result(30) == 1
        proxy.rate = RATE
        accepted = proxy.accepted
        future = large.submit(lambda data: data[::-1], bytes(size - 1) + b"x")
        took = []
        while not future.done():
            began = monotonic()
            assert small.submit(abs, -7).result(200) == 7
            took.append(monotonic() - began)
        back = future.result(0)
        assert (len(back), back[:1], back[1:].strip(b"\0")) == (size, b"x", b"")
        assert proxy.accepted == accepted, "it was disconnected"
    return took


@pytest.mark.parametrize("size", [4_000_000, pytest.param(100_000_000, marks=pytest.mark.soak)])
def test_t25_a_large_body_arrives_and_small_tasks_are_served_meanwhile(size: int, figures: Figures) -> None:
    took = over_a_slow_link(size)
    slow = quantile(took, 0.99)
    what = f"{size / 1e6:.0f} MB there and back over 16 Mbit/s"
    figures.say("T25", f"{what}: 0 disconnects; p99 of {len(took)} small tasks meanwhile {slow:.2f} s")
    assert slow < 3.0


@pytest.mark.parametrize("delay", [0.05, 0.2])
def test_t12_a_late_link_loses_nothing(delay: float, figures: Figures) -> None:
    with Flock(nodes=1, slots=1) as flock, Proxy(flock.address(), delay=delay) as proxy:
        far = flock.start_node(through=proxy.address)
        client = flock.client()
        accepted = proxy.accepted
        began = monotonic()
        tally = Tally(client.submit, square_after(0.005), 500)
        tally.check(state=flock.picture)
        took = monotonic() - began
        assert far.running
        assert proxy.accepted == accepted, "it was disconnected"
    figures.say(f"T12 {delay * 1000:.0f} ms", f"0 lost, 0 doubled, no node lost; {took:.1f} s for 500 tasks of 5 ms")


def test_t12_a_link_that_breaks_in_the_middle_of_messages_loses_nothing(figures: Figures) -> None:
    with Flock(nodes=0) as flock, Proxy(flock.address()) as proxy:
        flock.start_node(1, through=proxy.address)
        client = flock.client()
        tally = Tally(client.submit, square_after(0.001), 300)
        large = [client.submit(len, bytes(300_000)) for _ in range(10)]
        for cut in range(5):
            tally.wait_done(50 * cut, state=flock.picture)
            # Only over this link is there any work done, so it comes back.
            wait_until(lambda cut=cut: proxy.accepted > cut, flock.picture)
            proxy.hang_up(after=4_000)
        tally.check(state=flock.picture)
        assert [future.result(60) for future in large] == [300_000] * 10
        assert proxy.accepted >= 5
    figures.say("T12 hang-ups", "5 connections broken in the middle of messages: 0 lost, 0 doubled")


def test_t12_a_cable_that_is_out_for_a_moment_is_nobodys_loss() -> None:
    with Flock(nodes=1, slots=1) as flock, Proxy(flock.address()) as proxy:
        flock.start_node(through=proxy.address)
        tally = Tally(flock.client().submit, square_after(0.01), 200)
        accepted = proxy.accepted
        tally.wait_done(50)
        proxy.cut()
        threading.Event().wait(1.0)     # as long as the fault lasts
        proxy.restore()
        tally.check(state=flock.picture)
        assert proxy.accepted == accepted
