# SPDX-License-Identifier: BSD-3-Clause
"""One end of a link to the broker's loop, moved by pyzmq.

Why not the compiled ends: an asker's holders are futures of this process, and a doer runs one task at a time. The
journal is neither, and its pace is the disk's.

May not know: what a message is for. Guarantees: never waits.
"""
from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import zmq

from covey.wire.protocol import KINDS, message
from covey.wire.records import hello

__all__ = ["EXTRA", "NAMES", "Mailbox"]

EXTRA = 1
NAMES = {number: name for name, number in KINDS.items()}
_RECORDS = 256
_BYTES = 1 << 16
# Messages taken in at one look, so that one busy link does not keep the others waiting.
_LOOK = 256
_LINGER_MS = 500


class Mailbox:
    """A DEALER at the loop's own address, as one who asks, or (`capacity`) as a journal."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, name: str, capacity: int = 0) -> None:
        self._context = context
        self._address = address
        self._hello = hello(not capacity, os.getpid(), name.encode()[:255], capacity)
        self.socket = self._dial()

    def _dial(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = _LINGER_MS
        # Credit bounds what goes. What comes waits at the loop, where who takes nothing gets nothing more.
        socket.sndhwm = 0
        socket.rcvhwm = _LOOK
        socket.connect(self._address)
        socket.send(message(KINDS["HELLO"], [self._hello]))
        return socket

    def begin_again(self) -> None:
        """The loop does not know this link any more; it will not know it again, but another one."""
        self.socket.close()
        self.socket = self._dial()

    def send(self, kind: str, record: bytes, frames: Sequence[Any] = ()) -> None:
        """A message of one record."""
        head = message(KINDS[kind], [record], EXTRA if frames else 0)
        self.socket.send_multipart([head, *frames], copy=False)

    def send_all(self, kind: str, records: Sequence[bytes]) -> None:
        """Records of one kind, in as many messages as is right."""
        at = 0
        while at < len(records):
            size, end = 0, at
            while end < len(records) and end - at < _RECORDS and size < _BYTES:
                size += len(records[end])
                end += 1
            self.socket.send(message(KINDS[kind], list(records[at:end])))
            at = end

    def say(self, kind: str) -> None:
        """A message without records."""
        self.socket.send(message(KINDS[kind], []))

    def receive(self) -> list[list[bytes]]:
        """What has come, a few hundred messages at most."""
        found: list[list[bytes]] = []
        try:
            while len(found) < _LOOK:
                found.append(self.socket.recv_multipart(zmq.DONTWAIT))
        except zmq.Again:
            pass
        return found

    def close(self) -> None:
        """Says BYE and ends."""
        self.send("BYE", bytes(8))
        self.socket.close()
