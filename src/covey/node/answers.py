# SPDX-License-Identifier: BSD-3-Clause
"""What a node or a broker answers when it is asked: how it stands, which node shall leave, who it is.

    status [FROM]   a table of its nodes, from that row on: an answer has an end, a cluster has none
    drain NAME      that node gets nothing more, and leaves when it has finished
    who             host and versions, as a broker asks them of a node that joins
    memory          of its machine and of each of its slots, as a broker asks its nodes before it answers `status`

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

from covey.node.census import SLOTS_SHOWN, Census, CensusLoop
from covey.node.memory import Memory, available_memory
from covey.node.rate import Rate
from covey.node.spilling import Spilling
from covey.slot import GPU
from covey.wire.protocol import PROTOCOL

__all__ = ["Answers", "Asked"]

# The package is loaded before any part of it, and stands on a floor above, so it is not imported here.
_VERSION = str(sys.modules["covey"].__version__)
# An answer has 64 KiB; a row is a few hundred bytes, and what stands around the rows has its share.
_ROWS_BYTES = 48 * 1024
_NAMES_SHOWN = 2000
_JOBS_SHOWN = 50


class AskedLoop(CensusLoop, Protocol):
    """What is needed of the loop."""

    name: str

    def drain(self, name: str) -> bool: ...
    def answer(self, handle: int, text: str) -> None: ...


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

    def __init__(
        self,
        node: Asked,
        clock: Callable[[], float],
        wall: Callable[[], float],
        memory: Callable[[], Memory] = available_memory,
    ) -> None:
        self._node = node
        self._clock = clock
        self._wall = wall
        self._memory = memory
        self._census = Census(node.loop, clock)
        self._begun = clock()
        self._rate = Rate(self._begun)
        self._lock = threading.Lock()
        self.leaving = False
        # What the journal keeps, where there is one.
        self.spilling: Spilling | None = None
        self.jobs: Callable[[], list[dict[str, Any]]] | None = None

    def note(self) -> None:
        """To be called about once a second: what the rate is made of, and who waits for a node that is silent."""
        finished = self._node.totals()["accepted"]
        with self._lock:
            self._rate.note(self._clock(), finished)
        self._census.hurry()

    def meet(self) -> None:
        """Asks those who joined who they are, and forgets those who left; to be called when there is news."""
        self._census.meet()

    def hear(self, serial: int, text: str) -> None:
        """The answer to one of our own questions."""
        self._census.hear(serial, text)

    def take(self, handle: int, question: str) -> None:
        """Somebody else's question, answered as soon as all is known that the answer says."""
        if question == "status":
            # What a table of several pages goes on with is what the first one found.
            self._census.count(lambda: self._reply(handle, question))
        else:
            self._reply(handle, question)

    def _reply(self, handle: int, question: str) -> None:
        self._node.loop.answer(handle, self.answer(question))

    def answer(self, question: str) -> str:
        """The answer to somebody else's question by what is known now, as JSON."""
        word, _, rest = question.partition(" ")
        if word == "status" and (not rest or (rest.isascii() and rest.isdigit() and len(rest) < 10)):
            found = self._status(int(rest or 0))
        elif word == "drain" and rest:
            found = self._drain(rest)
        elif word == "who" and not rest:
            found = self._who()
        elif word == "memory" and not rest:
            found = self._own_memory()
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
                "late": totals["stale"],
                "ooms": totals["ooms"],
            },
            "rate_per_s": round(rate, 2),
            **({} if self.spilling is None else {"messages": self.spilling.figures()}),
            **self._jobs(),
        }

    def _jobs(self) -> dict[str, object]:
        if self.jobs is None:
            return {}
        jobs = self.jobs()
        # The latest ones: an answer has an end.
        return {"jobs": jobs[-_JOBS_SHOWN:], "jobs_kept": len(jobs)}

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
            "memory": self._machine_memory(),
            "own_slots": _listed(slots),
        }]

    def _own_memory(self) -> dict[str, object]:
        if not self._node.count:
            # A broker's machine runs no tasks, and what is free there is nobody's business.
            return {"memory": None, "own_slots": []}
        slots = [{key: slot[key] for key in ("number", "pid", "memory")} for slot in self._node.slots()]
        return {"memory": self._machine_memory(), "own_slots": _listed(slots)}

    def _machine_memory(self) -> dict[str, int] | None:
        memory = self._memory()
        return {"total": memory.total, "available": memory.available} if memory.total else None

    def _rows_below(self) -> list[dict[str, Any]]:
        known = self._census.known()
        return [{
            "name": node["name"],
            # Until it has said where it is: the name that a node gives itself is its host and its number there.
            "host": said.host or str(node["name"]).partition(":")[0],
            "slots": sum(node["capacity"]),
            "gpus": node["capacity"][GPU],
            "running": node["running"],
            "waiting": node["queued"],
            "state": "draining" if node["draining"] else "up" if any(node["capacity"]) else "no slots",
            "memory": said.memory,
            "own_slots": said.slots,
        } for node, said in known]

    def _drain(self, name: str) -> dict[str, object]:
        known = self._census.known()
        before = {str(node["name"]): node for node, _ in known}
        name = _meant(name, {str(node["name"]): said.host or "" for node, said in known})
        if self._node.loop.drain(name):
            return {"drained": name, "running": before[name]["running"] if name in before else 0}
        # Cut, because a sentence that is longer than an answer would be none.
        there = ", ".join(sorted(before))[:_NAMES_SHOWN] or "none at all"
        return {"error": f"there is no node {name[:255]!r} at {self._node.loop.name}; the nodes there: {there}"}


def _listed(slots: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(slots, key=lambda slot: int(str(slot["number"])))[:SLOTS_SHOWN]


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
