# SPDX-License-Identifier: BSD-3-Clause
"""A TCP proxy on this machine that can be slow, stop, hang up in the middle of a word, and be good again.

Why: a program that has only ever seen its own loopback has never seen a network. Put this between any two ends of a TCP
connection, covey's or others', and see what they do about it. What goes through is only moved, never looked at.

    callers ──▶ proxy.address ── delay ── rate ── cut? ──▶ target       and the same the other way

Guarantees: it listens on 127.0.0.1 only; a thread of its own does the work, and it and every connection are gone after
`close`; what its methods order holds for whatever arrives after they have returned.
"""
from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

__all__ = ["Proxy"]

# What is taken from one end at once: small, so that a slow link is slow evenly.
_SIP = 16 << 10
# What may be under way in one direction, in sips; a sender waits for room, as it would on a real link.
_UNDER_WAY = 16
# What the kernel takes in for us. Its own choice is megabytes between two processes of one machine: a link with a rate
# would be one with seconds of queue before it.
_BUFFER = 128 << 10
_PATIENCE = 10.0


class Proxy:
    """Leads from `address` to `target` while its `with` lasts.

    Parameters:
        target: 'tcp://host:port', or 'host:port'.
        delay: seconds that every byte takes, each way. May be set later, too.
        rate: bytes in a second, each way, of all connections together; None: no limit. May be set later, too.

    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     with Proxy(f"127.0.0.1:{server.getsockname()[1]}") as proxy:
    ...         host, _, port = proxy.address.removeprefix("tcp://").partition(":")
    ...         with socket.create_connection((host, int(port))) as caller:
    ...             caller.sendall(b"hello")
    ...             line, _ = server.accept()
    ...             line.recv(5), line.close()
    (b'hello', None)
    """

    def __init__(self, target: str, *, delay: float = 0.0, rate: float | None = None) -> None:
        self._host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._port = int(port)
        self.delay = delay
        self.rate = rate
        # Bytes that went through so far, and connections that were ever made.
        self.moved = 0
        self.accepted = 0
        self._until_hang_up: int | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self._writers: dict[asyncio.StreamWriter, bool] = {}
        # When each direction is free for the next bytes.
        self._free = {True: 0.0, False: 0.0}
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="covey-proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Proxy at {self.address} for {self._host}:{self._port}>"

    def cut(self) -> None:
        """Pulls the cable: nothing moves in any direction, and nobody is told. New connections are like the old."""
        self._do(self._whole.clear)

    def restore(self) -> None:
        """Puts it back: what waited goes on."""
        self._do(self._whole.set)

    def hang_up(self, after: int = 0) -> None:
        """Resets all connections once so many more bytes have gone through: in the middle of a message, if need be.
        New ones are served."""
        self._do(lambda: self._hang_up(after))

    def half_close(self) -> None:
        """Tells the target that nothing more comes, on every connection there is; what it says still goes back."""
        self._do(self._half_close)

    def close(self) -> None:
        """Ends all connections, and the proxy. May be called again."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _do(self, order: Callable[[], None]) -> None:
        """In the proxy's thread; returns when it is done."""
        done = threading.Event()

        def do() -> None:
            order()
            done.set()

        if not self._thread.is_alive():
            raise RuntimeError(f"{self!r} is closed: nothing goes through it any more")
        self._loop.call_soon_threadsafe(do)
        done.wait(_PATIENCE)

    def _hang_up(self, after: int) -> None:
        self._until_hang_up = after
        if not after:
            self._reset()

    def _half_close(self) -> None:
        for writer, outward in self._writers.items():
            if outward and not writer.is_closing():
                writer.write_eof()

    def _reset(self) -> None:
        self._until_hang_up = None
        for writer in self._writers:
            _reset(writer)

    def _serve(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._take, sock=listener))
        try:
            self._loop.run_forever()
        finally:
            server.close()
            self._reset()
            for line in self._lines:
                line.cancel()
            self._loop.run_until_complete(asyncio.gather(*self._lines, return_exceptions=True))
            # Transports close their sockets one turn after they were aborted.
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        self.accepted += 1
        self._writers[writer] = False
        there = None
        try:
            await self._whole.wait()
            back, there = await asyncio.open_connection(sock=await self._dial())
            self._writers[there] = True
            await asyncio.gather(self._move(reader, there, outward=True), self._move(back, writer, outward=False))
        except (OSError, asyncio.CancelledError):
            # One end is gone or was never there, and the other is to feel it.
            _reset(writer)
        finally:
            for end in (writer, there):
                if end is not None:
                    del self._writers[end]
                    end.transport.abort()
            self._lines.discard(line)

    async def _dial(self) -> socket.socket:
        line = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        try:
            await self._loop.sock_connect(line, (self._host, self._port))
        except BaseException:
            line.close()
            raise
        return line

    async def _move(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, outward: bool) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_UNDER_WAY)

        async def take() -> None:
            data = b"?"
            while data:
                data = await reader.read(_SIP)
                await under_way.put((self._loop.time() + self.delay, data))

        taking = asyncio.ensure_future(take())
        try:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                await self._whole.wait()
                if not data:
                    break
                await self._pace(len(data), outward)
                await self._whole.wait()
                await self._put(writer, data)
            if writer.can_write_eof() and not writer.is_closing():
                writer.write_eof()
        finally:
            taking.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await taking

    async def _pace(self, size: int, outward: bool) -> None:
        if self.rate:
            now = self._loop.time()
            self._free[outward] = max(now, self._free[outward]) + size / self.rate
            await asyncio.sleep(self._free[outward] - now)

    async def _put(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        left = self._until_hang_up
        if left is not None and len(data) >= left:
            writer.write(data[:left])
            await writer.drain()
            self._reset()
            raise ConnectionResetError
        if left is not None:
            self._until_hang_up = left - len(data)
        # Before: whoever has the bytes may look at once.
        self.moved += len(data)
        writer.write(data)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection by a RST, which no one takes for a polite end."""
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
