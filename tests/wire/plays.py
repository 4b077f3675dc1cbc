# SPDX-License-Identifier: BSD-3-Clause
"""Plays: what peers say to a broker, a client and a slot, one step after the other; sound ones, and how one is made
worse.

Why whole plays: most of what reads a message reads it in some state. An outcome is looked at only where its task is, a
piece only behind the first one, and both must be wrong in the right moment.

May not know: what becomes of a step. Guarantees: the same random numbers make the same plays; a play survives being
written down (`written`, `read`).
"""
import json
import random
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from covey.wire.protocol import KINDS, message
from test_protocol import EXTRA, TABLE

# What a step is. The first three bring a message; `who` is who sent it, or seconds.
DESK, CLIENT, SLOT = "desk", "client", "slot"
VALUE, BEYOND = "value", "beyond"
PASS, LOSE, GREET, DIE, ASK, DRAIN, SUBMIT, WORK = "pass", "lose", "greet", "die", "ask", "drain", "submit", "work"
SILENT = (LOSE, GREET, DIE, ASK, DRAIN, SUBMIT, WORK)

STEPS_MAX = 40
FRAME_MAX = 1 << 16

# Where the number is that says how long the variable part is; None: there is none.
LAYOUTS: dict[str, tuple[str, int | None]] = {
    "HELLO": ("<BBHIIiIIIIIQI", 12), "WELCOME": ("<IIQIIHHIIIIII", 12), "REFUSE": ("<II", 1), "BYE": ("<II", 1),
    "BEAT": ("<", None), "PIECES": ("<Q", None), "QUERY": ("<II", 1), "ANSWER": ("<II", 1), "NOTE": ("<QI", 1),
    "TAKEN": ("<Q", None), "FUNCTION": ("<II16s", 1), "FORGET": ("<I", None), "TASKS": ("<QIIhBBBBBHIIQ", 2),
    "CANCEL": ("<QI", None), "RETRACT": ("<Q", None), "STOP": ("<", None), "OUTCOMES": ("<QIIBBH", 1),
    "STARTED": ("<Q", None), "RETRACTED": ("<QI", None), "OUTPUT": ("<QHHI", 3), "CREDIT": ("<IIQIIII", None),
    "LEAVING": ("<", None), "HELD": ("<Q", None),
}
# What each role sends; twice what most goes wrong with.
FROM_ASKERS = [
    "FUNCTION", "FORGET", "TASKS", "TASKS", "CANCEL", "RETRACT", "STOP", "NOTE", "QUERY", "TAKEN", "BYE", "PIECES",
]
FROM_DOERS = [
    "OUTCOMES", "OUTCOMES", "STARTED", "RETRACTED", "OUTPUT", "CREDIT", "LEAVING", "HELD", "NOTE", "ANSWER", "TAKEN",
    "BYE", "PIECES",
]
WIDTHS = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "Q": 8}
# Numbers at which something changes: limits of the protocol, sizes, and the smallest.
EDGES = [
    0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 64, 127, 128, 255, 256, 4095, 4096, 4097, 10000, 10001, 65535, 65536, 1 << 24,
    (1 << 24) + 1,
]


@dataclass(frozen=True, slots=True)
class Person:
    """Who is at a route of the desk: where, which roles its key opens, and whether it asks."""

    route: bytes
    allowed: int
    asks: bool
    relays: bool = False
    dialled: bool = False


