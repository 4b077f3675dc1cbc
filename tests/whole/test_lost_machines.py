# SPDX-License-Identifier: BSD-3-Clause
"""A machine that is lost under a task: the task runs elsewhere, and knows that it is not the first time."""
import os
import signal
import tempfile
import threading

import pytest

import covey
from far_node import far_node

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
