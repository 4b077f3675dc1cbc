# SPDX-License-Identifier: BSD-3-Clause
"""A broker with a journal, a node, and clients here: brokers and programs that are killed and started again.

Guarantees: those of Lab.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import covey
from laboratory import Lab
from waiting import wait_until


class NightLab(Lab):
    """A broker that keeps a journal in `folder`."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.folder = home / "journal"
        self.runs = home / "runs"
        self.runs.mkdir()
        self.now: subprocess.Popen[str] | None = None
        # Of its own: a broker that is killed leaves its run directory to the next one. Short, as for all sockets.
        self.temporary = Path(os.environ["TMPDIR"]) / f"n{os.urandom(3).hex()}"
        self.temporary.mkdir()

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(TMPDIR=str(self.temporary), **more)

    def broker(self, **environment: str) -> "subprocess.Popen[str]":
        self.now = self.start("broker", self.file, "--journal", self.folder, **environment)
        return self.now

    def open(self, slots: int = 2) -> None:
        """Broker and node."""
        self.broker()
        self.node("worker", slots)

    def kill_broker(self) -> None:
        """At once, as the kernel or a power cut does it."""
        assert self.now is not None
        self.now.kill()
        self.now.wait()

    def client(self) -> covey.Client:
        return covey.Client(self.file)

    def program(self, code: str) -> "subprocess.Popen[str]":
        """A user's program; `FILE` in it is the connection file."""
        process = subprocess.Popen(
            [sys.executable, "-c", code.replace("FILE", repr(str(self.file)))], env=self.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.status()["jobs"]
        return found

    def wait_finished(self, unfetched: int) -> None:
        """Until so many outcomes wait to be fetched, and nothing is unfinished."""
        def done() -> bool:
            return [(job["unfinished"], job["unfetched"]) for job in self.jobs()] == [(0, unfetched)]
        wait_until(done, self.jobs, deadline=60.0)

    def close(self) -> None:
        for process in self.processes:
            if process.stdout is not None:
                process.stdout.close()
        super().close()
        shutil.rmtree(self.temporary, ignore_errors=True)


def noted(place: str, number: int, seconds: float = 0.0) -> int:
    """Work that can be counted: each run appends a byte to a file of its own."""
    time.sleep(seconds)  # work
    descriptor = os.open(os.path.join(place, str(number)), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b"r")
    os.close(descriptor)
    return number * number


def unsteady(place: str, number: int, times: int) -> int:
    """Breaks off so many times, then works; LookupError if it should never."""
    noted(place, number)
    runs = os.path.getsize(os.path.join(place, str(number)))
    if runs <= times:
        raise ConnectionError(f"the line to {number} is down")
    if not times:
        raise LookupError(f"no {number}")
    return times


def deadly(place: str, number: int) -> None:
    """Kills its slot."""
    noted(place, number)
    os.kill(os.getpid(), signal.SIGKILL)


def endless(place: str, number: int) -> None:
    """Says that it runs, and does for ever."""
    noted(place, number)
    threading.Event().wait()


def failing(number: int) -> int:
    raise LookupError(f"no {number}")


__all__ = ["NightLab", "deadly", "endless", "failing", "noted", "unsteady"]
