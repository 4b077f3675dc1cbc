# SPDX-License-Identifier: BSD-3-Clause
"""Gates: a task in another process says that it has started, and waits until the test lets it go.

Why: a test that sleeps is slow or wrong. Here every wait is for the thing itself.
Guarantees: a gate that is closed lets everybody go, so a failed test hangs nobody.
"""

from __future__ import annotations

import fcntl
import os
import select


class Gate:
    """Held by the test. `hold(gate.folder)` is what the task calls."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.mkfifo(os.path.join(folder, "arrivals"))
        # for reading and writing, so that it neither blocks here nor ends when a task is gone
        self._arrivals: int | None = os.open(os.path.join(folder, "arrivals"), os.O_RDWR)
        self._bar: int | None = os.open(os.path.join(folder, "bar"), os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._bar, fcntl.LOCK_EX)

    def wait_arrivals(self, count: int = 1, deadline: float = 20.0) -> list[int]:
        """The pids of so many tasks that have come."""
        assert self._arrivals is not None
        pids = []
        for _ in range(count):
            ready, _, _ = select.select([self._arrivals], [], [], deadline)
            assert ready, f"only {len(pids)} of {count} tasks came to the gate within {deadline} s"
            pids.append(int.from_bytes(os.read(self._arrivals, 4), "little"))
        return pids

    def open(self) -> None:
        """Let everybody through, now and later."""
        if self._bar is not None:
            os.close(self._bar)
            self._bar = None

    def close(self) -> None:
        self.open()
        if self._arrivals is not None:
            os.close(self._arrivals)
            self._arrivals = None


def arrive(folder: str) -> None:
    """Tell the test that this task runs."""
    try:
        # without O_NONBLOCK, a task that comes when its test is over would wait for a reader for ever
        arrivals = os.open(os.path.join(folder, "arrivals"), os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return
    os.write(arrivals, os.getpid().to_bytes(4, "little"))
    os.close(arrivals)


def hold(folder: str, value: object = None) -> object:
    """Tell the test, wait for the gate, then return `value`."""
    arrive(folder)
    bar = os.open(os.path.join(folder, "bar"), os.O_RDWR)
    try:
        fcntl.flock(bar, fcntl.LOCK_SH)
    finally:
        os.close(bar)
    return value
