# SPDX-License-Identifier: BSD-3-Clause
"""A client that is killed: its slots go with it, whatever they do, and the next node clears up."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import covey
from covey import settings
from covey.node.rundir import sweep
from waiting import wait_until

pytestmark = pytest.mark.faults

PROGRAM = """
import os, sys, threading
sys.path[:] = {path!r}
import covey
from covey import settings
client = covey.Client(max_cpu=2)
def busy(begun):
    open(begun, "w").close()
    {busy}
begun = [os.path.join(os.environ["TMPDIR"], f"begun{{number}}") for number in range(2)]
futures = [client.submit(busy, name) for name in begun]
for _ in range(10_000):
    if all(map(os.path.exists, begun)): break
    threading.Event().wait(0.002)
node = client._node
print(os.path.dirname(node.address.removeprefix("ipc://")), *node.pids(), flush=True)
{then}
"""

BUSY = {
    "waiting": "import threading; threading.Event().wait()",
    "with the GIL held": "pow(7, 10 ** 9)",
    "immune": "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; pow(7, 10 ** 9)",
}


def start(base: Path, busy: str, then: str) -> subprocess.Popen[str]:
    code = PROGRAM.format(path=sys.path, busy=busy, then=textwrap.dedent(then))
    environment = {**os.environ, "TMPDIR": str(base)}
    # It waits for its standard input, so that it ends with these tests however they end.
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, or before it is read
        return False


@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_slots_die_with_their_client(busy: str, end: signal.Signals) -> None:
    if "pow" in BUSY[busy] and not settings.read().native:
        pytest.skip("the link on pyzmq needs the GIL: the task that waits behind this one cannot be taken back")
    base = Path(os.environ["TMPDIR"]) / f"c{os.urandom(3).hex()}"
    base.mkdir()
    with start(base, BUSY[busy], "sys.stdin.read(); os.kill(os.getpid(), 9)") as program:
        assert program.stdout is not None
        folder, *pids = program.stdout.readline().split()
        slots = [int(pid) for pid in pids]
        assert len(slots) == 2
        program.send_signal(end)
    wait_until(lambda: not any(alive(pid) for pid in slots), deadline=5.0)
    assert os.path.dirname(folder) == str(base)
    assert os.path.isdir(folder)
    os.utime(folder, (0, 0))
    assert sweep(str(base)) == [folder]


def test_a_forked_copy_of_the_client_does_not_keep_slots_alive() -> None:
    base = Path(os.environ["TMPDIR"]) / f"c{os.urandom(3).hex()}"
    base.mkdir()
    then = """
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), 9)
    """
    with start(base, BUSY["waiting"], then) as program:
        assert program.stdout is not None
        slots = [int(pid) for pid in program.stdout.readline().split()[1:]]
        child = int(program.stdout.readline())
        program.stdout.close()
    try:
        wait_until(lambda: not any(alive(pid) for pid in slots), deadline=5.0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_what_a_task_started_dies_with_the_client() -> None:
    with covey.Client(max_cpu=1) as client:
        pid = client.submit(lambda: subprocess.Popen(["sleep", "1000"]).pid).result(30)
        assert alive(pid)
    wait_until(lambda: not alive(pid))
