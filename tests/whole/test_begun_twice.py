# SPDX-License-Identifier: BSD-3-Clause
"""`options(speculate=True)` over real slots: one attempt hangs at a gate, the other ends it."""

import os
from typing import NamedTuple

import pytest

import covey
from gates import Gate, hold
from waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["1", "0"], ids=["native", "on pyzmq"])
def client(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVEY_NATIVE", request.param)
        with covey.Client(max_cpu=2) as client:
            wait_until(lambda: client.statistics().slots_up == 2, client.statistics)
            yield client


class Counted(NamedTuple):
    begun: int
    won: int


@pytest.fixture
def counted(client):
    """How many were begun a second time in this test, and how many of them were sooner. At least: on a machine that is
    busy with other things a quick call may be slow, too."""
    before = client.statistics()

    def difference():
        now = client.statistics()
        return Counted(now.speculations - before.speculations, now.speculations_won - before.speculations_won)

    return difference


def slow_once(number, folder, slow=5):
    """The first attempt at the slow one never ends while the gate is shut."""
    if number == slow and is_first(folder):
        hold(folder)
    return number, os.getpid()


def is_first(folder):
    try:
        os.close(os.open(os.path.join(folder, "begun"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def raising_twice(number, folder):
    if number == 5:
        if is_first(folder):
            hold(folder)
        raise LookupError("no five")
    return number


def at_two_gates(number, first, second):
    if number < 5:
        return "quick"
    if is_first(first):
        return hold(first, "first")
    return hold(second, "second")


@pytest.fixture
def all_free(client, tmp_path_factory):
    """To be called at the end of a test: both slots take calls, the one that was replaced, too."""
    last = Gate(str(tmp_path_factory.mktemp("last")))

    def check():
        futures = [client.submit(hold, last.folder, number) for number in range(2)]
        assert len(set(last.wait_arrivals(2))) == 2
        last.open()
        assert [future.result(20) for future in futures] == [0, 1]

    yield check
    last.close()


@pytest.fixture
def second_gate(tmp_path_factory):
    gate = Gate(str(tmp_path_factory.mktemp("second")))
    yield gate
    gate.close()


def test_p17_a_call_that_hangs_is_done_by_another_slot(client, gate, counted, all_free):
    eager = client.options(speculate=True)
    futures = [eager.submit(slow_once, number, gate.folder) for number in range(6)]
    [stuck] = gate.wait_arrivals(1)
    number, pid = futures[5].result(20)
    assert (number, [future.result(0)[0] for future in futures]) == (5, list(range(6)))
    assert pid != stuck
    assert futures[5].run_seconds is not None
    assert counted().won >= 1
    all_free()


@pytest.mark.parametrize(("chunksize", "unordered"), [(None, False), (2, False), (None, True)])
def test_a_map_is_in_order_and_not_held_up(client, gate, counted, all_free, chunksize, unordered):
    eager = client.options(speculate=True)
    go = eager.imap_unordered if unordered else eager.map
    found = [number for number, _ in go(slow_once, range(10), [gate.folder] * 10, chunksize=chunksize, timeout=20)]
    assert (sorted(found) if unordered else found) == list(range(10))
    assert counted().won >= 1
    gate.wait_arrivals(1)
    all_free()


def test_a_distributed_function_is_not_held_up(client, gate, counted, all_free):
    def slow_five(number, folder=gate.folder):
        return slow_once(number, folder)[0]

    with covey.distribute(slow_five, executor=client, speculate=True) as eager:
        assert eager(range(10)) == list(range(10))
        assert counted().won >= 1
    gate.wait_arrivals(1)
    all_free()


def test_the_first_attempt_may_still_win(client, gate, second_gate, counted, all_free):
    eager = client.options(speculate=True)
    futures = [eager.submit(at_two_gates, number, gate.folder, second_gate.folder) for number in range(6)]
    gate.wait_arrivals(1)
    second_gate.wait_arrivals(1)
    gate.open()
    assert futures[5].result(20) == "first"
    assert counted().begun >= 1
    all_free()


def test_what_the_second_attempt_raises_is_the_outcome(client, gate, all_free):
    eager = client.options(speculate=True)
    futures = [eager.submit(raising_twice, number, gate.folder) for number in range(6)]
    with pytest.raises(LookupError, match="no five"):
        futures[5].result(20)
    gate.wait_arrivals(1)
    all_free()


def test_who_cancels_cancels_both(client, gate, second_gate, counted, all_free):
    eager = client.options(speculate=True)
    futures = [eager.submit(at_two_gates, number, gate.folder, second_gate.folder) for number in range(6)]
    gate.wait_arrivals(1)
    second_gate.wait_arrivals(1)
    assert not futures[5].cancel()
    assert futures[5].cancel(force=True)
    assert counted().begun >= 1
    all_free()


def test_a_client_that_closes_is_not_held_up_either(gate):
    with covey.Client(max_cpu=2) as client:
        eager = client.options(speculate=True)
        futures = [eager.submit(slow_once, number, gate.folder) for number in range(6)]
    assert [future.result(0)[0] for future in futures] == list(range(6))
    for ask in (eager.submit, eager.map):
        with pytest.raises(covey.ClientClosed):
            ask(abs, [-1])
