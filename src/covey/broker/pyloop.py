# SPDX-License-Identifier: BSD-3-Clause
"""The broker's loop on pyzmq: the same desk and scheduler where libzmq cannot be called from C.

May not know: what a message says. Guarantees: those of `broker.loop`, but that it needs the GIL for
every message: MANDATORY, non-blocking sends, a queue of its own for each peer whose socket is full.
"""
from collections import deque

import zmq

from covey.broker.broker import Broker
from covey.link.plain import SharedContext
from covey.settings import Settings

__all__ = ["PythonLoop"]

# How soon a letter that a full socket refused is tried again.
RETRY_MS = 1


class PythonLoop(Broker):
    """A Broker whose messages pyzmq moves; `run()` it in a thread of its own.

    >>> from covey.settings import read
    >>> loop = PythonLoop(read(), "inproc://example")
    >>> loop.stop()
    >>> loop.run()
    """

    def __init__(self, settings: Settings, *addresses: str) -> None:
        self._context = SharedContext.take()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.router_mandatory = True
        self._socket.linger = 0
        self._waiting: dict[int, deque[tuple[bytes, list[bytes]]]] = {}
        try:
            for address in addresses:
                self._socket.bind(address)
        except zmq.ZMQError as error:
            self._socket.close()
            self._context.give_back()
            raise OSError(error.errno, f"binding the broker to {address}: {error}") from error

    def run(self) -> None:
        """Moves messages until `stop`, then closes the socket."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self.wake_fd, zmq.POLLIN)
        try:
            while not self.stopped:
                self._receive_all()
                wait, letters = self.pump()
                for peer, route, frames in letters:
                    self._waiting.setdefault(peer, deque()).append((route, frames))
                self._send_all()
                limit = None if wait is None else int(wait * 1000) + 1
                poller.poll(RETRY_MS if self._waiting else limit)
        finally:
            self._socket.close()
            self._context.give_back()
            self.release()

    def _receive_all(self) -> None:
        for _ in range(256):
            if not self._socket.poll(0):
                return
            route, *frames = self._socket.recv_multipart()
            self.receive(route, frames)

    def _send_all(self) -> None:
        for peer, letters in list(self._waiting.items()):
            try:
                while letters:
                    route, frames = letters[0]
                    self._socket.send_multipart([route, *frames], zmq.DONTWAIT)
                    letters.popleft()
            except zmq.Again:
                continue
            except zmq.ZMQError:
                self.unreachable(peer)
            del self._waiting[peer]
