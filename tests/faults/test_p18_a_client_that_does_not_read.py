# SPDX-License-Identifier: BSD-3-Clause
"""P18, T17: a client that is stopped harms only itself: its results wait up to a bound, others are served."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from statistics import quantiles
from time import perf_counter

import pytest

import covey
from covey import settings
from waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

MIB = 1 << 20
BOUND = 16 * MIB
SIZE = 20_000
COUNT = 20_000
# Messages that libzmq keeps for a connection, each of up to a batch and one result more.
UNDER_WAY = 512 * (65_536 + SIZE)
# Tasks that two slots may have been given ahead, so short are these.
GIVEN = 2 * 1024 * SIZE

# On this machine no heartbeat of a network ends its link while it is stopped.
READER = f"""
import sys
sys.path[:] = {sys.path!r}
import covey
def big(number):
    return number, bytes({SIZE})
with covey.Client(sys.argv[1]) as client:
    futures = [client.submit(big, number) for number in range({COUNT})]
    futures[0].result()
    print("reading", flush=True)
    print(sum(future.result()[0] + len(future.result()[1]) for future in futures), flush=True)
"""


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tenth_slowest(client: covey.Client) -> float:
    """Of round trips, the one that a tenth of them is slower than."""
    times = []
    for number in range(200):
        began = perf_counter()
        assert client.submit(abs, -number).result(20) == number
        times.append(perf_counter() - began)
    return quantiles(times, n=10)[-1]


@pytest.mark.skipif(not settings.read().native, reason="the loop on pyzmq does not weigh what waits for a client")
def test_t17_a_stopped_clients_results_wait_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVEY_OUTBOX_BYTES", str(BOUND))
    with covey.Client(max_cpu=2) as client:
        assert list(client.map(abs, range(-100, 0))) == list(range(100, 0, -1))
        idle = tenth_slowest(client)
        before = resident()

        def is_held() -> bool:
            now = client.statistics()
            return now.waiting > 0 and now.assigned == 0

        reader = subprocess.Popen(
            [sys.executable, "-c", READER, client.address], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        with reader:
            try:
                assert reader.stdout is not None
                assert reader.stdout.readline() == "reading\n"
                reader.send_signal(signal.SIGSTOP)
                wait_until(is_held, lambda: str(client.statistics()))
                # All of it would be 400 MB.
                assert resident() - before < BOUND + UNDER_WAY + GIVEN + 16 * MIB
                assert client.statistics().waiting > COUNT // 2
                assert tenth_slowest(client) < max(5 * idle, 0.01)
                reader.send_signal(signal.SIGCONT)
                assert int(reader.stdout.readline()) == sum(range(COUNT)) + COUNT * SIZE
            finally:
                reader.kill()
