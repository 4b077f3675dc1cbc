# SPDX-License-Identifier: BSD-3-Clause
"""A node in a program of its own, at a named pipe: another machine, as far as a client of it can tell.

Why not LocalNode: that one's loop runs in the caller's process and its slots are the caller's. Here nothing is shared
but the pipe, and the GPUs are pretended.

Guarantees: `close` ends the program and waits for it; a node that does not come up fails the test with what it said.
With COVEY_NATIVE=0 there are no other machines, and a test that wants one is skipped.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import covey
from covey import settings as settings_module

PROGRAM = """
import json, sys
from covey.node.counts import Counted
from covey.node.devices import Gpu
from covey.node.memory import Memory
from covey.node.offer import Offer
from covey.node.server import NodeServer

pipe, name, cpus, gpus = json.loads(sys.argv[1])
found = tuple(Gpu(uuid, "Fake", 8, 8, number) for number, uuid in enumerate(gpus))
offer = Offer(cpus, Counted(cpus, "a test"), found, "a test", Memory(1, 1, "a test"))
NodeServer(offer, pipe=pipe, name=name).run(lambda: print("up", flush=True))
"""


class FarNode:
    """Such a node; `machine` is what `machines=[…]` takes."""

    def __init__(self, folder: Path, name: str, cpus: int, gpus: Sequence[str], **settings: str) -> None:
        self.machine = f"ipc://{folder}/{name}"
        self._said = folder / f"{name}.said"
        words = json.dumps([self.machine, name, cpus, list(gpus)])
        place = os.path.dirname(os.path.dirname(os.path.abspath(covey.__file__)))
        with open(self._said, "wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, words],
                stdout=subprocess.PIPE, stderr=said, env={**os.environ, "PYTHONPATH": place, **settings},
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"up\n", self.close() or self._said.read_text()

    def close(self) -> None:
        """Ends it as Ctrl-C would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


@contextmanager
def far_node(
    folder: Path, name: str = "far", *, cpus: int = 1, gpus: Sequence[str] = (), **settings: str
) -> Iterator[FarNode]:
    """A node in another program, until the end of the block."""
    if not settings_module.read().native:
        pytest.skip("machines need the native loop, and COVEY_NATIVE=0 turns it off")
    node = FarNode(folder, name, cpus, gpus, **settings)
    try:
        yield node
    finally:
        node.close()
