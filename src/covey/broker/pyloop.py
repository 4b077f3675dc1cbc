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
        # By route, which is never given to a second peer as a row of the desk is.
        self._waiting: dict[bytes, deque[list[bytes]]] = {}
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
                poller.poll(self._say_all())
            # Farewells, and whatever else was said on the way out.
            self._say_all()
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

    def _say_all(self) -> int | None:
        """Decides and sends; how many milliseconds there is nothing to do then, unless something happens."""
        wait, letters = self.pump()
        for route, frames in letters:
            self._waiting.setdefault(route, deque()).append(frames)
        if not self._send_all():
            # What follows from somebody's end is decided before anything is waited for.
            return 0
        if self._waiting:
            return RETRY_MS
        return None if wait is None else int(wait * 1000) + (wait > 0)

    def _send_all(self) -> bool:
        """Sends what can be sent; False if somebody turned out to be gone."""
        all_there = True
        for route, letters in list(self._waiting.items()):
            try:
                while letters:
                    self._socket.send_multipart([route, *letters[0]], zmq.DONTWAIT)
                    letters.popleft()
            except zmq.Again:
                continue
            except zmq.ZMQError:
                self.unreachable(route)
                all_there = False
            del self._waiting[route]
        return all_there
