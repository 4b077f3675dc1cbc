# SPDX-License-Identifier: BSD-3-Clause
"""Which functions a broker knows of a client, whatever numbers they have: those that came and were not forgotten."""
import random
import struct
import sys

import pytest

from covey.broker.broker import Broker
from covey.settings import Settings
from covey.wire.protocol import KINDS, message, split

ROUTE = b"\1\1client"
PYTHON = sys.version_info[0] << 8 | sys.version_info[1]


class Asker:
    """A client that names functions."""

    def __init__(self) -> None:
        self.broker = Broker(Settings())
        self.tickets = 0
        self.say("HELLO", struct.pack("<BBHIIiIIIIIQI", 1, 0, PYTHON, 7, 0, -1, 0, 0, 0, 0, 0, 0, 1) + b"a")

    def say(self, kind: str, *records: bytes) -> list[tuple[int, list[tuple[bytes, bytes]]]]:
        self.broker.receive(ROUTE, [message(KINDS[kind], list(records))])
        found = [split(bytes(frames[0])) for _, frames in self.broker.pump()[1]]
        assert self.broker.validate() == 0
        return found

    def knows(self, number: int) -> bool:
        """Whether a task of that function is taken."""
        self.tickets += 1
        record = struct.pack("<QIIhBBBBBHIIQ", self.tickets, number, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0)
        answers = self.say("TASKS", record)
        return not any(kind == KINDS["OUTCOMES"] for kind, _ in answers)

    def bring(self, number: int) -> None:
        digest = random.Random(number).randbytes(16)
        self.say("FUNCTION", struct.pack("<II16s", number, 4, digest) + b"body")

    def forget(self, number: int) -> None:
        self.say("FORGET", struct.pack("<I", number))


@pytest.mark.parametrize("stride", [1, 16, 1 << 16, 0x9E3779B1])
def test_it_knows_what_came_and_was_not_forgotten(stride: int) -> None:
    rng = random.Random(stride)
    asker = Asker()
    numbers = [1 + at * stride & 0xFFFFFFFF for at in range(60)]
    known: set[int] = set()
    for _ in range(1500):
        number = rng.choice(numbers)
        if number in known and rng.random() < 0.6:
            asker.forget(number)
            known.discard(number)
        elif number not in known:
            asker.bring(number)
            known.add(number)
        probe = rng.choice(numbers)
        assert asker.knows(probe) == (probe in known)
    assert [asker.knows(number) for number in numbers] == [number in known for number in numbers]
    asker.broker.release()
