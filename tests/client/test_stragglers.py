# SPDX-License-Identifier: BSD-3-Clause
"""Which calls are begun a second time: a table of times and counts in, names out."""

import math

import pytest

from covey.client.stragglers import LOOK_AGAIN, Running, Siblings, Verdict, choose


def siblings(*seconds):
    made = Siblings()
    for one in seconds:
        made.on_done(one)
    return made


def chosen(running, finished, *, unfinished=None, now):
    """For calls of one function: names → when they began, over four slots unless they say otherwise."""
    calls = {
        name: since if isinstance(since, Running) else Running("f", since, slots=4) for name, since in running.items()
    }
    count = len(calls) if unfinished is None else unfinished
    return choose(calls, {"f": siblings(*finished)}, count, now)


def test_what_runs_twice_as_long_as_three_quarters_of_its_siblings_is_begun_again():
    assert chosen({"a": 0.0}, [1.0, 1.0, 1.5, 9.0], now=2.9) == Verdict((), 3.0)
    assert chosen({"a": 0.0}, [1.0, 1.0, 1.5, 9.0], now=3.0) == Verdict(("a",), math.inf)


@pytest.mark.parametrize("finished", [[], [1.0], [1.0, 1.0]])
def test_nothing_is_begun_again_without_three_that_have_finished(finished):
    assert chosen({"a": 0.0}, finished, now=1000.0) == Verdict((), math.inf)


def test_nor_without_a_quarter():
    many = {number: Running("f", 0.0, slots=64) for number in range(13)}
    assert chosen(many, [1.0] * 4, now=1000.0) == Verdict((), math.inf)
    del many[12]
    assert len(chosen(many, [1.0] * 4, now=1000.0).again) == 12


def test_nobody_counts_as_slow_within_a_tenth_of_a_second():
    assert chosen({"a": 0.0}, [0.001] * 5, now=0.09) == Verdict((), 0.1)
    assert chosen({"a": 0.0}, [0.001] * 5, now=0.1).again == ("a",)


def test_nothing_is_begun_again_while_something_waits():
    assert chosen({"a": 0.0}, [1.0] * 3, unfinished=5, now=9.0) == Verdict((), 9.0 + LOOK_AGAIN)
    assert chosen({"a": 0.0}, [1.0] * 3, unfinished=4, now=9.0).again == (), "each slot has its call"
    assert chosen({"a": 0.0}, [1.0] * 3, unfinished=3, now=9.0).again == ("a",)


def test_there_are_no_more_attempts_than_idle_slots_and_the_most_overdue_goes_first():
    assert chosen({"a": 2.0, "b": 1.0, "c": 0.0}, [1.0] * 3, now=9.0) == Verdict(("c",), 9.0 + LOOK_AGAIN)
    assert chosen({"a": 2.0, "b": 1.0}, [1.0] * 3, now=9.0) == Verdict(("b", "a"), math.inf)


def test_a_bundle_may_take_what_its_calls_take():
    bundle = Running("f", 0.0, slots=4, size=10)
    assert chosen({"a": bundle}, [1.0] * 3, now=19.0) == Verdict((), 20.0)
    assert chosen({"a": bundle}, [1.0] * 3, now=20.0).again == ("a",)


def test_only_calls_of_one_function_are_siblings():
    calls = {"a": Running("f", 0.0, slots=4), "b": Running("g", 0.0, slots=4)}
    assert choose(calls, {"f": siblings(1.0, 1.0, 1.0)}, 2, 9.0).again == ("a",)


def test_the_latest_times_count():
    slower = siblings(*[0.5] * 300, *[10.0] * 300)
    assert (slower.count, slower.usual(running=1)) == (600, 10.0)
    assert siblings(*[1.0] * 300).usual(running=900) == 1.0, "what is no longer kept has still finished"
