# SPDX-License-Identifier: BSD-3-Clause
"""T7 and P19: what a million queued tasks take of memory; T17 and P18: a client that stands still, and its results.

The pace of a long queue is measured by `benchmarks/bench_queue.py`.
"""
import os
import subprocess
import sys
from time import monotonic

import pytest

from covey.broker.board import Board
from covey.settings import Settings
from covey.terminal.inquiry import Inquiry, Target
from covey.testing import Flock
from figures import Figures
from hosts import resident_of
from tally import quantile
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

MIB = 1 << 20


def tasks(flock: Flock) -> dict[str, int]:
    with Inquiry(Target.of_file(flock.connection)) as inquiry:
        found: dict[str, int] = inquiry.ask("status")["tasks"]
        return found


def test_t7_a_million_queued_tasks_take_less_than_three_hundred_megabytes(figures: Figures) -> None:
    board = Board(Settings(credit_tasks=2_000_000, credit_bytes=1 << 60))
    asker = board.asker_joined(0.0)
    before = resident_of(os.getpid())
    assert board.feed(asker, 1_000_000, 0.0) == 1_000_000
    held = resident_of(os.getpid()) - before
    assert board.validate() == 0
    figures.say("T7", f"1,000,000 queued tasks: +{held / MIB:.0f} MiB in the scheduler")
    assert held < 300 * MIB


STOPPED = """
import sys
sys.path[:] = {path!r}
import covey
with covey.Client({connection!r}) as client:
    futures = [client.submit(lambda: __import__("time").sleep(0.0005) or bytes(10_000)) for _ in range({count})]
    client.flush()
    print("asked", flush=True)
    print(sum(len(future.result(300)) for future in futures), flush=True)
"""


@pytest.mark.parametrize("count", [5000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_t17_a_client_that_stands_still_with_its_results_waiting(count: int, figures: Figures) -> None:
    with Flock(nodes=1, slots=2) as flock:
        client = flock.client()

        def times() -> float:
            found = []
            for number in range(500):
                began = monotonic()
                assert client.submit(abs, -number).result(30) == number
                found.append(monotonic() - began)
            return quantile(found, 0.99)

        times()
        idle = times()
        base = resident_of(flock.broker.pid)
        program = STOPPED.format(path=sys.path, connection=flock.connection, count=count)
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as stopped:
            assert stopped.stdout is not None
            assert stopped.stdout.readline() == "asked\n"
            with flock.frozen(stopped.pid):
                before = tasks(flock)["finished"]
                # All that it had handed on is done; what it had not waits in the client itself.
                wait_until(lambda: _is_idle(flock), lambda: tasks(flock), deadline=50)
                waiting = tasks(flock)["finished"] - before
                held = resident_of(flock.broker.pid) - base
                slower = times() / idle
            assert stopped.stdout.readline() == f"{10_000 * count}\n", "results were lost"
        assert stopped.returncode == 0
    figures.say(
        "T17", f"{count:,} calls with results of 10 kB: {waiting:,} were done while their client stood still, broker "
        f"+{held / MIB:.0f} MiB; another client's p99 {slower:.1f} × idle")
    assert held < 400 * MIB


def _is_idle(flock: Flock) -> bool:
    found = tasks(flock)
    return not found["waiting"] and not found["running"]
