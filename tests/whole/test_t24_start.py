# SPDX-License-Identifier: BSD-3-Clause
"""T24: from starting the interpreter to the first result, and two hundred nodes that come back to a restarted broker.

Only in the long form: speed is measured, not tested, and what a promise is worth is found out on a quiet machine.
"""
import os
import statistics
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

import covey
from figures import Figures

pytestmark = pytest.mark.soak

PROGRAM = "import covey; print(covey.distribute(abs)([-1]), flush=True)"
# What a killed broker leaves in its folder is swept by a later one; here it goes with `home`.
RECONNECT = """
import os, tempfile
from benchmarks.bench_machines import reconnect_seconds
with tempfile.TemporaryDirectory() as home:
    os.environ["TMPDIR"] = tempfile.tempdir = home
    print(reconnect_seconds(home))
"""
ROOT = Path(__file__).parents[2]
COVEY = {**os.environ, "PYTHONPATH": str(Path(covey.__file__).parents[1])}


def first_result() -> float:
    began = monotonic()
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env=COVEY, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "[1]\n"
        return monotonic() - began


def test_t24_start_to_first_result(figures: Figures) -> None:
    times = [first_result() for _ in range(5)]
    figures.say("T24 start", f"{statistics.median(times):.2f} s to the first result")
    assert statistics.median(times) < 1


def test_t24_two_hundred_nodes_come_back(figures: Figures) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RECONNECT], cwd=ROOT, env=COVEY, capture_output=True, text=True, timeout=200, check=True)
    seconds = float(done.stdout)
    figures.say("T24 reconnect", f"200 nodes within {seconds:.1f} s")
    assert seconds < 5
