# SPDX-License-Identifier: BSD-3-Clause
"""Callers that are no covey: hand-made messages behind the right key or a wrong one, and bare bytes on the port.

Why: what a gate does with those who break its rules cannot be asked with covey's own ends, which keep them.

May not know: covey's sockets. Guarantees: whatever is opened here is closed by `close` or by the `with` that opened it.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from covey.keys.pairs import PeerKeys
from covey.wire.protocol import KINDS, message, split

PYTHON = sys.version_info[0] << 8 | sys.version_info[1]
ASKER, DOER = 1, 2
_HELLO = struct.Struct("<BBHIIiIIIIIQI")
# So much of a greeting is enough for the other end to say all of its own.
VERSION_BYTES = 12
GREETING_BYTES = 64


def hello(role: int, *, python: int = PYTHON, name: str = "by hand") -> bytes:
    """The first message of a node or broker."""
    text = name.encode()
    return message(KINDS["HELLO"], [_HELLO.pack(role, 1, python, 1, 0, -1, 1, 0, 0, 0, 1, 0, len(text)) + text])


def kind_of(answer: bytes) -> str:
    """The name of a message's kind."""
    number, _ = split(answer)
    return next(name for name, value in KINDS.items() if value == number)


def refusal(answer: bytes) -> str:
    """The sentence of a REFUSE."""
    assert kind_of(answer) == "REFUSE"
    _, [(_, text)] = split(answer)
    return text.decode()


class Caller:
    """A DEALER with these keys, or without any. Made in the thread whose network it is to use."""

    def __init__(self, address: str, keys: PeerKeys | None = None) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.RECONNECT_IVL, -1)
        if keys is not None:
            self.socket.set(zmq.CURVE_SERVERKEY, keys.broker)
            self.socket.set(zmq.CURVE_PUBLICKEY, keys.own.public)
            self.socket.set(zmq.CURVE_SECRETKEY, keys.own.secret)
        self.socket.connect(address)

    def ask(self, data: bytes, deadline: float = 5.0) -> bytes | None:
        """The first answer but for signs of life; None if there is none."""
        self.socket.send(data)
        while self.socket.poll(int(deadline * 1000)):
            answer = self.socket.recv()
            if kind_of(answer) != "BEAT":
                return answer
        return None

    def close(self) -> None:
        self.socket.close()
        self.context.term()


@contextmanager
def caller(address: str, keys: PeerKeys | None = None) -> Iterator[Caller]:
    """A Caller for a while."""
    found = Caller(address, keys)
    try:
        yield found
    finally:
        found.close()


def greeting(mechanism: bytes) -> bytes:
    """What a ZeroMQ peer says first."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism.ljust(20, b"\0") + b"\0" + bytes(31)


def mechanism_of(line: socket.socket) -> bytes:
    """The mechanism that the other end names in its greeting, once it has been told which version we speak."""
    line.sendall(greeting(b"NULL")[:VERSION_BYTES])
    said = b""
    while len(said) < GREETING_BYTES and (data := line.recv(GREETING_BYTES - len(said))):
        said += data
    return said[VERSION_BYTES:32].rstrip(b"\0")