# Two clients and two slots at home, a broker and a node at the gate, and a broker and a node that were dialled.
PEOPLE = [
    Person(b"\0\0\0\0\0\0\1", 6, True), Person(b"\0\0\0\0\0\0\2", 6, True), Person(b"\0\0\0\0\0\0\3", 6, False),
    Person(b"\0\0\0\0\0\0\4", 6, False),
    Person(b"\1\0\0\0\0\0\5", 2, True, True), Person(b"\1\0\0\0\0\0\6", 4, False, True),
    Person(b"\2\0", 0, True, True, True), Person(b"\3\0", 0, False, True, True),
]
ON_GPU = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens: to whom, from whom, and with which frames."""

    what: str
    who: int = 0
    frames: tuple[bytes, ...] = ()


Play = list[Step]


def written(play: Play) -> bytes:
    """The play as a line of text."""
    return json.dumps([[step.what, step.who, [frame.hex() for frame in step.frames]] for step in play]).encode()


def read(line: bytes) -> Play:
    """The play that `written` gave."""
    return [Step(what, who, tuple(bytes.fromhex(frame) for frame in frames)) for what, who, frames in json.loads(line)]


def _hello(person: Person, number: int) -> bytes:
    places = (0, 0, 0, 0) if person.asks else (0, 1, 0, 0) if number == ON_GPU else (1, 0, 0, 0)
    record = struct.pack(
        LAYOUTS["HELLO"][0], 1 if person.asks else 2, person.relays, 0x030B, 100 + number, number,
        0 if number == ON_GPU else -1, *places, 64, 7 * number * person.relays, 2)
    return message(KINDS["HELLO"], [record + b"p%d" % number])


def _welcome(number: int) -> bytes:
    record = struct.pack("<IIQIIHHIIIIII", 1, 64, 1 << 16, 15000, 100 + number, 0x030B, 0, 2, 1, 0, 0, 64, 2)
    return message(KINDS["WELCOME"], [record + b"p%d" % number])


def beginning() -> Play:
    """Everybody is there."""
    play = [Step(GREET, number) for number, person in enumerate(PEOPLE) if person.dialled]
    for number, person in enumerate(PEOPLE):
        play.append(Step(DESK, number, (_welcome(number) if person.dialled else _hello(person, number),)))
    return [*play, Step(CLIENT, 0, (_welcome(0),)), Step(SUBMIT), Step(PASS, 4)]


def task(ticket: int, function: int, attempts: int = 0, parcel: bytes = b"\1\10\1\3\7") -> bytes:
    """A record of TASKS."""
    name = 1000 + ticket
    return struct.pack(
        LAYOUTS["TASKS"][0], ticket, function, len(parcel), 0, 7, 0, 1, 0, attempts, 0, 0, 0, name) + parcel


class Author:
    """Writes plays.

    Numbers that the broker has said are worth more than any others: they name what is there. Whoever runs a play adds
    them to `numbers`.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.numbers: list[int] = []

    def hear(self, numbers: Iterable[int]) -> None:
        """These stand for something."""
        for number in numbers:
            if number not in self.numbers:
                self.numbers.append(number)
        # The newest are those of plays that are under way now.
        del self.numbers[:-64]

    def sound(self) -> list[Play]:
        """Plays of well-behaved people: each kind of message from everybody, and some that belong together."""
        plays = [
            [*beginning(), *(Step(DESK, who, frames) for who in range(len(PEOPLE))), Step(CLIENT, 0, frames),
                Step(SLOT, 0, frames)]
            for frames in map(self._frames_of, range(len(TABLE)))
        ]
        function = message(KINDS["FUNCTION"], [struct.pack("<II16s", 1, 4, bytes(16)) + b"body"])
        tasks = message(KINDS["TASKS"], [task(number, 1) for number in range(1, 20)])
        again = message(KINDS["TASKS"], [task(number, 1, 1) for number in range(1, 20)])
        asked = [Step(DESK, who, (frame,)) for who in (0, 4, 6) for frame in (function, tasks)]
        plays.append([
            *beginning(), *asked, Step(PASS, 0), Step(LOSE, 4), Step(GREET, 6), Step(DESK, 4, (_hello(PEOPLE[4], 4),)),
            Step(DESK, 4, (again,)), Step(PASS, 9), Step(LOSE, 5), Step(DIE, 102), Step(PASS, 30)])
        plays.append([*beginning(), *(Step(SLOT, 0, (frame,)) for frame in (function, tasks)), *[Step(WORK)] * 3])
        plays.append([*beginning(), *asked, Step(ASK), Step(DRAIN), Step(PASS, 1)])
        plays.append([*beginning(), *(Step(DESK, 0, frames) for frames in self._in_pieces((tasks,)))])
        plays.append([Step(VALUE, 0, (bytes.fromhex("08030301") + b"\6\3\0\0\0abc\7\1\0\0\0x",))])
        return plays

    def worse(self, play: Play, other: Play) -> Play:
        """A play like this one, or partly like the other; not quite as its people meant it."""
        steps = list(play)
        for _ in range(self.rng.choice((1, 1, 2, 3, 5))):
            self._change(steps, other)
        return steps[:STEPS_MAX]

    def _change(self, steps: Play, other: Play) -> None:
        rng = self.rng
        at = rng.randrange(len(steps) + 1)
        dice = rng.random()
        if dice < 0.35:
            steps[at:at] = self._scene()
        elif dice < 0.5 and other:
            start = rng.randrange(len(other))
            steps[at:at] = other[start:start + rng.randrange(1, 6)]
        elif at == len(steps):
            steps.append(self._silent())
        elif dice < 0.56:
            del steps[at]
        elif dice < 0.6:
            steps.insert(at, steps[at])
        elif dice < 0.64:
            steps.insert(at, self._silent())
        elif dice < 0.7:
            steps.append(steps.pop(at))
        elif steps[at].frames:
            steps[at] = Step(steps[at].what, self._someone(steps[at]), self._damaged(steps[at].frames))

    def _someone(self, step: Step) -> int:
        return self.rng.randrange(len(PEOPLE)) if step.what == DESK and self.rng.random() < 0.1 else step.who

    def _silent(self) -> Step:
        rng = self.rng
        if rng.random() < 0.3:
            return Step(PASS, rng.choice((0, 1, 3, 20, 100)))
        what = rng.choice(SILENT)
        return Step(what, 100 + rng.randrange(4) if what == DIE else rng.randrange(len(PEOPLE)))

    def _scene(self) -> Play:
        """Some new messages, to one place, of one sender."""
        rng = self.rng
        what = rng.choice((DESK, DESK, DESK, CLIENT, SLOT, SLOT))
        who = rng.randrange(len(PEOPLE)) if what == DESK else 0
        if rng.random() < 0.02:
            return [Step(VALUE, 0, (rng.randbytes(rng.randrange(24)),))]
        usual = FROM_ASKERS if what == SLOT or (what == DESK and PEOPLE[who].asks) else FROM_DOERS
        steps = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            kind = rng.choice(usual) if rng.random() < 0.9 else rng.choice(list(KINDS))
            frames = self._message(kind)
            several = self._in_pieces(frames) if rng.random() < 0.06 else [frames]
            steps += [Step(what, who, one) for one in several]
            if what == SLOT and rng.random() < 0.4:
                steps.append(Step(WORK))
        return steps

    def _frames_of(self, number: int) -> tuple[bytes, ...]:
        case = TABLE[number]
        return (bytes.fromhex(case.wire), *(b"frame" * (i + 1) for i in range(case.extra_frames)))

    def _message(self, kind: str) -> tuple[bytes, ...]:
        rng = self.rng
        cases = [case for case in TABLE if case.kind == kind]
        count = rng.choice((1, 1, 1, 1, 2, 3, 8, 0)) if LAYOUTS[kind][0] != "<" else 0
        may_have_more = count == 1 and kind in ("FUNCTION", "TASKS", "OUTCOMES", "BYE")
        extra = kind == "PIECES" or (may_have_more and rng.random() < 0.3)
        found = []
        for _ in range(count):
            records = rng.choice(cases).records
            found.append(self._record(kind, records[0][0] if records else bytes(struct.calcsize(LAYOUTS[kind][0]))))
        more = rng.choice((1, 1, 2, 4)) if extra else 0
        frames = [rng.randbytes(rng.choice((0, 1, 16, 24, 40))) for _ in range(more)]
        if kind == "PIECES" and rng.random() < 0.7:
            # As much as is announced.
            found = [struct.pack("<Q", len(frame)) for frame in frames] if rng.random() < 0.5 else []
        return (message(KINDS[kind], found, EXTRA if extra else 0), *frames)

    def _record(self, kind: str, sound: bytes) -> bytes:
        rng = self.rng
        layout, length = LAYOUTS[kind]
        values = list(struct.unpack(layout, sound))
        text = rng.randbytes(rng.choice((0, 0, 1, 5, 24))) if length is not None else b""
        for i, code in enumerate(layout[1:] if kind != "FUNCTION" else "IIs"):
            if code == "s":
                values[i] = bytes([rng.randrange(4)]) * 16
            elif code == "Q" and rng.random() < 0.8:
                values[i] = rng.choice(self.numbers) if self.numbers and rng.random() < 0.7 else rng.randrange(24)
            elif (kind, i) in (("TASKS", 1), ("FUNCTION", 0), ("FORGET", 0)) and rng.random() < 0.8:
                values[i] = rng.randrange(1, 4)
            elif rng.random() < 0.08:
                values[i] = self._edge(WIDTHS[code], signed=code.islower())
        if length is not None:
            values[length] = max(0, len(text) + (rng.choice((-1, 1, 3)) if rng.random() < 0.03 else 0))
        return struct.pack(layout, *values) + text

    def _edge(self, width: int, *, signed: bool = False) -> int:
        rng = self.rng
        top = 1 << 8 * width
        number = rng.choice((rng.choice(EDGES), top - 1, top // 2, top // 2 - 1, top // 4, rng.randrange(top))) % top
        return number - top if signed and number >= top // 2 else number

    def _in_pieces(self, frames: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
        """The messages of a large letter, cut anywhere."""
        rng = self.rng
        sizes = [struct.pack("<Q", len(frame)) for frame in frames]
        bites: list[bytes] = []
        for frame in frames:
            rest = frame
            while rest:
                size = rng.randrange(1, len(rest) + 1)
                bites.append(rest[:size])
                rest = rest[size:]
        found: list[tuple[bytes, ...]] = []
        while bites:
            count = rng.randrange(1, len(bites) + 1)
            found.append((message(KINDS["PIECES"], [] if found else sizes, EXTRA), *bites[:count]))
            bites = bites[count:]
        return found

    def _damaged(self, frames: tuple[bytes, ...]) -> tuple[bytes, ...]:
        rng = self.rng
        found = list(frames)
        dice = rng.random()
        if dice < 0.06:
            return (*found, rng.randbytes(rng.randrange(24)))
        if dice < 0.1 and len(found) > 1:
            return tuple(found[:-1])
        which = rng.randrange(len(found)) if rng.random() < 0.3 else 0
        data = bytearray(found[which])
        for _ in range(rng.choice((1, 1, 2, 4))):
            self._spoil(data)
        found[which] = bytes(data[:FRAME_MAX])
        return tuple(found)

    def _spoil(self, data: bytearray) -> None:
        rng = self.rng
        dice = rng.random()
        if not data or dice < 0.08:
            data += rng.randbytes(rng.choice((1, 1, 2, 8, 16, 41)))
        elif dice < 0.2:
            del data[-rng.choice((1, 1, 2, 4, 8, rng.randrange(1, len(data) + 1))):]
        elif dice < 0.25:
            start = rng.randrange(len(data))
            data += data[start:start + rng.choice((4, 8, 12, 20, 41))]
        elif dice < 0.35:
            # How many records there are: a little more or less, or as many as are too many.
            data[8:12] = struct.pack("<I", self._edge(4) if rng.random() < 0.3 else rng.randrange(6))
        elif dice < 0.5 and self.numbers:
            at = rng.randrange(len(data))
            data[at:at + 8] = struct.pack("<Q", rng.choice(self.numbers))
        elif dice < 0.75:
            width = rng.choice((1, 2, 4, 8))
            # Fields stand at whole distances from the header, most often.
            at = min(len(data) - 1, rng.randrange(len(data)) & ~(width - 1))
            data[at:at + width] = self._edge(width).to_bytes(width, "little")
        else:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
