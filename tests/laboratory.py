# SPDX-License-Identifier: BSD-3-Clause
"""A lab of real processes on loopback: a broker, nodes, and the command `covey`, for a user with an empty home.

Guarantees: `close` leaves no process; every wait has a deadline.
"""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from waiting import wait_until

_NAMES = ("COVEY_KEY_FILE", "COVEY_CONNECTION", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")


class Lab:
    """Everything below one home directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.file = home / "lab.json"
        self.processes: list[subprocess.Popen[str]] = []

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _NAMES}
        return {**kept, "HOME": str(self.home), "PYTHONPATH": os.pathsep.join(sys.path), **more}

    def start(self, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        """Starts `covey …`, and returns once it has said that it serves."""
        process = subprocess.Popen(
            [sys.executable, "-m", "covey", *map(str, arguments)], env=self.environment(**environment),
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stderr is not None
        said = process.stderr.readline()
        assert "Ctrl-C ends this" in said, said + process.stderr.read()
        return process

    def broker(self) -> "subprocess.Popen[str]":
        return self.start("broker", self.file, "--name", "meeting")

    def node(self, name: str, slots: int = 1, **environment: str) -> "subprocess.Popen[str]":
        return self.start(
            "node", "--connect", self.file, "--name", name, "--max-cpu", slots, "--max-gpu", 0, **environment)

    def say(self, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "covey", *map(str, arguments)], env=self.environment(**environment),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)

    def status(self, *target: object) -> dict[str, Any]:
        done = self.say("status", *(target or (self.file,)), "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def states(self) -> dict[str, str]:
        return {row["name"]: row["state"] for row in self.status()["nodes"]}

    def wait_for_nodes(self, **states: str) -> None:
        wait_until(lambda: self.states() == states, lambda: f"{self.states()}, not {states}")

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr is not None:
                process.stderr.close()
