# SPDX-License-Identifier: BSD-3-Clause
"""A whole flock on this machine, held by one `with`: a broker, nodes and their slots, to be killed under a program.

Why: whether one's own program gets through the death of a slot, a machine or the broker is best seen before it happens.
Nothing here is pretended: the broker and the nodes are processes, between them are encrypted TCP links, and what is
killed is killed by SIGKILL.

    client ── tcp ──▶ broker ◀── tcp ── node ── slots
                             ◀── tcp ── node ── slots

Guarantees: it listens on 127.0.0.1 only, with a key of its own; it reads no file of the user's; every wait has a
deadline, and says what the programs said; after `close`, or the death of the process that opened it, no process, file
or directory of it is left.
"""
from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

from covey.client.client import Client
from covey.keys.connection import ConnectionFile
from covey.keys.secret import Secret
from covey.settings import Settings
from covey.testing.program import Program, frozen
from covey.testing.waiting import DEADLINE, wait_until

__all__ = ["Flock"]


class Flock:
    """A broker and some nodes with some slots each, until the end of the block.

    Parameters:
        nodes: how many nodes there are; slots: how many slots each has.
        seed: of the choice of who is killed where none is named.
        settings: settings of the broker and the nodes that differ, by name: `lease=2.0`.

    >>> from covey.testing import Flock
    >>> with Flock(nodes=2, slots=1) as flock, flock.client() as client:
    ...     futures = [client.submit(pow, number, 2) for number in range(100)]
    ...     killed = flock.kill_node()
    ...     assert [future.result(60) for future in futures] == [number**2 for number in range(100)]
    """

    def __init__(self, nodes: int = 1, slots: int = 2, *, seed: int = 0, **settings: object) -> None:
        unknown = sorted(set(settings) - {field.name for field in fields(Settings)})
        if unknown:
            raise ValueError(f"there is no setting {unknown[0]!r}: see docs/reference/settings.md for those there are")
        self._random = random.Random(seed)
        here = len(os.sched_getaffinity(0))
        if slots > here:
            raise ValueError(f"slots={slots} are too many: a node has one for each CPU at most, and {here} can be used "
                             "here; take more nodes")
        self._slots = slots
        self._made: Counter[str] = Counter()
        self._clients: list[Client] = []
        # A short name: named pipes stand below it, and a local socket's path has a hundred bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="covey-f"))
        self.connection = str(self.folder / "flock.json")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COVEY_")}
        self._environment = kept | {
            "COVEY_KEY_FILE": str(self.folder / "key"), "TMPDIR": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder),
            "CUDA_VISIBLE_DEVICES": "", **{f"COVEY_{name.upper()}": str(value) for name, value in settings.items()},
        }
        Secret.make(self.folder / "key")
        self.nodes: list[Program] = []
        try:
            self.broker = self._start_broker()
            for node in [self._launch_node() for _ in range(nodes)]:
                self._wait_for(node)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Flock of {len(self.nodes)} nodes and {len(self.slots())} slots, at {self.connection}>"

    def client(self, **arguments: Any) -> Client:
        """A client of this flock, which is closed with it if not before; `Client(flock.connection)` is one, too."""
        found = Client(self.connection, **arguments)
        self._clients.append(found)
        return found

    def slots(self, node: Program | None = None) -> list[int]:
        """The processes of the slots that run now: of all nodes, or of one."""
        found = self.nodes if node is None else [node]
        return [pid for one in found if one.running for pid in one.children() if _is_slot(pid)]

    def kill_slot(self, pid: int | None = None) -> int:
        """SIGKILL to a slot; without a number, to one that is drawn. Returns its number once it is dead; its node
        starts another."""
        if pid is None:
            wait_until(self.slots, lambda: f"{self!r} has no slot to kill: {self.picture()}")
            pid = self._random.choice(sorted(self.slots()))
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _is_slot(pid), lambda: f"slot {pid} does not die: {self.picture()}")
        return pid

    def kill_node(self, node: Program | None = None) -> Program:
        """SIGKILL to a node, without one named to one that is drawn. Returns it once its slots are dead, too."""
        node = self._random.choice(self.nodes) if node is None else node
        slots = self.slots(node)
        self.nodes.remove(node)
        node.kill()
        self._wait_gone(slots)
        return node

    def start_node(self, slots: int | None = None, *, through: str | None = None) -> Program:
        """Another node. `through` is where it dials the broker, if not directly: the address of a Proxy."""
        node = self._launch_node(slots, through)
        self._wait_for(node)
        return node

    def stop_node(self, node: Program | None = None) -> int:
        """Lets a node finish what runs, as at the end of an allocation; returns its exit code."""
        node = self._random.choice(self.nodes) if node is None else node
        self.nodes.remove(node)
        return node.stop()

    def kill_broker(self) -> None:
        """SIGKILL to the broker. Nodes and clients look for it."""
        self.broker.kill()

    def restart_broker(self) -> None:
        """SIGKILL to the broker, if it still runs, and another in its place; returns once that listens."""
        self.broker.kill()
        self.broker = self._start_broker()

    def address(self) -> str:
        """Where the broker listens, as `tcp://127.0.0.1:PORT`: the target for a Proxy."""
        return ConnectionFile.read(self.connection).addresses[0]

    def connection_through(self, address: str) -> str:
        """A connection file that leads to the broker by another address: that of a Proxy. For `Client(…)`."""
        path = str(self.folder / f"through-{address.rpartition(':')[2]}.json")
        real = ConnectionFile.read(self.connection)
        ConnectionFile.of(
            Secret.read(self.folder / "key"), [address], protocol=real.protocol, version=real.version).write(path)
        return path

    def picture(self) -> str:
        """What every program has said."""
        return "\n".join(f"{path.name}:\n{path.read_text(errors='replace')}" for path in self.folder.glob("*.log"))

    def close(self) -> None:
        """Kills whatever is left, and removes what they left. May be called again."""
        for client in self._clients:
            client.kill()
        slots = self.slots()
        for program in (*self.nodes, *([self.broker] if hasattr(self, "broker") else [])):
            # One that was frozen dies, too.
            program.kill()
        self.nodes.clear()
        self._wait_gone(slots)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_broker(self) -> Program:
        log = self.folder / f"{self._next_name('broker')}.log"
        broker = Program(["broker", self.connection], log, self._environment)
        broker.wait_said("covey broker: at")
        return broker

    def _launch_node(self, slots: int | None = None, through: str | None = None) -> Program:
        name = self._next_name("node")
        path = self.connection if through is None else self.connection_through(through)
        words = ["node", "--connect", path, "--max-cpu", str(slots or self._slots), "--max-gpu", "0", "--name", name]
        node = Program(words, self.folder / f"{name}.log", self._environment)
        self.nodes.append(node)
        return node

    def _wait_for(self, node: Program) -> None:
        node.wait_said("covey node: ")
        wait_until(lambda: self.slots(node), lambda: f"{node!r} starts no slot:\n{node.said}")

    def _wait_gone(self, pids: Iterable[int]) -> None:
        wait_until(lambda: not any(map(_is_slot, pids)), lambda: f"slots of {pids} do not die", DEADLINE)

    def _next_name(self, what: str) -> str:
        self._made[what] += 1
        return f"{what}{self._made[what]}"

    frozen = staticmethod(frozen)


def _is_slot(pid: int) -> bool:
    """Whether this is a living slot, and not what a task has started and left behind."""
    try:
        return b"covey.slot.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
