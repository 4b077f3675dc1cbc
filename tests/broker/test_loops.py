# SPDX-License-Identifier: BSD-3-Clause
"""The two loops that move a broker's messages, at the moments where a wake-up or a farewell could be lost."""
import os
import resource
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from covey.broker.broker import Broker
from covey.broker.loop import Loop
from covey.broker.pyloop import PythonLoop
from covey.settings import Settings
from covey.wire.protocol import KINDS, message, split
from waiting import DEADLINE, wait_until

ASKER, DOER = 1, 2
NAMES = {number: name for name, number in KINDS.items()}
PYTHON = sys.version_info[0] << 8 | sys.version_info[1]
# More than libzmq and the kernel take for one peer who reads nothing.
MANY = 50_000


class Station:
    """A loop in a thread, and those who talk to it, message by message."""

    def __init__(self, loop: Loop | PythonLoop, address: str) -> None:
        self.loop = loop
        self.address = address
        self.thread = threading.Thread(target=loop.run, daemon=True)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.sockets: list[zmq.Socket[bytes]] = []

    def join(self, role: int, name: bytes, places: int = 0) -> "zmq.Socket[bytes]":
        """A loop above or below that connects, and has been welcomed."""
        socket = self.context.socket(zmq.DEALER)
        self.sockets.append(socket)
        socket.rcvhwm = 1
        socket.connect(self.address)
        hello = struct.pack("<BBHIIiIIIIIQI", role, 1, PYTHON, 7, 0, -1, places, 0, 0, 0, 100, 0, len(name)) + name
        say(socket, "HELLO", hello)
        hear(socket, "WELCOME")
        return socket

    def end(self) -> None:
        """Waits until the loop has ended by itself."""
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive(), "the loop does not end"

    def close(self) -> None:
        for socket in self.sockets:
            socket.close(linger=0)
        self.context.term()
        self.loop.stop()
        # A second ring, for a loop that has lost the first.
        self.loop.stop_slots()
        if self.thread.ident is not None:
            self.end()


def say(socket: "zmq.Socket[bytes]", kind: str, *records: bytes) -> None:
    socket.send(message(KINDS[kind], list(records)))


def hear(socket: "zmq.Socket[bytes]", kind: str) -> list[tuple[bytes, bytes]]:
    """The records of the next message of this kind; what comes before it is passed over."""
    others = []
    while socket.poll(int(DEADLINE * 1000)):
        number, records = split(socket.recv_multipart()[0])
        if NAMES[number] == kind:
            return records
        others.append(NAMES[number])
    raise AssertionError(f"no {kind} within {DEADLINE} s, only {others}")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Station]]:
    with ExitStack() as stack:

        def run(make: Callable[..., Loop | PythonLoop], **settings: float) -> Station:
            address = f"ipc://{tmp_path}/broker"
            station = Station(make(Settings(**settings), address), address)
            stack.callback(station.close)
            station.thread.start()
            return station

        yield run


both = pytest.mark.parametrize("make", [Loop, PythonLoop], ids=["native", "on pyzmq"])


class StopsBeforeItHears(PythonLoop):
    """One that is told to stop within its turn, just before it drains its bell."""

    def pump(self) -> tuple[float | None, list[tuple[bytes, list[bytes]]]]:
        self.stop()
        return super().pump()


class StopsAfterItHeard(PythonLoop):
    """One that is told to stop within its turn, when it has drained its bell."""

    def pump(self) -> tuple[float | None, list[tuple[bytes, list[bytes]]]]:
        found = super().pump()
        self.stop()
        return found


@pytest.mark.parametrize("make", [StopsBeforeItHears, StopsAfterItHeard])
def test_a_stop_in_the_middle_of_a_turn_is_not_lost(make: type[PythonLoop], run: Callable[..., Station]) -> None:
    run(make).end()


class Held(PythonLoop):
    """One that stops in its turn, when it knows what to say, until it may go on."""

    def __init__(self, settings: Settings, address: str) -> None:
        super().__init__(settings, address)
        self.holds = False
        self.held = threading.Event()
        self.go_on = threading.Event()

    def pump(self) -> tuple[float | None, list[tuple[bytes, list[bytes]]]]:
        found = super().pump()
        if self.holds:
            self.held.set()
            assert self.go_on.wait(DEADLINE)
        return found


