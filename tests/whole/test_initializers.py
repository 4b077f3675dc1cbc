# SPDX-License-Identifier: BSD-3-Clause
"""A client's initializer in slots that are not its own: once in each, first of all, on nodes of other programs."""

import builtins
import os
import signal
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import covey
from far_node import far_node
from gates import hold

pytestmark = pytest.mark.slow


def prepare(log, value):
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {value}\n")
    builtins.covey_prepared = [*getattr(builtins, "covey_prepared", []), value]


def fail(log):
    prepare(log, "failing")
    raise LookupError("no licence")


def leave(log):
    prepare(log, "leaving")
    raise SystemExit(3)


def prepared(folder=None):
    if folder is not None:
        hold(folder)
    return os.getpid(), builtins.covey_prepared


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def runs(log: Path):
    """How often it ran, by process."""
    return Counter(int(line.split()[0]) for line in log.read_text().splitlines())


def test_it_runs_once_in_each_slot_here_and_there(tmp_path, log, gate):
    with (
        far_node(tmp_path, cpus=2) as far,
        covey.Client(machines=[far.machine], max_cpu=1, initializer=prepare, initargs=(str(log), 7)) as client,
    ):
        held = [client.submit(prepared, gate.folder) for _ in range(3)]
        pids = set(gate.wait_arrivals(3))
        gate.open()
        found = dict(future.result(20) for future in held)
        # Other functions bring it along as well.
        assert {tuple(value) for value in client.map(lambda _: builtins.covey_prepared, range(60))} == {(7,)}
        assert client.submit("abc".upper).result(20) == "ABC"
    assert set(found) == pids
    assert list(found.values()) == [[7]] * 3
    assert runs(log) == dict.fromkeys(pids, 1)


def test_each_client_prepares_the_slots_for_itself(tmp_path, log):
    with far_node(tmp_path) as far:
        for count in (1, 2):
            with covey.Client(
                machines=[far.machine], max_cpu=0, initializer=prepare, initargs=(str(log), 7)
            ) as client:
                pid, values = client.submit(prepared).result(20)
                assert values == [7] * count
        with covey.Client(machines=[far.machine], max_cpu=0) as client:
            assert client.submit(prepared).result(20) == (pid, [7, 7])
    assert runs(log) == {pid: 2}


def test_one_that_raises_fails_the_calls_and_is_named(tmp_path, log):
    with far_node(tmp_path) as far:
        with covey.Client(machines=[far.machine], max_cpu=0, initializer=fail, initargs=(str(log),)) as client:
            for call in (abs, len):
                with pytest.raises(covey.InitializerFailed) as caught:
                    client.submit(call, ()).result(20)
            said = str(caught.value)
            assert said.startswith("the initializer fail raised LookupError in slot 1 (pid ")
            assert f"on {os.uname().nodename}), so no call of its client can run there: no licence" in said
            cause = caught.value.__cause__
            assert isinstance(cause, LookupError)
            assert cause.__traceback__.tb_frame.f_code.co_name == "fail", "where it was raised, there"
        assert sum(runs(log).values()) == 1, "it is not tried again"
        with covey.Client(machines=[far.machine], max_cpu=0) as other:
            assert other.submit(abs, -1).result(20) == 1


def test_one_that_would_leave_does_not_end_the_slot(tmp_path, log):
    with (
        far_node(tmp_path) as far,
        covey.Client(machines=[far.machine], max_cpu=0, initializer=leave, initargs=(str(log),)) as client,
    ):
        with pytest.raises(covey.InitializerFailed, match="the initializer leave raised SystemExit"):
            client.submit(abs, -1).result(20)
        assert sum(runs(log).values()) == 1


@pytest.mark.faults
def test_a_slot_that_is_replaced_is_prepared_again(tmp_path, log):
    with (
        far_node(tmp_path) as far,
        covey.Client(machines=[far.machine], max_cpu=0, initializer=prepare, initargs=(str(log), 7)) as client,
    ):
        first, _ = client.submit(prepared).result(20)
        os.kill(first, signal.SIGKILL)
        second, values = client.submit(prepared).result(20)
    assert first != second
    assert values == [7]
    assert runs(log) == {first: 1, second: 1}


def test_large_arguments_of_it_and_of_the_function(tmp_path):
    array, other = np.arange(50_000.0), np.ones(30_000)

    def keep(given):
        builtins.covey_prepared = given

    def look(x):
        return x + float(builtins.covey_prepared.sum()), float(other.sum())

    with (
        far_node(tmp_path) as far,
        covey.Client(machines=[far.machine], max_cpu=0, initializer=keep, initargs=(array,)) as client,
    ):
        assert client.submit(look, 1).result(20) == (1 + float(array.sum()), 30_000.0)
        # It travels with each function, and what was sent once is still whole.
        assert client.submit(lambda: float(builtins.covey_prepared.sum())).result(20) == float(array.sum())


def test_in_another_clients_flock(log):
    with (
        covey.Client(max_cpu=1) as first,
        covey.Client(first.address, initializer=prepare, initargs=(str(log), 5)) as second,
    ):
        assert first.submit(abs, -1).result(20) == 1
        pid, values = second.submit(prepared).result(20)
    assert values == [5]
    assert runs(log) == {pid: 1}


def test_what_cannot_travel_is_refused_at_once(tmp_path):
    threads = threading.active_count()
    with pytest.raises((TypeError, covey.NotPicklable)):
        covey.Client(machines=[f"ipc://{tmp_path}/nobody"], initializer=prepare, initargs=(threading.Lock(), 1))
    assert threading.active_count() == threads
