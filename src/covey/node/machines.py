# SPDX-License-Identifier: BSD-3-Clause
"""The links of a loop to other machines, and what people are told of them.

Why: a machine that is not there must be named within seconds while the others work, and welcome when it comes. The
loop dials again and again by itself; here somebody watches, and speaks.

May not know: tasks, clients, key files. Guarantees: each machine that is missing is named once, and once more when it
has come after all, and a broker that has no slots for a while once; the watching thread sleeps while nothing happens
and ends with `close`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import math
import os
import re
import select
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from covey.errors import CoveyError, NobodyThere
from covey.keys.pairs import fingerprint_of
from covey.node.absences import Lacking, namesake_in, sentence_of, why_missing
from covey.node.bridge import ClientEnd, pipe_path
from covey.node.names import Names, address_of, is_named

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
    def redirect(self, link: int, address: str) -> None: ...
    def links(self) -> list[dict[str, Any]]: ...
    def nodes(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as its user wrote it, and the address that is dialled; of a broker the connection file, too."""

    written: str
    address: str
    file: str = ""

    @classmethod
    def of_broker(cls, file: str, address: str) -> Machine:
        """The broker of this connection file at one of its addresses.

        >>> Machine.of_broker("-", "tcp://login:2718").written
        'the broker'
        """
        return cls("the broker" if file == "-" else f"the broker of {file}", address, file)

    @property
    def encrypted(self) -> bool:
        """Whether keys are needed: on all that is more than a local socket."""
        return self.address.startswith("tcp://") or pipe_path(self.address) is not None


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
        if _is_bare_v6(written):
            raise ValueError(f"machines: {written!r} is an address of IPv6: write it in brackets, '[{written}]'")
        raise ValueError(
            f"machines: {written!r} is no machine: write a host ('lab7', '10.0.0.7'), host:port, or ipc://PATH"
        )
    return Machine(written, f"tcp://{match['host']}:{match['port'] or port or PORT}")


def _is_bare_v6(written: str) -> bool:
    try:
        ipaddress.IPv6Address(written)
    except ValueError:
        return False
    return True


