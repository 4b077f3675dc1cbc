# SPDX-License-Identifier: BSD-3-Clause
"""The clock that is turned by hand, and the link under it: what arrives, when, in which order, and what does not."""
from collections import Counter

import pytest

from covey.testing import Clock, Link


def arrived(link: Link[int]) -> list[int]:
    found = []
    while (message := link.far.receive()) is not None:
        found.append(message)
    return found


def test_what_is_due_happens_in_order_and_so_does_what_that_asks_for() -> None:
    clock = Clock()
    seen: list[tuple[float, str]] = []

    def first() -> None:
        seen.append((clock(), "first"))
        clock.at(0.0, lambda: seen.append((clock(), "too late to be early")))
        clock.at(2.0, lambda: seen.append((clock(), "third")))

    clock.at(2.0, lambda: seen.append((clock(), "second")))
    clock.at(1.0, first)
    clock.advance(1.5)
    assert seen == [(1.0, "first"), (1.0, "too late to be early")]
    assert clock.next_time == 2.0
    assert clock.step()
    assert [what for _, what in seen[2:]] == ["second", "third"]
    assert not clock.step()
    assert clock() == 2.0


def test_a_plain_link_keeps_the_order_whatever_the_jitter() -> None:
    link: Link[int] = Link(Clock(), seed=1, delay=0.1, jitter=0.5)
    for number in range(200):
        link.near.send(number)
        link.clock.advance(0.01)
    link.clock.advance(60.0)
    assert arrived(link) == list(range(200))


@pytest.mark.parametrize(("what", "most"), [("loss", 700), ("doubling", 1400), ("reordering", 1000)])
def test_each_fault_happens_as_often_as_it_should(what: str, most: int) -> None:
    link: Link[int] = Link(Clock(), seed=2, delay=0.1, jitter=0.1, **{what: 0.4})
    for number in range(1000):
        link.near.send(number)
        link.clock.advance(0.01)
    link.clock.advance(60.0)
    got = arrived(link)
    counts = Counter(got)
    assert abs(len(got) - {"loss": 600, "doubling": 1400, "reordering": 1000}[what]) < 60
    assert len(got) <= most + 60
    assert (sorted(set(got)) == list(range(1000))) == (what != "loss")
    assert (max(counts.values()) == 2) == (what == "doubling")
    if what == "reordering":
        assert got != sorted(got)


def test_a_cut_loses_what_is_under_way_too() -> None:
    link: Link[int] = Link(Clock(), delay=1.0)
    link.near.send(1)
    link.clock.advance(0.5)
    link.cut()
    link.near.send(2)
    link.clock.advance(5.0)
    link.restore()
    link.near.send(3)
    link.clock.advance(5.0)
    assert arrived(link) == [3]
    assert link.counts["lost"] == 2


def test_a_steady_link_is_only_ever_late() -> None:
    link: Link[int] = Link(
        Clock(), seed=3, delay=0.1, jitter=0.1, loss=0.3, doubling=0.3, reordering=0.3, steady=True)
    for number in range(300):
        link.near.send(number)
        if number % 70 == 60:
            link.cut()
        if number % 70 == 65:
            link.restore()
        link.clock.advance(0.02)
    link.clock.advance(600.0)
    assert arrived(link) == list(range(300))
    assert link.counts["lost"] > 30


def test_both_ways_at_once_by_calls() -> None:
    link: Link[str] = Link(Clock(), delay=0.2)
    said: list[str] = []
    link.far.on_message = lambda message: link.far.send(f"you said {message}")
    link.near.on_message = said.append
    link.near.send("hello")
    link.clock.advance(0.3)
    assert said == []
    link.clock.advance(0.1)
    assert said == ["you said hello"]


def test_a_seed_is_the_same_link_again() -> None:
    def run(seed: int) -> list[int]:
        link: Link[int] = Link(Clock(), seed=seed, jitter=1.0, loss=0.2, doubling=0.2, reordering=0.2)
        for number in range(50):
            link.near.send(number)
        link.clock.advance(100.0)
        return arrived(link)

    assert run(5) == run(5)
    assert run(5) != run(6)
