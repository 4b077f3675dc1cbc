# SPDX-License-Identifier: BSD-3-Clause
"""The bridge between a pipe of `multiprocessing.connection` and covey's streams: how named pipes work on Windows.

Why: libzmq has no Windows pipes, and these reach other machines by log-on, without a port. `NodeEnd` waits at the pipe
and joins each caller to a connection of its own to the node's gate on 127.0.0.1; `ClientEnd` is a port on 127.0.0.1
whose every caller is joined to the pipe. What flows is CURVE from the client's loop to the node's, so neither end, nor
another user who finds one of the two ports, can read it or gets in without the key.

May not know: loops, keys, messages. Guarantees: bytes stay in order, at most `PORTION` of them a direction are held
here; when either side of a joined pair ends, so does the other; after `close` no thread and no descriptor is left.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener, Pipe, wait
from typing import Any

from covey.errors import PlaceTaken

__all__ = ["MOST_PAIRS", "PORTION", "ClientEnd", "NodeEnd", "pipe_path"]

PORTION = 1 << 16
# Each is two threads. A client is one pair, so this is far beyond use; it bounds what a stranger at the port can cost.
MOST_PAIRS = 256
_SCHEME = "pipe:"
_HERE = "127.0.0.1"


def pipe_path(address: str) -> str | None:
    r"""What stands behind `pipe:` in an address that is reached over a bridge; None for all others.

    >>> print(pipe_path(r"pipe:\\lab7\pipe\covey"))
    \\lab7\pipe\covey
    """
    return address.removeprefix(_SCHEME) if address.startswith(_SCHEME) else None


class _Pair:
    """A stream and a pipe, joined. Two threads, one a direction; the last of them closes both."""

    def __init__(self, stream: socket.socket, pipe: Connection[Any, Any], on_end: Callable[[_Pair], object]) -> None:
        self._stream = stream
        self._pipe = pipe
        self._on_end = on_end
        # A read from a Windows pipe cannot be broken off; a wait for it can.
        self._bell, self._ring = Pipe(duplex=False)
        self._lock = threading.Lock()
        self._over = False
        self._running = 2

    def start(self) -> None:
        for pump in (self._to_pipe, self._to_stream):
            threading.Thread(target=self._run, args=(pump,), name="covey-bridge", daemon=True).start()

    def _run(self, pump: Callable[[], None]) -> None:
        # An error means that one side is gone, which is how pairs end.
        with contextlib.suppress(OSError, EOFError):
            pump()
        self.hang_up()
        with self._lock:
            self._running -= 1
            is_last = self._running == 0
        if is_last:
            for side in (self._stream, self._pipe, self._bell):
                side.close()
            self._on_end(self)

    def _to_pipe(self) -> None:
        while data := self._stream.recv(PORTION):
            self._pipe.send_bytes(data)

    def _to_stream(self) -> None:
        while self._bell not in wait([self._pipe, self._bell]):
            self._stream.sendall(self._pipe.recv_bytes(PORTION))

    def hang_up(self) -> None:
        """Ends both sides; from any thread."""
        with self._lock:
            if self._over:
                return
            self._over = True
            self._ring.close()
            with contextlib.suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)
            if os.name == "posix":
                # There a message may be half there, and whoever waits for the rest is deaf to the bell.
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._pipe.fileno())) as side:
                    side.shutdown(socket.SHUT_RDWR)


class _End:
    """What both ends do: they take callers in, one after the other, join each, and keep the pairs."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pairs: set[_Pair] = set()
        self._joining = 0
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="covey-bridge", daemon=True)

    @property
    def pairs(self) -> int:
        """How many callers are joined now."""
        with self._changed:
            return len(self._pairs)

    def start(self) -> None:
        """Takes callers in, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Ends all pairs and takes nobody in any more; may be called again."""
        with self._changed:
            was, self._closed = self._closed, True
        if was:
            return
        if self._thread.ident is not None:
            # Nothing else wakes whoever waits for a caller, on every system.
            with contextlib.suppress(OSError):
                self._call()
            self._thread.join()
        self._stop_listening()
        with self._changed:
            self._changed.wait_for(lambda: not self._joining)
            pairs = list(self._pairs)
        for pair in pairs:
            pair.hang_up()
        with self._changed:
            self._changed.wait_for(lambda: not self._pairs)

    def _serve(self) -> None:
        while True:
            try:
                caller = self._accept()
            except OSError:
                # One who left before he was let in, or too many open files: the next may be luckier, a little later.
                with self._changed:
                    if self._changed.wait_for(lambda: self._closed, 0.1):
                        return
                continue
            with self._changed:
                is_welcome = not self._closed and len(self._pairs) + self._joining < MOST_PAIRS
                self._joining += is_welcome
                closed = self._closed
            if is_welcome:
                threading.Thread(target=self._take_in, args=(caller,), name="covey-bridge", daemon=True).start()
            else:
                caller.close()
            if closed:
                return

    def _take_in(self, caller: Any) -> None:
        pair: _Pair | None = None
        try:
            pair = self._join(caller)
        except (OSError, EOFError):
            # Nobody is at the other side: the caller is hung up on, and calls again when it likes.
            caller.close()
        with self._changed:
            self._joining -= 1
            if pair is not None:
                self._pairs.add(pair)
            self._changed.notify_all()
        if pair is not None:
            pair.start()

    def _forget(self, pair: _Pair) -> None:
        with self._changed:
            self._pairs.discard(pair)
            self._changed.notify_all()

    def _accept(self) -> Any:
        raise NotImplementedError

    def _join(self, caller: Any) -> _Pair:
        raise NotImplementedError

    def _call(self) -> None:
        raise NotImplementedError

    def _stop_listening(self) -> None:
        raise NotImplementedError


