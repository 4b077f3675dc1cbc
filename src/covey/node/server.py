# SPDX-License-Identifier: BSD-3-Clause
"""A machine as a node that others use: it listens or dials, serves whoever has the key, and ends when it is told.

Why: `funworker()` in a user's script and `covey node` at a terminal are the same thing. It runs no user code in its own
process; its slots do, and they die with it.

May not know: clients, tasks, command lines. Guarantees: nothing is bound beyond this machine without a key, and before
anybody is served a stranger's key has been tried at the gate and was refused; `run` returns when an asker says so, or
at SIGTERM, SIGINT or SIGHUP, and nothing is left.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from covey.errors import CoveyError, PlaceTaken
from covey.keys.pairs import KeyPair, PeerKeys, RoleKeys, fingerprint_of
from covey.keys.secret import Secret
from covey.node.answers import Answers
from covey.node.bridge import NodeEnd, pipe_path
from covey.node.descriptors import make_room
from covey.node.limits import NO_LIMITS, SlotLimits
from covey.node.local import LocalNode
from covey.node.machines import Machine, Machines
from covey.node.occupant import occupant_of
from covey.node.offer import Offer
from covey.node.pipes import own_pipe
from covey.node.spilling import Bound, Spilling

__all__ = ["Gate", "NodeServer", "bridge_gate"]

_log = logging.getLogger("covey.node")
_TEST_DEADLINE = 5.0
# More than a flock has, arbitrary.
_CONNECTIONS = 65536


@dataclass(frozen=True, slots=True)
class Gate:
    """Where a node or broker listens, and with which keys; `authkey`: they are made of one."""

    addresses: tuple[str, ...]
    keys: RoleKeys
    authkey: bool = False


def bridge_gate(pipe: str, find: Callable[[], Secret]) -> Gate | None:
    """The gate to which the bridge of a pipe leads, with the user's key; None for a pipe that needs no bridge.

    >>> bridge_gate("ipc:///run/user/1000/covey/lab.pipe", Secret.find) is None
    True
    """
    return Gate(("tcp://127.0.0.1:*",), find().keys()) if pipe_path(pipe) is not None else None


class NodeServer:
    """A node that serves other machines until it is told to end.

    `gate` is where it listens, `pipe` an address of `pipe_address` where it listens besides, `upstream` the broker that
    it dials. `limits`: how long a slot is kept. `bound`: what this process may have of memory. A pipe that needs a
    bridge leads to the gate's first address, which is then on 127.0.0.1.
    """

    def __init__(
        self,
        offer: Offer,
        *,
        gate: Gate | None = None,
        pipe: str | None = None,
        upstream: tuple[Sequence[Machine], PeerKeys] | None = None,
        name: str | None = None,
        slots: bool = True,
        limits: SlotLimits = NO_LIMITS,
        bound: Bound | None = None,
    ) -> None:
        make_room(connections=_CONNECTIONS)
        self._done = threading.Event()
        self._told_to_end = threading.Event()
        self._dials_broker = upstream is not None
        self._answers: Answers | None = None
        self._error: CoveyError | None = None
        bridged = pipe_path(pipe) if pipe is not None else None
        local = pipe if bridged is None else None
        self._pipe_lock = own_pipe(local) if local is not None else -1
        self._end: NodeEnd | None = None
        self._gate = gate
        self._strangers_told = 0
        self._turned_away_told = (0, "")
        self._started = False
        self._spilling: Spilling | None = None
        self.node = LocalNode(
            offer=offer if slots else _nothing_of(offer),
            name=name,
            limits=limits,
            links=True,
            far=True,
            more_addresses=(local,) if local is not None else (),
            on_leave=self._done.set,
            on_word=self._on_word,
            on_news=self._on_news,
            on_broken=self._break,
        )
        self.addresses: list[str] = []
        try:
            if name is not None:
                self.node.loop.name = name
            # Whoever dials a worker script may end it; a broker is shared.
            self.node.loop.shared = not slots
            self._answers = Answers(self.node, time.monotonic, time.time)
            if bound is not None:
                self._spilling = self._answers.spilling = Spilling(self.node.bound_loop, bound)
            if gate is not None:
                self.addresses = self._open(gate)
                if bridged is not None:
                    self._end = NodeEnd(bridged, int(self.addresses[0].rpartition(":")[2]))
            if upstream is not None:
                machines, keys = upstream
                for machine in machines:
                    self._machines.dial(machine, asks=False, keys=(keys.broker, keys.own.public, keys.own.secret))
        except BaseException:
            self.node.close(kill=True)
            if self._spilling is not None:
                self._spilling.close()
            raise

    @property
    def _machines(self) -> Machines:
        assert self.node.machines is not None
        return self.node.machines

    def _open(self, gate: Gate) -> list[str]:
        keys = gate.keys
        try:
            return self.node.open_gate(gate.addresses, keys.broker.secret, dict(keys.admitted))
        except OSError as error:
            port = int(gate.addresses[0].rpartition(":")[2].replace("*", "0"))
            if error.errno == errno.EADDRINUSE:
                who = occupant_of(port) or "another process"
                raise PlaceTaken(f"port {port} is in use by {who}: stop it, or choose another port") from None
            if error.errno == errno.EACCES:
                raise CoveyError(f"this user may not listen at port {port}: choose one above 1023") from None
            if error.errno == errno.ENODEV or error.errno == errno.EADDRNOTAVAIL:
                raise CoveyError(
                    f"{gate.addresses[0]} is no address of this machine: name one that it has, or '*'"
                ) from None
            raise

    def start(self) -> None:
        """Serves, in threads of its own; returns once strangers are known to be kept out. May be called again."""
        if self._started:
            return
        self._started = True
        self.node.start()
        if self._gate is not None:
            _try_as_stranger(self.addresses[0], self._gate.keys.broker.public, self.node)
        if self._end is not None:
            self._end.start()

    def run(self, on_ready: Callable[[], object] = lambda: None) -> None:
        """Serves until an asker ends it or a signal comes; raises what broke it. In the main thread. `on_ready` is
        called once it serves and hears signals."""
        ends = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # Under nohup it is to outlive its terminal.
            ends.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in ends}
        grace: float | None = None
        self.node.adopt(True)
        try:
            self.start()
            on_ready()
            while not self._done.wait(1.0):
                self._tell_of_strangers()
                self._tell_of_turned_away()
                if self._answers is not None:
                    self._answers.note()
            if self._told_to_end.is_set() and self._dials_broker:
                grace = self._take_leave()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.node.close(grace)
            self.close()
            self.node.adopt(False)
        if self._error is not None:
            raise self._error

    def show_jobs(self, jobs: Callable[[], list[dict[str, Any]]]) -> None:
        """Who is asked for the status tells of these, too."""
        if self._answers is not None:
            self._answers.jobs = jobs

    def places(self) -> int:
        """How many calls may run at once at the nodes that are here; from any thread."""
        return sum(sum(node["capacity"]) for node in self.node.loop.nodes() if not node["draining"])

    def fail(self, error: CoveyError) -> None:
        """Makes `run` raise the error; from any thread."""
        self._break(error)

    def stop(self) -> None:
        """Makes `run` return; from any thread."""
        self._done.set()

    def close(self) -> None:
        """Ends everything; tasks that run get the settings' grace."""
        self.node.close()
        if self._spilling is not None:
            self._spilling.close()
        if self._end is not None:
            self._end.close()
        if self._pipe_lock >= 0:
            os.close(self._pipe_lock)
            self._pipe_lock = -1

    def _on_signal(self, *_: object) -> None:
        self._told_to_end.set()
        self._done.set()

    def _take_leave(self) -> float:
        """Lets the brokers above take back what waits, and what runs finish; returns what is left of the grace."""
        deadline = time.monotonic() + self.node.settings.grace
        if self._answers is not None:
            self._answers.leaving = True
        # From here on it is an asker's STOP that sets it, or a second signal.
        self._done.clear()
        if self.node.loop.leave():
            self._done.wait(self.node.settings.grace)
        return max(0.0, deadline - time.monotonic())

    def _on_word(self, verb: str, number: int, text: str) -> None:
        if self._answers is None:
            return
        if verb == "query":
            self._answers.take(number, text)
        else:
            self._answers.hear(number, text)

    def _on_news(self) -> None:
        if self._answers is not None:
            self._answers.meet()

    def _break(self, error: CoveyError) -> None:
        self._error = error
        self._done.set()

    def _tell_of_strangers(self) -> None:
        if self._gate is None:
            return
        refused, where, broken_off = self.node.strangers()
        # One was ourselves, at the start.
        count = refused + broken_off - 1
        # At each doubling: one who calls again and again shall not fill our people's screen.
        if count >= max(1, 2 * self._strangers_told):
            self._strangers_told = count
            _log.warning(
                "somebody%s with another key, or no covey at all, was kept out (%s by now). If it is yours, give %s; "
                "the fingerprint here is %s",
                f" at {where}" if where else "", _times(count),
                "both the same authkey" if self._gate.authkey else "it this machine's key file",
                fingerprint_of(self._gate.keys.broker.public),
            )

    def _tell_of_turned_away(self) -> None:
        count, why = self.node.turned_away()
        told, told_why = self._turned_away_told
        if count > told and (why != told_why or count >= 2 * told):
            self._turned_away_told = (count, why)
            # A name that somebody else chose.
            safe = "".join(letter if letter.isprintable() else "?" for letter in why)
            _log.warning("turned away (%s by now): %s", _times(count), safe)


