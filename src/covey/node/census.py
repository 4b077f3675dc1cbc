# SPDX-License-Identifier: BSD-3-Clause
"""What the nodes below have said of themselves: where they are, and how much memory is there.

Why asked and not sent: nobody looks at it for days, and then it should be of now. So a question for our own status is
answered when every node below has said how it stands, or has kept silent for PATIENCE seconds.

May not know: sockets, what a status is made of, where the time comes from. Guarantees: what another machine says is
taken only where it is what it should be, and no more of it than fits into an answer; however many ask at once, each
node is asked once. Any thread; nobody is called under the lock.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

__all__ = ["PATIENCE", "SLOTS_SHOWN", "Census", "CensusLoop", "Known"]

# Who asks for a status gives up after five seconds, and is seen to about once a second.
PATIENCE = 1.0
# Of a machine with more, the rest are counted and not listed: a row must fit into an answer.
SLOTS_SHOWN = 200


class CensusLoop(Protocol):
    """What is needed of the loop."""

    def nodes(self) -> list[dict[str, Any]]: ...
    def ask(self, handle: int, text: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Known:
    """What one node has said. `host` is "" and `memory` None while it has not."""

    host: str = ""
    memory: dict[str, int] | None = None
    slots: list[dict[str, int | None]] = field(default_factory=list)


class Census:
    """What the nodes below a loop have said."""

    def __init__(self, loop: CensusLoop, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, Known] = {}  # by handle
        self._asked: dict[int, int] = {}  # the number of a question → the handle it went to
        self._due: set[int] = set()  # the questions that `_waiting` waits for
        self._waiting: list[Callable[[], None]] = []
        self._until = 0.0

    def meet(self) -> None:
        """Asks those who joined who they are, and forgets those who left."""
        here = {row["handle"] for row in self._loop.nodes()}
        with self._lock:
            self._known = {handle: known for handle, known in self._known.items() if handle in here}
            self._asked = {serial: handle for serial, handle in self._asked.items() if handle in here}
            self._due &= self._asked.keys()
            for handle in here - self._known.keys():
                if self._ask(handle, "who"):
                    self._known[handle] = Known()
            ready = self._take_ready()
        _call(ready)

    def count(self, then: Callable[[], None]) -> None:
        """Asks every node below how it stands; `then` is called when they have answered, from whatever thread."""
        handles = [row["handle"] for row in self._loop.nodes()]
        with self._lock:
            if not self._due:
                self._due = {serial for handle in handles if (serial := self._ask(handle, "memory"))}
                self._until = self._clock() + PATIENCE
            self._waiting.append(then)
            ready = self._take_ready()
        _call(ready)

    def hear(self, serial: int, text: str) -> None:
        """The answer to one of our questions."""
        said = _parsed(text)
        with self._lock:
            handle = self._asked.pop(serial, None)
            if handle is not None:
                self._known[handle] = _learned(self._known.get(handle, Known()), said)
            self._due.discard(serial)
            ready = self._take_ready()
        _call(ready)

    def hurry(self) -> None:
        """Lets nobody wait any longer for who is silent; to be called about once a second."""
        with self._lock:
            if self._waiting and self._clock() >= self._until:
                self._due.clear()
            ready = self._take_ready()
        _call(ready)

    def known(self) -> list[tuple[dict[str, Any], Known]]:
        """The loop's row of each node, and what it has said."""
        rows = self._loop.nodes()
        with self._lock:
            return [(row, self._known.get(row["handle"], Known())) for row in rows]

    def _ask(self, handle: int, question: str) -> int:
        # Under the lock, or the answer could be here before its question is known.
        serial = self._loop.ask(handle, question)
        if serial:
            self._asked[serial] = handle
        return serial

    def _take_ready(self) -> list[Callable[[], None]]:
        if self._due:
            return []
        ready, self._waiting = self._waiting, []
        return ready


def _call(ready: list[Callable[[], None]]) -> None:
    for then in ready:
        then()


def _learned(known: Known, said: dict[str, Any]) -> Known:
    if isinstance(said.get("host"), str):
        known = replace(known, host=said["host"])
    if "memory" in said:
        memory, slots = said["memory"], said.get("own_slots")
        whole = isinstance(memory, dict) and all(_is_count(memory.get(key)) for key in ("total", "available"))
        known = replace(
            known,
            memory={key: memory[key] for key in ("total", "available")} if whole else None,
            slots=[_slot_of(slot) for slot in slots[:SLOTS_SHOWN] if isinstance(slot, dict)]
            if isinstance(slots, list) else [],
        )
    return known


def _slot_of(said: dict[str, Any]) -> dict[str, int | None]:
    return {key: said[key] if _is_count(said.get(key)) else None for key in ("number", "pid", "memory")}


def _is_count(said: object) -> bool:
    return isinstance(said, int) and 0 <= said < 1 << 63


def _parsed(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
