# SPDX-License-Identifier: BSD-3-Clause
"""A machine that is lost under a task: the task runs elsewhere, and knows that it is not the first time."""
import os
import signal
import tempfile
import threading

import pytest

import covey
from far_node import far_node
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def take_the_machine_down_once(path):
    here = covey.current()
    if not os.path.exists(path):
        open(path, "w").close()
        # A slot's parent is its node: with that, all is gone that the client knows of the machine.
        os.kill(os.getppid(), signal.SIGKILL)
        threading.Event().wait(60)      # work
    return here.node, here.attempt


def test_the_attempt_counts_machines_that_were_lost(tmp_path):
    # What a node that was killed could not put away lies where it looks like no leak.
    place = tempfile.mkdtemp(prefix="lost-")
    with far_node(tmp_path, "left", TMPDIR=place) as left, far_node(tmp_path, "right", TMPDIR=place) as right:
        machines = [left.machine, right.machine]
        with covey.Client(machines=machines, max_cpu=0) as client:
            future = client.submit(take_the_machine_down_once, str(tmp_path / "once"))
            node, attempt = future.result(60)
            lost, = (far.process for far in (left, right) if far.process.poll() is not None)
            assert lost.returncode == -signal.SIGKILL
            assert (attempt, future.attempt) == (2, 2)
            assert node in ("left", "right")
            assert client.submit(lambda: covey.current().attempt).result(60) == 1


def test_what_a_lost_machine_may_have_begun_is_not_begun_again(tmp_path):
    place = tempfile.mkdtemp(prefix="lost-")
    with far_node(tmp_path, "left", TMPDIR=place) as left, far_node(tmp_path, "right", TMPDIR=place) as right:
        machines = [left.machine, right.machine]
        with covey.Client(machines=machines, max_cpu=0) as client:
            future = client.options(on_lost="fail").submit(take_the_machine_down_once, str(tmp_path / "once"))
            with pytest.raises(covey.MaybeRan) as caught:
                future.result(60)
            nodes = (left, right)
            wait_until(lambda: any(far.process.poll() is not None for far in nodes))
            lost, = (far for far in nodes if far.process.poll() is not None)
            assert caught.value.attempts == (f"node {os.path.basename(lost.machine)} was lost",)
            assert client.statistics().losses == 1
            assert client.options(on_lost="fail").submit(pow, 2, 3).result(60) == 8


def test_a_slot_that_died_on_a_machine_is_told_the_same_way(tmp_path):
    def die(path):
        with open(path, "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    with far_node(tmp_path, "left") as left, covey.Client(machines=[left.machine], max_cpu=0) as client:
        with pytest.raises(covey.MaybeRan, match="was killed by SIGKILL"):
            client.options(on_lost="fail").submit(die, str(tmp_path / "once")).result(60)
        assert (tmp_path / "once").read_text() == "x"
        with pytest.raises(covey.PoisonTask) as caught:
            client.submit(die, str(tmp_path / "often")).result(60)
        assert len(caught.value.attempts) == len((tmp_path / "often").read_text()) == 3


def test_who_rests_holds_no_place_on_a_machine(tmp_path):
    def fail(path, times):
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) <= times:
            raise OSError("not yet")
        return os.path.getsize(path)

    with far_node(tmp_path, "left") as left, covey.Client(machines=[left.machine], max_cpu=0) as client:
        patient = client.options(retries=3, retry_on=OSError, retry_wait=0.05)
        assert patient.submit(fail, str(tmp_path / "a"), 2).result(60) == 3
        with pytest.raises(OSError, match="not yet"):
            client.options(retries=3, retry_on=ValueError, retry_wait=0.05).submit(
                fail, str(tmp_path / "b"), 9).result(60)
        assert (tmp_path / "b").read_text() == "x"
        sleepy = client.options(retries=1, retry_wait=3600)
        resting = [sleepy.submit(fail, str(tmp_path / f"c{n}"), 9) for n in range(9)]
        wait_until(lambda: all((tmp_path / f"c{n}").exists() for n in range(9)))
        assert [client.submit(pow, 2, n).result(60) for n in range(9)] == [2**n for n in range(9)]
        assert client.statistics().retried >= 10
        assert all(future.cancel() for future in resting if not future.done())
