# SPDX-License-Identifier: BSD-3-Clause
"""A shared broker with less memory than its clients would fill: what is large goes to files, then they wait."""
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from covey.terminal.inquiry import Inquiry, Target
from covey.testing import Flock
from tally import quantile
from waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

MIB = 1 << 20
# What is under way when it is reached still comes: with it, less than twice as much. All would be five times as much.
LIMIT = 128 * MIB
SIZE = 20 * MIB
COUNT = 8
CLIENTS = 4

ASKS = """
import os, sys, time
sys.path[:] = {path!r}
import covey, numpy
def look(array):
    while not os.path.exists({gate!r}):
        time.sleep(0.01)    # work
    return len(array), int(array[0]), int(array[-1])
with covey.Client({connection!r}) as client:
    futures = [client.submit(look, numpy.full({size}, number % 251, "u1")) for number in range({count})]
    assert [future.result(300) for future in futures] == [({size}, n % 251, n % 251) for n in range({count})]
print("right", flush=True)
"""

TAKES = """
import sys
sys.path[:] = {path!r}
import covey
def make(number, size):
    import numpy, os, time
    while size > 1 and not os.path.exists({gate!r}):
        time.sleep(0.01)    # work
    return numpy.full(size, number % 251, "u1")
with covey.Client({connection!r}) as client:
    assert client.submit(make, 1, 1).result(60)[0] == 1
    futures = [client.submit(make, number, {size}) for number in range({count})]
    client.flush()
    print("asked", flush=True)
    for number, future in enumerate(futures):
        array = future.result(300)
        assert len(array) == {size} and array[0] == array[-1] == number % 251
print("right", flush=True)
"""


@contextmanager
def programs_of(text: str, flock: Flock, number: int, size: int = SIZE) -> Iterator[list["subprocess.Popen[str]"]]:
    """Some that run the text; they end with the block."""
    gate = str(flock.folder / "gate")
    text = text.format(path=sys.path, gate=gate, connection=flock.connection, size=size, count=COUNT)
    with ExitStack() as stack:
        found = []
        for _ in range(number):
            one = stack.enter_context(subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True))
            stack.callback(one.kill)
            found.append(one)
        yield found


def own_memory(pid: int) -> int:
    """What a process has that the kernel cannot take back: without the pages of files."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def messages(flock: Flock) -> dict[str, Any]:
    with Inquiry(Target.of_file(flock.connection)) as inquiry:
        found: dict[str, Any] = inquiry.ask("status")["messages"]
        return found


@contextmanager
def peak_of(pid: int) -> Iterator[list[int]]:
    """The most memory that a process has within the block; looked at 200 times a second."""
    peak = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], own_memory(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def test_clients_that_queue_several_times_the_memory_are_all_served() -> None:
    with Flock(nodes=1, slots=2, max_memory=LIMIT) as flock, peak_of(flock.broker.pid) as peak:
        small = flock.client()
        assert small.submit(abs, -1).result(60) == 1
        with programs_of(ASKS, flock, CLIENTS) as programs:
            # Until the gate opens none of their calls ends. Two of each run, or would if there were more slots.
            wait_until(lambda: messages(flock)["spilled"] > SIZE, lambda: str(messages(flock)), deadline=40)
            (flock.folder / "gate").touch()
            times = []
            while any(one.poll() is None for one in programs):
                began = monotonic()
                assert small.submit(abs, -1).result(60) == 1
                times.append(monotonic() - began)
            assert [one.communicate()[0] for one in programs] == ["right\n"] * CLIENTS
        assert peak[0] < 2 * LIMIT, f"{peak[0] // MIB} MiB"
        # A small client is not kept waiting for what the disk takes of others.
        assert quantile(times, 0.5) < 1
        wait_until(lambda: messages(flock)["spilled"] == 0, lambda: str(messages(flock)))
        wait_until(lambda: messages(flock)["held"] < MIB, lambda: str(messages(flock)))
        assert not messages(flock)["holds_back"]
        assert not list(flock.folder.glob("covey-spill*"))


def test_results_of_a_client_that_stands_still_are_written_out() -> None:
    with Flock(nodes=2, slots=2, max_memory=LIMIT) as flock, peak_of(flock.broker.pid) as peak:
        with programs_of(TAKES, flock, 1, size=2 * SIZE) as (stopped,):
            assert stopped.stdout is not None
            assert stopped.stdout.readline() == "asked\n"
            small = flock.client()
            with flock.frozen(stopped.pid):
                (flock.folder / "gate").touch()
                wait_until(lambda: messages(flock)["spilled_ever"] > SIZE, lambda: str(messages(flock)), deadline=40)
                for number in range(100):
                    assert small.submit(abs, -number).result(60) == number
            assert stopped.communicate()[0] == "right\n"
        assert peak[0] < 2 * LIMIT, f"{peak[0] // MIB} MiB"


def test_where_nothing_can_be_written_clients_wait() -> None:
    with Flock(nodes=1, slots=2, max_memory=LIMIT) as flock, peak_of(flock.broker.pid) as peak:
        # To this process the disk is full.
        resource.prlimit(flock.broker.pid, resource.RLIMIT_FSIZE, (65536, 65536))
        small = flock.client()
        with programs_of(ASKS, flock, CLIENTS) as programs:
            wait_until(lambda: "too large" in messages(flock)["why"], lambda: str(messages(flock)), deadline=40)
            wait_until(lambda: messages(flock)["holds_back"], lambda: str(messages(flock)), deadline=40)
            (flock.folder / "gate").touch()
            assert small.submit(abs, -7).result(60) == 7
            assert [one.communicate()[0] for one in programs] == ["right\n"] * CLIENTS
        assert messages(flock)["spilled_ever"] == 0
        assert peak[0] < 2 * LIMIT, f"{peak[0] // MIB} MiB"