class NodeEnd(_End):
    """Waits at the pipe `path`, and joins each caller to the node's gate at `port` on 127.0.0.1. PlaceTaken if another
    has the pipe.

    >>> NodeEnd(r"\\\\.\\pipe\\covey", 40123, "AF_PIPE")      # doctest: +SKIP
    """

    def __init__(self, path: str, port: int, family: str | None = None) -> None:
        super().__init__()
        self._path = path
        self._port = port
        self._family = family
        try:
            self._listener = Listener(path, family, backlog=16)
        except OSError as error:
            raise PlaceTaken(
                f"the named pipe {path} cannot be had ({error.strerror or error}): another process may serve it, so "
                "stop that one, or choose another name"
            ) from None

    def _accept(self) -> Any:
        return self._listener.accept()

    def _join(self, caller: Any) -> _Pair:
        return _Pair(socket.create_connection((_HERE, self._port)), caller, self._forget)

    def _call(self) -> None:
        Client(self._path, self._family).close()

    def _stop_listening(self) -> None:
        self._listener.close()


class ClientEnd(_End):
    """A port on 127.0.0.1, at `address`; each of its callers is joined to the pipe `path`, which is dialled for it.

    >>> ClientEnd(r"\\\\lab7\\pipe\\covey", "AF_PIPE").address    # doctest: +SKIP
    'tcp://127.0.0.1:40124'
    """

    def __init__(self, path: str, family: str | None = None) -> None:
        super().__init__()
        self._path = path
        self._family = family
        self._listener = socket.create_server((_HERE, 0))
        self.address = f"tcp://{_HERE}:{self._listener.getsockname()[1]}"

    def _accept(self) -> Any:
        return self._listener.accept()[0]

    def _join(self, caller: Any) -> _Pair:
        return _Pair(caller, Client(self._path, self._family), self._forget)

    def _call(self) -> None:
        socket.create_connection(self._listener.getsockname()).close()

    def _stop_listening(self) -> None:
        self._listener.close()
