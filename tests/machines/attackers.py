# SPDX-License-Identifier: BSD-3-Clause
"""Attackers: strangers who send bytes to a gate, over bare sockets, for as long as a test lets them.

Why: what a stranger can make a node hold, or keep it from doing, is decided before there is any message; so this is
written against ZMTP's bytes and not against covey's.

May not know: covey. Guarantees: `Attack` ends with its `with`; a connection that the gate hangs up is made anew.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from callers import VERSION_BYTES, greeting
from waiting import wait_until

MIB = 1 << 20
_MORE, _LONG, _COMMAND = 1, 2, 4
_ANNOUNCED = 400 * MIB
_CHUNK = bytes(64 << 10)

Weapon = Callable[[], Iterator[bytes]]


def unfinished_multipart() -> Iterator[bytes]:
    """Small frames that always promise another one, before any handshake."""
    yield greeting(b"CURVE")
    frame = bytes((_MORE | _LONG,)) + struct.pack(">Q", MIB) + bytes(MIB)
    for _ in range(_ANNOUNCED // MIB):
        yield frame


def one_huge_message() -> Iterator[bytes]:
    """A frame of 400 MB."""
    yield greeting(b"CURVE")
    yield from _huge(_LONG)


def one_huge_command() -> Iterator[bytes]:
    """The same as a command, which is what a handshake is made of."""
    yield greeting(b"CURVE")
    yield from _huge(_LONG | _COMMAND)


def _huge(flags: int) -> Iterator[bytes]:
    yield bytes((flags,)) + struct.pack(">Q", _ANNOUNCED)
    for _ in range(_ANNOUNCED // len(_CHUNK)):
        yield _CHUNK


def half_handshake() -> Iterator[bytes]:
    """A greeting, and the first half of a HELLO of CURVE."""
    yield greeting(b"CURVE")
    yield bytes((_COMMAND, 200)) + b"\5HELLO\1\0" + bytes(90)
    yield b""


def random_bytes() -> Iterator[bytes]:
    """Whatever."""
    for _ in range(64):
        yield os.urandom(1 << 16)


def web_browser() -> Iterator[bytes]:
    """Somebody who took the port for a web server's."""
    yield b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n"
    yield b""


def idler() -> Iterator[bytes]:
    """Somebody who says nothing."""
    yield b""


def half_greeting() -> Iterator[bytes]:
    """Somebody who stops in the middle of the first words."""
    yield greeting(b"CURVE")[:VERSION_BYTES]
    yield b""


class Attack:
    """Connections, one for each weapon, until `with` ends. An empty string is a wait for the gate to hang up."""

    def __init__(self, connect: Callable[[], socket.socket], weapons: list[Weapon]) -> None:
        self._connect = connect
        self._weapons = weapons
        self._over, self._end = os.pipe()
        self._threads = [threading.Thread(target=self._fight, args=(weapon,)) for weapon in weapons]
        self._lock = threading.Lock()
        # By weapon: how often the gate hung up.
        self.hung_up: Counter[str] = Counter()

    def __enter__(self) -> Attack:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._end)
        for thread in self._threads:
            thread.join()
        os.close(self._over)

    def wait_hung_up(self, times: int = 1) -> None:
        """Waits until the gate has hung up on each weapon so many times."""
        names = [weapon.__name__ for weapon in self._weapons]
        wait_until(lambda: all(self.hung_up[name] >= times for name in names), lambda: self.hung_up)

    def _fight(self, weapon: Weapon) -> None:
        while not self._is_over(0.0):
            try:
                line = self._connect()
            except OSError:
                continue
            with line, contextlib.suppress(OSError):
                line.setblocking(False)
                if self._spend(line, weapon()):
                    return
            with self._lock:
                self.hung_up[weapon.__name__] += 1

    def _is_over(self, seconds: float) -> bool:
        return bool(select.select([self._over], [], [], seconds)[0])

    def _spend(self, line: socket.socket, weapon: Iterator[bytes]) -> bool:
        """True when the attack is over; returns or raises OSError when the gate has hung up."""
        for data in weapon:
            left = memoryview(data)
            while left or not data:
                ready, writable, _ = select.select([line, self._over], [line] if left else [], [])
                if self._over in ready:
                    return True
                if line in ready and not line.recv(1 << 16):
                    return False
                if writable:
                    left = left[line.send(left):]
        return False
