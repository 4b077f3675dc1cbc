# SPDX-License-Identifier: BSD-3-Clause
"""A command of covey in a process of its own, that ends with the process that started it, however that ends.

Guarantees: what it says is kept, and stands in the error of a wait that was for nothing.
"""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import covey
from covey.testing.waiting import DEADLINE, wait_until

__all__ = ["Program", "frozen"]

# Whoever started it holds the other end of its standard input; the kernel closes that with the process.
# No reader of Python's: one that waits inside would hold its lock when the interpreter ends.
_SOURCE = """\
import os, signal, sys, threading
def end_with_its_owner():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=end_with_its_owner, daemon=True).start()
from covey.terminal.main import main
sys.exit(main(sys.argv[1:]))
"""


class Program:
    """`covey WORDS`, running."""

    def __init__(self, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.words = tuple(words)
        self._log = log
        place = os.path.dirname(os.path.dirname(os.path.abspath(covey.__file__)))
        with open(log, "ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SOURCE, *words], stdin=subprocess.PIPE, stdout=said, stderr=said,
                env={**environment, "PYTHONPATH": place},
                # Ctrl-C at the terminal is for whoever started it.
                process_group=0)
        self.pid = self.process.pid

    def __repr__(self) -> str:
        return f"<covey {' '.join(self.words)}: {'running' if self.running else 'ended'}, pid {self.pid}>"

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def wait_said(self, pattern: str, deadline: float = DEADLINE) -> None:
        """Waits until it has said that; AssertionError with all that it said if it does not, or ends."""
        def heard_or_over() -> bool:
            return re.search(pattern, self.said) is not None or not self.running

        wait_until(heard_or_over, lambda: f"{self!r} did not say {pattern!r}:\n{self.said}", deadline)
        assert re.search(pattern, self.said), f"{self!r} did not say {pattern!r}:\n{self.said}"

    def children(self) -> list[int]:
        """The processes that it has started, and that live."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    state, parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:2]
                except OSError:
                    continue            # it ended while we looked
                if int(parent) == self.pid and state != "Z":
                    found.append(int(name))
        return found

    def stop(self, deadline: float = DEADLINE) -> int:
        """Ends it as Ctrl-C would; returns its exit code."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not self.running, lambda: f"{self!r} does not end:\n{self.said}", deadline)
        return self._bury()

    def kill(self) -> None:
        """SIGKILL, and waits for the end."""
        self.process.kill()
        self._bury()

    def _bury(self) -> int:
        assert self.process.stdin is not None
        code = self.process.wait(DEADLINE)
        self.process.stdin.close()
        return code


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """These processes stand still (SIGSTOP) until the end of the block.

    >>> with frozen():
    ...     pass
    """
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass                    # killed meanwhile
