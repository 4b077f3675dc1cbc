# SPDX-License-Identifier: BSD-3-Clause
"""What pyzmq costs by itself: client → router → worker → router → client over ipc, in the least Python that does it.

Why: covey cannot be faster than its transport with wake-ups of the same number, so this is what its round trip is
held against. The router is one ROUTER socket and a list of idle workers; the last one idle is the first to
work, whose caches are warm. No credit, no errors, no deaths: a floor, not a library.
"""

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import zmq

from benchmarks.peers.base import Peer

__all__ = ["RouterProcess", "RouterThread"]

READY = b""
STOP = b"stop"


def route(address: str, slots: int, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Passes [payload] of the client on to an idle worker, and its answer back, until the client says stop."""
    socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
    socket.linger = 1000
    socket.bind(address)
    idle: list[bytes] = []
    waiting: list[list[bytes]] = []
    while True:
        sender, *frames = socket.recv_multipart()
        if len(frames) == 2:
            asker, payload = frames
            if payload != READY:
                socket.send_multipart([asker, payload])
            idle.append(sender)
        elif frames[0] == STOP:
            break
        else:
            waiting.append([sender, frames[0]])
        while waiting and idle:
            socket.send_multipart([idle.pop(), *waiting.pop(0)])
    for worker in idle:
        socket.send_multipart([worker, b"", STOP])
    socket.close()


def work(address: str) -> None:
    """One worker: unpickles (number, function, arguments), calls, answers (number, value)."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.connect(address)
    socket.send_multipart([b"", READY])
    while True:
        asker, payload = socket.recv_multipart()
        if payload == STOP:
            return
        number, function, arguments = pickle.loads(payload)
        socket.send_multipart([asker, pickle.dumps((number, function(*arguments)), 5)])


class Bare(Peer):
    """Both kinds; handles are numbers."""

    closures = False
    in_thread: ClassVar[bool]

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.number = 0
        self.arrived: dict[int, Any] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.thread: threading.Thread | None = None

    def start(self, slots: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="bare-")
        address = "ipc://" + os.path.join(self.folder.name, "router")
        if self.in_thread:
            self.thread = threading.Thread(target=route, args=(address, slots, self.context))
            self.thread.start()
        else:
            self.processes.append(_python("route", address, slots))
        self.processes.extend(_python("work", address, slots) for _ in range(slots))
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.connect(address)

    def close(self) -> None:
        self.socket.send(STOP)
        for process in self.processes:
            process.wait(10)
        if self.thread is not None:
            self.thread.join(10)
        self.socket.close()
        self.context.term()
        self.folder.cleanup()

    def submit(self, function: Callable[..., Any], item: Any) -> int:
        self.number += 1
        self.socket.send(pickle.dumps((self.number, function, (item,)), 5))
        return self.number

    def result(self, handle: int) -> Any:
        while handle not in self.arrived:
            number, value = pickle.loads(self.socket.recv())
            self.arrived[number] = value
        return self.arrived.pop(handle)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return self.collect(self.submit_all(function, items))


class RouterThread(Bare):
    """The router is a thread of the client's process."""

    in_thread = True


class RouterProcess(Bare):
    """The router is a process of its own."""

    in_thread = False


def _python(role: str, address: str, slots: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "benchmarks.peers.bare", role, address, str(slots)])


if __name__ == "__main__":
    if sys.argv[1] == "route":
        route(sys.argv[2], int(sys.argv[3]), zmq.Context.instance())
    else:
        work(sys.argv[2])
