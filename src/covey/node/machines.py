# SPDX-License-Identifier: BSD-3-Clause
"""The links of a loop to other machines, and what people are told of them.

Why: a machine that is not there must be named within seconds while the others work, and welcome when it comes. The
loop dials again and again by itself; here somebody watches, and speaks.

May not know: tasks, clients, key files. Guarantees: each machine that is missing is named once, and once more when it
has come after all; the watching thread sleeps while nothing happens and ends with `close`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from covey.errors import CoveyError, NobodyThere

__all__ = ["PORT", "Machine", "Machines", "machine_of"]

PORT = 2718
# Somebody who does not answer within so many seconds is named.
PATIENCE = 4.0

_NAMED = re.compile(r"(?:tcp://)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%a-z]+\])(?::(?P<port>[0-9]{1,5}))?")
_log = logging.getLogger("covey.node")


class DiallingLoop(Protocol):
    """What is needed of the loop."""

    @property
    def news_fd(self) -> int: ...
    def read_news(self) -> None: ...
    def dial(self, address: str, asks: bool, keys: Sequence[bytes] | None = None) -> int: ...
    def links(self) -> list[dict[str, Any]]: ...
    def nodes(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as its user wrote it, and the address that is dialled."""

    written: str
    address: str

    @property
    def encrypted(self) -> bool:
        return self.address.startswith("tcp://")


def machine_of(written: str, port: int | None = None) -> Machine:
    """The address of 'host', 'host:port', '[v6]:port', 'tcp://host:port' or 'ipc://path'.

    >>> machine_of("lab7").address
    'tcp://lab7:2718'
    >>> machine_of("10.0.0.7:4000", port=5000).address
    'tcp://10.0.0.7:4000'
    """
    if not isinstance(written, str):
        raise TypeError(f"machines names hosts as strings, such as 'lab7' or 'lab7:2718', not {written!r}")
    if written.startswith("ipc://") and len(written) > len("ipc://"):
        return Machine(written, written)
    match = _NAMED.fullmatch(written)
    if match is None or (match["port"] and not 0 < int(match["port"]) < 65536):
        raise ValueError(
            f"machines: {written!r} is no machine: write a host ('lab7', '10.0.0.7'), host:port, or ipc://PATH"
        )
    return Machine(written, f"tcp://{match['host']}:{match['port'] or port or PORT}")


class Machines:
    """Watches the links that it dials. `on_alone` is told once if, after the patience, no machine is there at all."""

    def __init__(self, loop: DiallingLoop, on_alone: Callable[[CoveyError], None] | None = None) -> None:
        self._loop = loop
        self._on_alone = on_alone
        self._machines: dict[int, Machine] = {}
        self._named: set[int] = set()
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="covey-machines", daemon=True)
        self._news = threading.Condition()
        self._deadline = 0.0
        self._closed = False
        self._leaving = False
        self.capacity = (0, 0, 0)

    def dial(self, machine: Machine, *, asks: bool, keys: Sequence[bytes] | None) -> None:
        """Keeps a link to the machine, as one who asks there or as one who does."""
        link = self._loop.dial(machine.address, asks, keys if machine.encrypted else None)
        self._machines[link] = machine

    def start(self) -> None:
        """Begins to watch what was dialled."""
        self._deadline = time.monotonic() + PATIENCE
        self._thread.start()

    def close(self) -> None:
        """Ends the watching; the links end with the loop."""
        self._closed = True
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"w")
        if self._thread.ident is not None and threading.current_thread() is not self._thread:
            self._thread.join()
        for name in ("_wake_read", "_wake_write"):
            descriptor = getattr(self, name)
            setattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Waits until the condition holds, looking whenever there is news; False if it never did."""
        with self._news:
            return self._news.wait_for(condition, timeout)

    def missing(self) -> dict[str, str]:
        """The machines that are not connected now, each with the reason."""
        open_ports = {node["port"] for node in self._loop.nodes()}
        links = [
            (self._machines[number].written, link)
            for number, link in enumerate(self._loop.links())
            if number in self._machines
        ]
        # A machine of several addresses is there if it is at one of them.
        there = {written for written, link in links if link["port"] in open_ports}
        return {written: str(link["why"] or "it does not answer") for written, link in links if written not in there}

    @property
    def settled(self) -> bool:
        """Whether every machine has slots to offer, or was tried in vain once."""
        nodes = {node["port"]: node for node in self._loop.nodes()}
        for link in self._loop.links():
            node = nodes.get(link["port"])
            if (node is not None and not any(node["capacity"])) or (node is None and not link["why"]):
                return False
        return True

    def expect_farewells(self) -> None:
        """Machines that leave from now on were asked to; nobody is told."""
        self._leaving = True

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        poll.register(self._loop.news_fd, select.POLLIN)
        while not self._closed:
            self._look()
            left = self._deadline - time.monotonic()
            poll.poll(None if left <= -1 else max(0.0, left * 1000 + 1))
            self._loop.read_news()

    def _look(self) -> None:
        nodes = self._loop.nodes()
        kinds = zip(*(node["capacity"] for node in nodes), strict=True) if nodes else ((0,), (0,), (0,))
        with self._news:
            cpus, gpus, beside = (sum(kind) for kind in kinds)
            self.capacity = (cpus, gpus, beside)
            self._news.notify_all()
        if time.monotonic() < self._deadline or self._leaving:
            return
        missing = self.missing()
        for number, machine in self._machines.items():
            if machine.written in missing and number not in self._named:
                self._named.add(number)
                _log.warning(
                    "%s is not there: %s (%s); it joins when it comes",
                    machine.written, missing[machine.written], machine.address,
                )
            elif machine.written not in missing and number in self._named:
                self._named.discard(number)
                _log.warning("%s is there now", machine.written)
        tell, self._on_alone = self._on_alone, None
        if tell is not None and len(missing) == len({machine.written for machine in self._machines.values()}):
            tell(NobodyThere(missing))
