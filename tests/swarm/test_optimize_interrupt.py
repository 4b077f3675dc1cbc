# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C during `optimize()` gives the best so far, stops everything and leaves nothing."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

import covey
from leaks import Holdings, check_nothing_left
from waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

SCRIPT = """
import time, covey

def fun(x):
    time.sleep(0.01)  # work
    with open("seen", "a") as file:
        file.write("x")
    return x * x

found = covey.minimize(
    fun, {{"x": [-5, 5]}}, vectorized=False, group_size=10, iterations=1_000_000, seed=1, max_cpu=2, inline={inline},
    mode={mode!r}, {more}
)
print(found.stopped_because, found["fitness"][0] < 25, found.evaluations >= 10)
"""


@pytest.mark.parametrize(
    ("mode", "inline"),
    [("rounds", False), ("rounds", True), ("stream", False), ("stream", True), ("islands", False)],
)
def test_the_best_so_far_is_given(tmp_path, mode, inline):
    before = Holdings.now()
    more = "leg=1, islands=2" if mode == "islands" else ""
    (tmp_path / "program.py").write_text(textwrap.dedent(SCRIPT.format(mode=mode, inline=inline, more=more)))
    place = os.path.dirname(os.path.dirname(covey.__file__))
    program = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": place}, stdout=subprocess.PIPE,
        text=True, process_group=0,
    )
    with program:
        try:
            seen = tmp_path / "seen"
            wait_until(lambda: seen.exists() and seen.stat().st_size > 40, lambda: f"exit code {program.poll()}")
            os.killpg(program.pid, signal.SIGINT)
            said, _ = program.communicate(timeout=30)
        finally:
            program.kill()
    assert said == "interrupted True True\n"
    assert program.returncode == 0
    check_nothing_left(before)