def _times(count: int) -> str:
    return f"{count} time{'s' * (count != 1)}"


def _nothing_of(offer: Offer) -> Offer:
    return replace(offer, cpus=0, gpus=())


def _try_as_stranger(address: str, server: bytes, node: LocalNode) -> None:
    """Knocks with a key that was made up just now: were it let in, so would be anybody."""
    from covey.broker.loop import Loop

    key = KeyPair.of(os.urandom(32))
    loop = Loop(node.settings, f"inproc://stranger-{os.urandom(8).hex()}")
    thread = threading.Thread(target=loop.run, name="covey-stranger", daemon=True)
    thread.start()
    try:
        here = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]").replace("*", "127.0.0.1")
        number = loop.dial(here, True, (server, key.public, key.secret))
        deadline = time.monotonic() + _TEST_DEADLINE
        while time.monotonic() < deadline:
            why = loop.links()[number]["why"]
            if loop.nodes():
                raise CoveyError(f"the gate at {address} let a stranger in: covey does not serve like this")
            if "refused" in why:
                return
            threading.Event().wait(0.005)
        raise CoveyError(
            f"the gate at {address} was not seen to refuse a stranger within {_TEST_DEADLINE:.0f} s ({why})"
        )
    finally:
        loop.stop()
        thread.join()
