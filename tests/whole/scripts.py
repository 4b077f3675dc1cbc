# SPDX-License-Identifier: BSD-3-Clause
"""Programs of users, run as users run them: in a process of their own, in a folder of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from time import monotonic

import covey

DEADLINE = 60.0


def environment() -> dict[str, str]:
    """So that a program finds this covey."""
    place = os.path.dirname(os.path.dirname(os.path.abspath(covey.__file__)))
    return {**os.environ, "PYTHONPATH": place, "PYTHONWARNINGS": "default"}


def run(folder: Path, source: str, *arguments: str, stdin: str | None = None) -> str:
    """What the program printed; AssertionError with all of it if it fails."""
    if not arguments:
        (folder / "program.py").write_text(textwrap.dedent(source))
        arguments = ("program.py",)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Running:
    """A program that runs, says lines, and is interrupted."""

    def __init__(self, folder: Path, source: str) -> None:
        (folder / "program.py").write_text(textwrap.dedent(source))
        self.process = subprocess.Popen(
            [sys.executable, "-u", "program.py"],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # a group of its own, as a shell gives it
            process_group=0,
        )

    def wait_line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def interrupt(self) -> tuple[float, str]:
        """Ctrl-C; the seconds it took to end, and what it said on stderr."""
        began = monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
        _, errors = self.process.communicate(timeout=DEADLINE)
        return monotonic() - began, errors

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
