# SPDX-License-Identifier: BSD-3-Clause
"""What a node or a broker answers when it is asked: how it stands, which node shall leave, who it is.

    status [FROM]   a table of its nodes, from that row on: an answer has an end, a cluster has none
    drain NAME      that node gets nothing more, and leaves when it has finished
    who             host and versions, as a broker asks them of a node that joins

Why text and JSON: people ask, a few times a day, and another version of covey may read the answer.

May not know: sockets, clocks (`now` is an argument), command lines. Guarantees: every question gets an answer, if only
`{"error": …}`; an answer fits into a message; nothing secret is in it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from covey.node.rate import Rate
from covey.slot import GPU
from covey.wire.protocol import PROTOCOL

__all__ = ["Answers", "Asked"]

# The package is loaded before any part of it, and stands on a floor above, so it is not imported here.
_VERSION = str(sys.modules["covey"].__version__)
# An answer has 64 KiB; a row is a few hundred bytes, and what stands around the rows has its share.
_ROWS_BYTES = 48 * 1024
# Of a machine with more, the rest are counted and not listed: a row must fit into an answer.
_SLOTS_SHOWN = 200
_NAMES_SHOWN = 2000


class AskedLoop(Protocol):
    """What is needed of the loop."""

    name: str

    def nodes(self) -> list[dict[str, Any]]: ...
    def drain(self, name: str) -> bool: ...
    def ask(self, handle: int, text: str) -> int: ...


class Asked(Protocol):
    """What is needed of the node that is asked."""

    @property
    def count(self) -> int: ...
    @property
    def loop(self) -> AskedLoop: ...
    def slots(self) -> list[dict[str, object]]: ...
    def totals(self) -> Mapping[str, int]: ...


class Answers:
    """The answers of one node; may be asked from any thread."""

    def __init__(self, node: Asked, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._node = node
        self._clock = clock
        self._wall = wall
        self._begun = clock()
        self._rate = Rate(self._begun)
        self._lock = threading.Lock()
        self._hosts: dict[int, str] = {}  # by handle; "": asked, and not answered yet
        self._asked: dict[int, int] = {}  # the number of a question → the handle it went to
        self.leaving = False

    def note(self) -> None:
        """To be called about once a second: what the rate is made of."""
        finished = self._node.totals()["accepted"]
        with self._lock:
            self._rate.note(self._clock(), finished)

    def meet(self) -> None:
        """Asks those who joined who they are, and forgets those who left; to be called when there is news."""
        here = {row["handle"] for row in self._node.loop.nodes()}
        with self._lock:
            self._hosts = {handle: host for handle, host in self._hosts.items() if handle in here}
            self._asked = {serial: handle for serial, handle in self._asked.items() if handle in here}
            for handle in here - self._hosts.keys():
                # Under the lock, or the answer could be here before its question is known.
                serial = self._node.loop.ask(handle, "who")
                if serial:
                    self._hosts[handle] = ""
                    self._asked[serial] = handle

    def hear(self, serial: int, text: str) -> None:
        """The answer to one of our own questions."""
        said = _parsed(text)
        with self._lock:
            handle = self._asked.pop(serial, None)
            if handle is not None and isinstance(said.get("host"), str):
                self._hosts[handle] = said["host"]

    def answer(self, question: str) -> str:
        """The answer to somebody else's question, as JSON."""
        word, _, rest = question.partition(" ")
        if word == "status" and (not rest or (rest.isascii() and rest.isdigit() and len(rest) < 10)):
            found = self._status(int(rest or 0))
        elif word == "drain" and rest:
            found = self._drain(rest)
        elif word == "who" and not rest:
            found = self._who()
        else:
            found = {"error": f"covey {_VERSION} cannot answer {question[:80]!r}: use the same covey on both sides"}
        return json.dumps(found)

    def _who(self) -> dict[str, object]:
        return {
            "name": self._node.loop.name,
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "version": _VERSION,
            "python": ".".join(map(str, sys.version_info[:3])),
            "protocol": PROTOCOL,
            "time": self._wall(),
        }

    def _status(self, start: int) -> dict[str, object]:
        totals = self._node.totals()
        rows = [*self._own_row(), *sorted(self._rows_below(), key=lambda row: str(row["name"]))]
        shown, more = _page_of(rows, start)
        with self._lock:
            rate = self._rate.of(self._clock(), totals["accepted"])
        return {
            **self._who(),
            "uptime_s": round(self._clock() - self._begun, 1),
            "nodes": shown,
            "more": more,
            "slots": sum(int(row["slots"]) for row in rows),
            "gpus": sum(int(row["gpus"]) for row in rows),
            # Without the one who asks this.
            "clients": max(0, totals["askers"] - 1),
            "tasks": {
                "waiting": totals["waiting"] + totals["assigned"] - totals["running"],
                "running": totals["running"],
                "finished": totals["accepted"],
                "ended_unfinished": totals["ended"],
                "retried": totals["retried"],
                "crashes": totals["crashes"],
                "losses": totals["losses"],
            },
            "rate_per_s": round(rate, 2),
        }

    def _own_row(self) -> list[dict[str, Any]]:
        """The slots of this machine itself; a broker has none."""
        if not self._node.count:
            return []
        slots = self._node.slots()
        return [{
            "name": self._node.loop.name,
            "host": os.uname().nodename,
            "slots": len(slots),
            # Several slots may share one.
            "gpus": len({slot["gpu"] for slot in slots} - {None}),
            "running": sum(int(str(slot["running"])) for slot in slots),
            "state": "draining" if self.leaving else "up" if slots else "starting",
            "own_slots": sorted(slots, key=lambda slot: int(str(slot["number"])))[:_SLOTS_SHOWN],
        }]

    def _rows_below(self) -> list[dict[str, Any]]:
        nodes = self._node.loop.nodes()
        with self._lock:
            hosts = dict(self._hosts)
        return [{
            "name": node["name"],
            # Until it has said where it is: the name that a node gives itself is its host and its number there.
            "host": hosts.get(node["handle"]) or str(node["name"]).partition(":")[0],
            "slots": sum(node["capacity"]),
            "gpus": node["capacity"][GPU],
            "running": node["running"],
            "waiting": node["queued"],
            "state": "draining" if node["draining"] else "up" if any(node["capacity"]) else "no slots",
        } for node in nodes]

    def _drain(self, name: str) -> dict[str, object]:
        nodes = self._node.loop.nodes()
        before = {str(node["name"]): node for node in nodes}
        with self._lock:
            hosts = {str(node["name"]): self._hosts.get(node["handle"], "") for node in nodes}
        name = _meant(name, hosts)
        if self._node.loop.drain(name):
            return {"drained": name, "running": before[name]["running"] if name in before else 0}
        # Cut, because a sentence that is longer than an answer would be none.
        there = ", ".join(sorted(before))[:_NAMES_SHOWN] or "none at all"
        return {"error": f"there is no node {name[:255]!r} at {self._node.loop.name}; the nodes there: {there}"}


def _page_of(rows: list[dict[str, Any]], start: int) -> tuple[list[dict[str, Any]], int | None]:
    """The rows from `start` on that fit into an answer, at least one, and where the next page starts."""
    size = 0
    for at in range(start, len(rows)):
        size += len(json.dumps(rows[at]))
        if size > _ROWS_BYTES and at > start:
            return rows[start:at], at
    return rows[start:], None


def _meant(said: str, hosts: Mapping[str, str]) -> str:
    """The name of the node that is meant, by its name or by its host's; where a host has only one, that says enough. A
    node that was given no name is called HOST:PID, so that its host is known before it has said it."""
    of_host = [name for name, host in hosts.items() if said in (host, name.rpartition(":")[0])]
    return of_host[0] if said not in hosts and len(of_host) == 1 else said


def _parsed(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
