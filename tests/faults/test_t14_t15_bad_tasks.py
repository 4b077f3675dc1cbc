# SPDX-License-Identifier: BSD-3-Clause
"""T14, T15: a task that never lets go of the interpreter, and one that kills whatever runs it."""
import os
from collections.abc import Iterator
from time import monotonic

import pytest

import covey
from covey import settings
from figures import Figures
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture
def client() -> Iterator[covey.Client]:
    with covey.Client(max_cpu=2) as client:
        assert client.submit(abs, -1).result(30) == 1
        yield client


def slots_up(client: covey.Client) -> set[int]:
    """The slots that are ready for tasks."""
    assert client._node is not None
    return {int(str(entry["pid"])) for entry in client._node.slots()} & set(client._node.pids())


def hold_the_interpreter() -> None:
    pow(7, 10**9)


def segfault() -> None:
    import ctypes

    ctypes.string_at(0)


@pytest.mark.skipif(not settings.read().native, reason="the link on pyzmq needs the interpreter that is held")
def test_t14_a_task_that_holds_the_interpreter_is_over_within_five_seconds(
    client: covey.Client, figures: Figures
) -> None:
    slow_returns = []
    # At best of some rounds: a machine that runs tests has other things to do than to start an interpreter.
    for _ in range(3):
        wait_until(lambda: len(slots_up(client)) == 2)
        before = slots_up(client)
        began = monotonic()
        with pytest.raises(covey.TaskTimeout):
            client.options(timeout=2).submit(hold_the_interpreter).result(30)
        ended = monotonic()
        assert ended - began < 5.0
        wait_until(lambda before=before: len(slots_up(client)) == 2 and slots_up(client) != before)
        slow_returns.append(monotonic() - ended)
        if slow_returns[-1] < 1.0:
            figures.say("T14", f"TaskTimeout after {ended - began:.2f} s, slot back {slow_returns[-1]:.2f} s later")
            return
    pytest.fail(f"the slot was back after {slow_returns} s, and never within one")


def test_t15_a_poison_task_among_a_thousand(client: covey.Client, figures: Figures) -> None:
    futures = [client.submit(pow, number, 2) for number in range(500)]
    poison = client.submit(segfault)
    futures += [client.submit(pow, number, 2) for number in range(500, 1000)]
    with pytest.raises(covey.PoisonTask) as caught:
        poison.result(60)
    assert len(caught.value.attempts) == 3
    assert all("SIGSEGV" in attempt and str(os.getpid()) not in attempt for attempt in caught.value.attempts)
    assert [future.result(30) for future in futures] == [number**2 for number in range(1000)]
    figures.say("T15", "PoisonTask after 3 attempts, 1,000 of 1,000 good results")
