# SPDX-License-Identifier: BSD-3-Clause
"""A cable that loses packets: between a host and the bridge stands a thread that passes frames on, or does not.

Why not netem: kernels of containers and small machines are built without it. What is lost here is lost below TCP, as on
a bad network, and TCP does about it what it does there.

May not know: covey. Guarantees: as `Namespaces.mend` would find it after `close`; the same seed drops the same share.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from namespaces import Namespaces, run_ip

_SIOCETHTOOL = 0x8946
# A packet socket sees what the sender left for hardware to do, which there is none of: sums and cutting up.
_SET_SUMS, _SET_CUTTING, _SET_TCP_CUTTING = 0x17, 0x24, 0x1F
_EVERY_PROTOCOL = 3


class LossyWire:
    """From now on the host's cable loses this share of the packets, each way."""

    def __init__(self, spaces: Namespaces, name: str, loss: float, seed: int = 0) -> None:
        self._spaces = spaces
        self._name = name
        self._loss = loss
        self._random = random.Random(seed)
        self.passed = self.lost = 0
        hub = spaces.name_of("hub")
        run_ip("-n", hub, "link", "add", "wire0", "type", "veth", "peer", "name", "wire1")
        run_ip("-n", hub, "link", "set", name, "nomaster")
        run_ip("-n", hub, "link", "set", "wire0", "up")
        run_ip("-n", hub, "link", "set", "wire1", "master", "bridge", "up")
        spaces.inside(name, lambda: _leave_nothing_to_hardware("eth0"))
        spaces.inside("hub", lambda: _leave_nothing_to_hardware("wire1"))
        self._ends = spaces.inside("hub", lambda: (_listen(name), _listen("wire0")))
        self._over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="lossy wire")
        self._thread.start()

    def _serve(self) -> None:
        one, other = self._ends
        while True:
            ready, _, _ = select.select([one, other, self._over], [], [])
            if self._over in ready:
                return
            for line in ready:
                for data in _drained(line):
                    if self._random.random() < self._loss:
                        self.lost += 1
                        continue
                    self.passed += 1
                    # A full queue is one more packet that is lost.
                    with contextlib.suppress(OSError):
                        (other if line is one else one).send(data)

    def close(self) -> None:
        """The plain cable again."""
        os.close(self._end)
        self._thread.join()
        os.close(self._over)
        for line in self._ends:
            line.close()
        hub = self._spaces.name_of("hub")
        run_ip("-n", hub, "link", "delete", "wire0")
        run_ip("-n", hub, "link", "set", self._name, "master", "bridge", "up")


@contextmanager
def lossy_wire(spaces: Namespaces, name: str, loss: float) -> Iterator[LossyWire]:
    """Such a cable for a while."""
    wire = LossyWire(spaces, name, loss)
    try:
        yield wire
    finally:
        wire.close()


def _listen(device: str) -> socket.socket:
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL))
    line.bind((device, 0))
    line.setblocking(False)
    return line


def _drained(line: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            data, (_, _, direction, *_) = line.recvfrom(1 << 16)
        except BlockingIOError:
            return
        # What we send there ourselves is heard, too.
        if direction != socket.PACKET_OUTGOING:
            yield data


def _leave_nothing_to_hardware(device: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        for what in (_SET_SUMS, _SET_TCP_CUTTING, _SET_CUTTING):
            value = array.array("B", struct.pack("II", what, 0))
            with contextlib.suppress(OSError):
                fcntl.ioctl(line, _SIOCETHTOOL, struct.pack("16sP16x", device.encode(), value.buffer_info()[0]))
