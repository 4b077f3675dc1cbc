# SPDX-License-Identifier: BSD-3-Clause
"""P8: when the process that keeps the slots is killed, its slots are gone at once, and all that they started."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import relatives
from relatives import alive
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

# The promise is a second; the machine that tests this may be busy.
SOON = 5.0

CALLER = """
import os, sys, threading
import covey, relatives

def busy(note):
    relatives.all_of_them(note)
    with open(note + ".slot", "w") as file:
        file.write(str(os.getpid()))
    os.rename(note + ".slot", note + ".busy")
    while True:                                     # work: it never lets go of the interpreter for long
        sum(range(100_000))

if __name__ == "__main__":
    client = covey.Client(max_cpu=2)
    client.submit(busy, sys.argv[1])
    client.submit(os.getpid).result()
    threading.Event().wait()
"""


@pytest.mark.parametrize("native", ["1", "0"], ids=["native", "on pyzmq"])
def test_kill_9(tmp_path: Path, native: str) -> None:
    script, note = tmp_path / "caller.py", tmp_path / "note"
    script.write_text(CALLER)
    path = ":".join([str(Path(__file__).parent), *map(os.path.abspath, sys.path)])
    with subprocess.Popen(
        [sys.executable, script, note],
        # Its run directory outlives it, until somebody else makes his in the same place.
        env={**os.environ, "COVEY_NATIVE": native, "PYTHONPATH": path, "TMPDIR": str(tmp_path)},
    ) as caller:
        busy = tmp_path / "note.busy"
        wait_until(lambda: busy.exists() or caller.poll() is not None, lambda: f"caller: {caller.poll()}")
        pids = [int(busy.read_text()), *map(int, note.read_text().split())]
        assert all(alive(pid) for pid in pids)
        caller.send_signal(signal.SIGKILL)
        names = ["the slot", *(way.__name__ for way in relatives.WAYS)]
        wait_until(
            lambda: not any(alive(pid) for pid in pids),
            lambda: f"still there: {[name for name, pid in zip(names, pids, strict=True) if alive(pid)]}",
            deadline=SOON)
    wait_until(lambda: not _slots_of(caller.pid), lambda: f"still there: {_slots_of(caller.pid)}")


def _slots_of(parent: int) -> list[str]:
    """Slots know their parent's number by their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                command = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"covey.slot.main" in b" ".join(command) and str(parent).encode() in command:
                found.append(name)
    return found
