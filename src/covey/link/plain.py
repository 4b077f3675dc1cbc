# SPDX-License-Identifier: BSD-3-Clause
"""An end of a link whose messages pyzmq moves: the way where libzmq cannot be called from C.

Why: on some platforms (Windows wheels) pyzmq hides libzmq's functions. The ends, the desk and the
scheduler are the same compiled code; only the thread that owns the socket is this one, in Python. It
needs the GIL for each message, so it is slower and, while user code keeps the GIL, it waits.

May not know: what a message says. Guarantees: one thread touches the socket; it ends when the end is
closed and what was to be sent is sent.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import ClassVar, Protocol

import zmq

__all__ = ["PlainLink", "SharedContext"]

# So long a closing link may take to send its last messages, in milliseconds.
LAST_MESSAGES_MS = 2000


class SharedContext:
    """The context that all plain links of this process share, since `inproc://` needs one for both ends.

    The last to give it back ends it. A forked child must not touch its parent's.
    """

    _lock = threading.Lock()
    _now: ClassVar[SharedContext | None] = None

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._users = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    @classmethod
    def take(cls) -> SharedContext:
        """The context, one user more on it."""
        with cls._lock:
            if cls._now is None or cls._now._owner != os.getpid():
                cls._now = cls()
            cls._now._users += 1
            return cls._now

    def socket(self, kind: int) -> zmq.Socket[bytes]:
        """A new socket in it."""
        return self._context.socket(kind)

    def give_back(self) -> None:
        """One user less; waits for what closed sockets still have to send."""
        with self._lock:
            self._users -= 1
            if self._users or self._owner != os.getpid():
                return
            SharedContext._now = None
        self._context.term()


class End(Protocol):
    """What a compiled end offers to whoever moves its messages."""

    @property
    def wake_fd(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    def feed(self, frames: list[bytes]) -> None: ...
    def letters(self) -> list[list[bytes]]: ...


class PlainLink:
    """Moves the messages of `end` through a DEALER that is connected to `address`; `run` is a thread's target."""

    def __init__(self, end: End, address: str) -> None:
        self._end = end
        self._context = SharedContext.take()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = LAST_MESSAGES_MS
        self._socket.sndhwm = self._socket.rcvhwm = 0
        self._socket.connect(address)

    def run(self) -> None:
        """Until the end is closed."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._end.wake_fd, zmq.POLLIN)
        waiting: deque[list[bytes]] = deque()
        try:
            while True:
                closed = self._end.closed
                waiting.extend(self._end.letters())
                self._send(waiting)
                if closed:
                    return
                while self._socket.poll(0):
                    self._end.feed(self._socket.recv_multipart())
                # A batch that nobody flushes leaves within a few milliseconds.
                poller.poll(5)
        finally:
            self._socket.close()
            self._context.give_back()

    def _send(self, waiting: deque[list[bytes]]) -> None:
        """What the socket takes without waiting: a broker that is gone must not keep this thread."""
        try:
            while waiting:
                self._socket.send_multipart(waiting[0], zmq.DONTWAIT)
                waiting.popleft()
        except zmq.Again:
            pass