class Machines:
    """Watches the links that it dials. `on_alone` is told once if, after the patience, none of the machines that are to
    do something for us was ever there; those for which we do something are waited for: a broker has time. `on_news` is
    told whenever somebody came, left or was refused."""

    def __init__(
        self,
        loop: DiallingLoop,
        on_alone: Callable[[CoveyError], None] | None = None,
        on_news: Callable[[], None] | None = None,
        find: Callable[[str], str] = address_of,
    ) -> None:
        self._loop = loop
        self._names = Names(loop, self._tell, find)
        self._on_alone = on_alone
        self._on_news = on_news
        self._machines: dict[int, Machine] = {}
        self._asked: set[str] = set()
        self._ends: list[ClientEnd] = []
        self._fingerprints: dict[int, str] = {}
        # Links whose key is made of an authkey=.
        self._worded: set[int] = set()
        self._named: set[int] = set()
        self._slotless, self._forgetful = Lacking(PATIENCE), Lacking(PATIENCE)
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="covey-machines", daemon=True)
        self._news = threading.Condition()
        self._deadline = 0.0
        self._closed = False
        self._leaving = False
        # What those who are there offer, by kind of place, and whether anybody is.
        self.capacity = (0, 0, 0)
        # Whether one who is there keeps a journal, and whether somebody here needs that.
        self.journal = False
        self.needs_journal = False
        self.met = False

    def dial(
        self, machine: Machine, *, asks: bool, keys: Sequence[bytes] | None, authkey: bool = False
    ) -> None:
        """Keeps a link to the machine, as one who asks there or as one who does. `authkey`: keys are made of one."""
        named = is_named(machine.address)
        address = self._bridged(machine.address)
        link = self._loop.dial("" if named else address, asks, keys if machine.encrypted else None)
        self._machines[link] = machine
        if named:
            self._names.seek(link, machine.address)
        if asks:
            self._asked.add(machine.written)
        if machine.encrypted and keys is not None:
            self._fingerprints[link] = fingerprint_of(keys[0])
            if authkey:
                self._worded.add(link)

    def _bridged(self, address: str) -> str:
        """What the loop can dial in the place of this address."""
        path = pipe_path(address)
        if path is None:
            return address
        end = ClientEnd(path)
        self._ends.append(end)
        end.start()
        return end.address

    def start(self) -> None:
        """Begins to watch what was dialled."""
        self._deadline = time.monotonic() + PATIENCE
        self._thread.start()

    def close(self) -> None:
        """Ends the watching; the links end with the loop."""
        self._closed = True
        self._names.close()
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"w")
        if self._thread.ident is not None and threading.current_thread() is not self._thread:
            self._thread.join()
        for name in ("_wake_read", "_wake_write"):
            descriptor = getattr(self, name)
            setattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)

    def close_bridges(self) -> None:
        """Ends the bridges to named pipes, once the loop has said its last words over them."""
        for end in self._ends:
            end.close()

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Waits until the condition holds, looking whenever there is news; False if it never did."""
        with self._news:
            return self._news.wait_for(condition, timeout)

    def missing(self) -> dict[str, str]:
        """The machines that are not connected now, each with the reason."""
        links = [
            (self._machines[number].written, link["joined"], self._why_missing(number, link["why"]))
            for number, link in enumerate(self._loop.links())
            if number in self._machines
        ]
        # A machine of several addresses is there if it is at one of them.
        there = {written for written, joined, _ in links if joined}
        return {written: why for written, _, why in links if written not in there}

    def _why_missing(self, number: int, why: str) -> str:
        why = self._names.why(number) or why
        if not why and time.monotonic() < self._deadline:
            return "it has not answered so far"
        name = namesake_in(why)
        return why_missing(
            why, self._fingerprints.get(number), broker=bool(self._machines[number].file),
            authkey=number in self._worded, namesake="" if name is None else self._who_is(name),
        )

    def _who_is(self, name: str) -> str:
        """The machine that is connected under this name, if it is one of ours."""
        ports = [node["port"] for node in self._loop.nodes() if node["name"] == name]
        for number, link in enumerate(self._loop.links()):
            if link["port"] in ports and number in self._machines:
                return f"{self._machines[number].written} ({self._machines[number].address})"
        return ""

    @property
    def settled(self) -> bool:
        """Whether every machine has slots to offer, or was tried in vain once."""
        nodes = {node["port"]: node for node in self._loop.nodes()}
        for number, link in enumerate(self._loop.links()):
            node = nodes.get(link["port"])
            tried = link["why"] or self._names.why(number)
            if (node is not None and not any(node["capacity"])) or (node is None and not tried):
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
            now = time.monotonic()
            self._look(now)
            times = (self._deadline, self._slotless.next_time, self._forgetful.next_time)
            due = min((when for when in times if when > now), default=math.inf)
            poll.poll(None if due == math.inf else max(0.0, (due - time.monotonic()) * 1000 + 1))
            self._loop.read_news()

    def _tell(self) -> None:
        with self._news:
            self._news.notify_all()

    def _seek_names(self) -> None:
        for number, link in enumerate(self._loop.links()):
            machine = self._machines.get(number)
            if machine is None or not is_named(machine.address):
                continue
            if link["joined"]:
                self._names.found(number)
            elif not self._closed:
                # It was there: it may come again at another address.
                self._names.seek(number, machine.address)

    def name_missing(self) -> dict[str, str]:
        """Names those that are not there, each once, and those that were named and have come; returns `missing`."""
        missing = self.missing()
        with self._news:
            gone = [n for n, machine in self._machines.items() if machine.written in missing and n not in self._named]
            back = [n for n in self._named if self._machines[n].written not in missing]
            self._named = (self._named | set(gone)) - set(back)
        for number in gone:
            machine = self._machines[number]
            why = missing[machine.written]
            _log.warning("%s", sentence_of(machine.written, machine.address, why, broker=bool(machine.file)))
        for number in back:
            _log.warning("%s is there now", self._machines[number].written)
        return missing

    def name_before_the_end(self) -> None:
        """A flock that ends before the patience does names its missing machines now: they did nothing in it."""
        is_early = time.monotonic() < self._deadline
        if is_early and not self._leaving and not any(machine.file for machine in self._machines.values()):
            self.name_missing()

    def _name_lacking(self, nodes: list[dict[str, Any]], now: float) -> None:
        files = {
            link["port"]: self._machines[number].file
            for number, link in enumerate(self._loop.links())
            if number in self._machines and self._machines[number].file
        }
        brokers = {files[node["port"]]: node for node in nodes if node["port"] in files}
        slotless = [file for file, node in brokers.items() if not any(node["capacity"])]
        for file in self._slotless.overdue(slotless, now):
            _log.warning(
                "the broker %s has no slots yet; calls wait until a node joins it: covey node --connect %s",
                brokers[file]["name"], file,
            )
        forgetful = [file for file, node in brokers.items() if self.needs_journal and not node.get("journal")]
        for file in self._forgetful.overdue(forgetful, now):
            _log.warning(
                "the broker %s keeps no journal now; detached calls wait until it does: covey broker %s --journal DIR",
                brokers[file]["name"], file,
            )

    def _look(self, now: float) -> None:
        if self._on_news is not None:
            self._on_news()
        nodes = self._loop.nodes()
        self._seek_names()
        if nodes:
            # Whoever was there and is not just now will come again: a broker is restarted, a cable was pulled.
            self._on_alone = None
        kinds = zip(*(node["capacity"] for node in nodes), strict=True) if nodes else ((0,), (0,), (0,))
        with self._news:
            cpus, gpus, beside = (sum(kind) for kind in kinds)
            self.capacity = (cpus, gpus, beside)
            self.journal = any(node.get("journal") for node in nodes)
            self.met = bool(nodes)
            self._news.notify_all()
        if not self._leaving:
            self._name_lacking(nodes, now)
        if now < self._deadline or self._leaving:
            return
        missing = self.name_missing()
        tell, self._on_alone = self._on_alone, None
        if tell is not None and self._asked and self._asked <= missing.keys():
            file = next((machine.file for machine in self._machines.values() if machine.file), "")
            tell(NobodyThere(missing, file))
