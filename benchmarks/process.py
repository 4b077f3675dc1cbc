# SPDX-License-Identifier: BSD-3-Clause
"""A measurement as a process: started fresh, given a time limit, cleared away with all that it left behind.

Why: peers leave processes, and a leftover of one peer would slow down the next one's figures. As a subreaper this
process inherits every orphan below it, in whatever session it hides, and ends it.
May not know: what is measured.
Guarantees: after `clear` no process that a measurement started is alive (on Linux; elsewhere its process group).
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

__all__ = ["Measurement", "adopt_orphans", "clear"]

ROOT = Path(__file__).resolve().parent.parent
PR_SET_CHILD_SUBREAPER = 36
# What a library may take to end its processes after its close has returned.
GRACE = 2.0


class Measurement:
    """One run of `benchmarks.bench_<question>` for one peer."""

    def __init__(self, question: str, peer: str, arguments: list[str], log: IO[bytes]) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._log = log
        self._from = log.tell()
        self._unread = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.bench_{question}", "--peer", peer, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )

    def answer(self, limit: float) -> Any:
        """The next line it says, decoded; {"failed": why} if there is none within `limit` seconds."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + limit
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return {"failed": f"took more than {limit:g} s"}
            piece = os.read(self._process.stdout.fileno(), 1 << 16)
            if not piece:
                return {"failed": self._last_words()}
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def ask(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # what it died of is read by the next answer()
            pass

    def end(self, limit: float) -> str | None:
        """Waits for its end; what went wrong, if something did."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        wrong = None
        try:
            if self._process.wait(limit):
                wrong = self._last_words()
        except subprocess.TimeoutExpired:
            wrong = f"did not end within {limit:g} s"
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process.stdout.close()
        return wrong

    def _last_words(self) -> str:
        try:
            status: int | str = self._process.wait(10)
        except subprocess.TimeoutExpired:
            status = "unknown"
        size = os.fstat(self._log.fileno()).st_size
        text = os.pread(self._log.fileno(), 4096, max(self._from, size - 4096)).decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        return f"ended with status {status}: {lines[-1] if lines else 'no words'}"


def adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def clear() -> int:
    """Ends what is left below this process; how many processes did not end by themselves."""
    deadline = time.monotonic() + GRACE
    while (left := _children()) and time.monotonic() < deadline:
        _reap()
        time.sleep(0.02)
    killed: set[int] = set()
    while left:
        for pid in left:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
        _reap()
        left = _children()
    return len(killed)


def _children() -> list[int]:
    """Living direct children; whoever loses a parent becomes one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            # gone meanwhile
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.append(int(folder.name))
    return found


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
