# SPDX-License-Identifier: BSD-3-Clause
"""What a task may start and leave running, in every way in which it can hide from its slot. For slots to import.

Guarantees: each function returns, or writes down, the number of a process that sleeps for a thousand seconds.
"""
import os
import subprocess
import sys
from pathlib import Path

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(1000)"]


def child() -> int:
    """An ordinary child."""
    return subprocess.Popen(SLEEP).pid


def other_group() -> int:
    """A child in a group of its own."""
    return subprocess.Popen(SLEEP, process_group=0).pid


def bare() -> int:
    """A child with nothing in its environment."""
    return subprocess.Popen(SLEEP, env={}).pid


def other_session() -> int:
    """A child in a session of its own."""
    return subprocess.Popen(SLEEP, start_new_session=True).pid


def daemon() -> int:
    """Nobody's child any more, in a session of its own: forked twice."""
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.setsid()
        last = os.fork()
        if last:
            os.write(writing, str(last).encode())
            os._exit(0)
        os.execv(SLEEP[0], SLEEP)
    os.waitpid(middle, 0)
    os.close(writing)
    pid = int(os.read(reading, 20))
    os.close(reading)
    return pid


WAYS = (child, other_group, bare, other_session, daemon)


def all_of_them(note: str = "") -> list[int]:
    """One of each; their numbers are written to the file `note`, too."""
    pids = [way() for way in WAYS]
    if note:
        Path(note + ".part").write_text(" ".join(map(str, pids)))
        os.rename(note + ".part", note)
    return pids


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