def test_a_farewell_right_before_the_stop_is_said(run: Callable[..., Station]) -> None:
    station = run(Held)
    loop = station.loop
    assert isinstance(loop, Held)
    above = station.join(ASKER, b"above")
    loop.holds = True
    loop.stop_slots()
    assert loop.held.wait(DEADLINE)
    loop.say_bye()
    loop.stop()
    loop.go_on.set()
    hear(above, "BYE")


@both
def test_letters_that_wait_are_a_peers_and_not_its_rows(
    make: Callable[..., Loop | PythonLoop], run: Callable[..., Station]
) -> None:
    station = run(make)
    first = station.join(DOER, b"first", 1)
    for _ in range(MANY):
        station.loop.stop_nodes()
    # It reads nothing of all that, and leaves.
    say(first, "BYE", struct.pack("<II", 0, 0))
    wait_until(lambda: station.loop.nodes() == [], station.loop.nodes)
    # It gets the same row, and a welcome of its own.
    second = station.join(DOER, b"second", 1)
    assert not isinstance(station.loop, PythonLoop) or station.loop._waiting
    first.close(linger=0)
    if isinstance(station.loop, PythonLoop):
        wait_until(lambda: not station.loop._waiting, lambda: station.loop._waiting.keys())
    node, = station.loop.nodes()
    assert node["name"] == "second"
    assert station.loop.ask(node["handle"], "who")
    hear(second, "QUERY")


@both
def test_what_ran_at_one_who_is_found_gone_is_given_to_another_at_once(
    make: Callable[..., Loop | PythonLoop], run: Callable[..., Station]
) -> None:
    # Nothing else wakes this loop: it neither says that it is there nor looks whether the others are.
    station = run(make, pause=0.0, beat_every=600.0)
    above = station.join(ASKER, b"above")
    gone = station.join(DOER, b"gone", 1)
    say(above, "FUNCTION", struct.pack("<II16s", 1, 1, bytes(16)) + b"f")
    say(above, "TASKS", struct.pack("<QIIhBBBBBHIIQ", 1, 1, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0) + b"x")
    (token, _), = hear(gone, "TASKS")
    say(gone, "STARTED", token[:8])
    wait_until(lambda: station.loop.totals()["running"] == 1, station.loop.totals)
    there = station.join(DOER, b"there", 1)
    gone.close(linger=0)

    def noticed() -> bool:
        if len(station.loop.nodes()) == 1:
            return True
        # Whether it is gone is found out when something is sent there.
        station.loop.stop_nodes()
        return False

    wait_until(noticed, station.loop.nodes)
    hear(there, "TASKS")


def test_a_broker_that_gets_no_pipes_says_so_and_closes_nobody_elses() -> None:
    used, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    # Enough for the first pipe.
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 3, hard))
    try:
        with pytest.raises(OSError, match="too many open files"):
            Broker(Settings())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
    os.fstat(0)


@both
def test_who_shares_a_loop_does_not_end_it(
    make: Callable[..., Loop | PythonLoop], run: Callable[..., Station]
) -> None:
    station = run(make)
    above = station.join(ASKER, b"above")
    station.loop.shared = True
    before = station.loop.totals()
    say(above, "STOP")
    wait_until(lambda: station.loop.totals()["messages_in"] > before["messages_in"], station.loop.totals)
    station.loop.shared = False
    assert station.loop.take_orders() == []
    assert station.loop.totals()["malformed"] == before["malformed"]
    say(above, "STOP")
    found: list[tuple[str, int, bytes]] = []
    wait_until(lambda: found.extend(station.loop.take_orders()) or found)
    assert found == [("leave", 0, b"")]


def test_a_bell_that_was_given_back_is_not_rung_any_more() -> None:
    """Doors that are used while the descriptors go: the next to open a file gets their numbers, and no byte of ours."""
    for _ in range(200):
        broker = Broker(Settings())
        go_on = threading.Barrier(2)
        over = threading.Event()

        def ring(broker: Broker = broker, go_on: threading.Barrier = go_on, over: threading.Event = over) -> None:
            go_on.wait(DEADLINE)
            while not over.is_set():
                broker.say_bye()
                broker.stop()
                broker.read_news()

        thread = threading.Thread(target=ring)
        thread.start()
        go_on.wait(DEADLINE)
        broker.release()
        pipes = [os.pipe() for _ in range(3)]
        broker.stop_slots()
        over.set()
        thread.join()
        try:
            for reading, _ in pipes:
                os.set_blocking(reading, False)
                with pytest.raises(BlockingIOError):
                    os.read(reading, 1)
        finally:
            for end in (end for pipe in pipes for end in pipe):
                os.close(end)
