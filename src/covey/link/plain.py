# SPDX-License-Identifier: BSD-3-Clause
"""An end of a link whose messages pyzmq moves: the way where libzmq cannot be called from C.

Why: on some platforms (Windows wheels) pyzmq hides libzmq's functions. The ends, the desk and the
scheduler are the same compiled code; only the thread that owns the socket is this one, in Python. It
needs the GIL for each message, so it is slower and, while user code keeps the GIL, it waits.

May not know: what a message says. Guarantees: one thread touches the socket; it ends when the end is
closed and what was to be sent is sent.
"""
import os
import threading
from typing import Protocol

import zmq

__all__ = ["PlainLink", "context_of_process"]

# So long a closing link may take to send its last messages, in milliseconds.
LAST_MESSAGES_MS = 2000

_lock = threading.Lock()
_context: zmq.Context[zmq.Socket[bytes]] | None = None
_owner = 0


def context_of_process() -> zmq.Context[zmq.Socket[bytes]]:
    """The context that all plain links of this process share, since `inproc://` needs one for both ends."""
    global _context, _owner
    with _lock:
        if _context is None or _owner != os.getpid():
            _context = zmq.Context()
            _owner = os.getpid()
        return _context


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
        self._socket = context_of_process().socket(zmq.DEALER)
        self._socket.linger = LAST_MESSAGES_MS
        self._socket.sndhwm = self._socket.rcvhwm = 0
        self._socket.connect(address)

    def run(self) -> None:
        """Until the end is closed."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._end.wake_fd, zmq.POLLIN)
        try:
            while True:
                closed = self._end.closed
                for frames in self._end.letters():
                    self._socket.send_multipart(frames)
                if closed:
                    return
                while self._socket.poll(0):
                    self._end.feed(self._socket.recv_multipart())
                # A batch that nobody flushes leaves within a few milliseconds.
                poller.poll(5)
        finally:
            self._socket.close()
