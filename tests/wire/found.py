# SPDX-License-Identifier: BSD-3-Clause
"""What was found once, each as the shortest play that shows it: every run begins with all of them.

Guarantees: a play here went wrong when it was written, under the sanitizers or by an invariant.
"""
import struct

from covey.wire.protocol import KINDS, message
from plays import CLIENT, DESK, SLOT, WORK, Play, Step, beginning, task


def one(kind: str, *records: bytes) -> tuple[bytes, ...]:
    """A message of one frame."""
    return (message(KINDS[kind], list(records)),)


def ticket(number: int) -> bytes:
    """A record that is nothing but a ticket."""
    return struct.pack("<Q", number)


FOUND: dict[str, Play] = {
    # A client took the record of its credit to be there.
    "a CREDIT without a record": [Step(CLIENT, 0, one("CREDIT"))],
    "a WELCOME without a record": [Step(CLIENT, 0, one("WELCOME"))],
    "a REFUSE without a record": [Step(CLIENT, 0, one("REFUSE"))],
    # Ticket 0 is how a slot marks the place of a task that was taken back: such a task was never dropped.
    "a task of ticket 0": [Step(SLOT, 0, one("TASKS", task(0, 1)))],
    # And who took back ticket 0 took back such a place a second time: its message was freed while it was in use.
    "ticket 0 taken back": [
        Step(SLOT, 0, one("TASKS", task(1, 1), task(2, 1))),
        Step(SLOT, 0, one("RETRACT", ticket(2), ticket(0), ticket(0))), Step(WORK)],
    "ticket 0 cancelled": [
        Step(SLOT, 0, one("TASKS", task(1, 1), task(2, 1))),
        Step(SLOT, 0, one("CANCEL", *[struct.pack("<QI", number, 0) for number in (2, 0, 0)])), Step(WORK)],
    # A slot's table of functions is as long as the highest number in it, and ended below this one.
    "a function of the highest number": [
        Step(SLOT, 0, one("FUNCTION", struct.pack("<II16s", (1 << 32) - 1, 1, bytes(16)) + b"f"))],
    # A broker offered the sum of what is below it, and the broker above took more than the most for no message.
    "more places than there can be": [*beginning(), *(Step(DESK, who, one("CREDIT", struct.pack(
        "<IIQIIII", 64, 1 << 24, 1 << 16, 1 << 24, 0, 0, 0))) for who in (5, 7))],
    # Numbers of a record were read through a pointer, and it stood at an odd address.
    "two in one HELLO": [*beginning(), Step(DESK, 2, one("HELLO", *[
        struct.pack("<BBHIIiIIIIIQI", 2, 1, 0x030B, 1, 0, -1, 1, 1, 1, 0, 64, 0, 1) + b"n"] * 2))],
}
