# SPDX-License-Identifier: BSD-3-Clause
"""Lets plays happen on an anvil, for so many seconds, and keeps those that went new ways to make others of.

Why a program: it runs where the sanitizers are preloaded, and what they find ends it. So each play is written to a file
before it begins: what stands there at the end is what they found it in.

    striker.py PLACE SECONDS SEED LAST [PLAY ...]

PLACE holds what `sanitized.build` made, LAST is that file. Begins with the plays in these files; without any, with what
was found before and with sound ones. Prints a line of JSON at its end. So `striker.py PLACE 0 0 OTHER LAST` shows a
failure again.
"""
import ctypes
import importlib
import json
import os
import random
import struct
import sys
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING
from zlib import crc32

from sanitized import Finder

if TYPE_CHECKING:
    import anvil
    import found
    import plays
    from covey.wire import protocol, records


class Striker:
    """One anvil after the other."""

    def __init__(self, last: Path) -> None:
        # Python's own streams are what a sanitizer's words would be mixed with.
        self._file = os.open(last, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        self.played = 0
        self.messages = 0
        self.sound = 0
        self.heard: list[int] = []

    def play(self, play: "plays.Play") -> None:
        """Lets it happen; raises where something holds that must not."""
        line = plays.written(play)
        os.pwrite(self._file, line + b"\n", 0)
        self.heard = []
        on = anvil.Anvil()
        try:
            for step in play:
                self._happen(on, step)
        finally:
            on.close()
        del on
        self.played += 1
        if anvil.alive():
            raise RuntimeError(f"{anvil.alive()} messages are still held, and nobody is left who could")

    def _happen(self, on: "anvil.Anvil", step: "plays.Step") -> None:
        what = step.what
        if step.frames:
            # Of any address: a socket's buffer has others than malloc's.
            skew = crc32(step.frames[0]) & 3
            self._read(step.frames, skew)
        if what == plays.DESK:
            person = plays.PEOPLE[step.who]
            on.meet(person.route, list(step.frames), person.allowed, skew)
        elif what == plays.CLIENT and not _brings_pickle(step.frames):
            on.tell_client(list(step.frames), skew)
        elif what == plays.SLOT:
            on.tell_slot(list(step.frames), skew)
        elif what == plays.VALUE:
            anvil.decode(step.frames[0])
        elif what == plays.BEYOND:
            anvil.read_beyond(step.frames[0])
        elif what == plays.LOSE:
            on.lose(plays.PEOPLE[step.who].route)
        elif what == plays.GREET:
            person = plays.PEOPLE[step.who]
            if person.dialled:
                on.greet(person.route, 2 if person.asks else 1)
        elif what == plays.DIE:
            on.die(step.who, self.heard[-1] if self.heard else 0)
        elif what == plays.ASK:
            on.ask()
        elif what == plays.DRAIN:
            on.drain()
        elif what == plays.SUBMIT:
            self.heard.append(on.submit())
        elif what == plays.WORK:
            on.work()
        for _route, frames in on.pump(float(step.who) if what == plays.PASS else 0.01):
            self._hear(frames)
        if on.validate():
            raise RuntimeError(f"invariant {on.validate()} of the scheduler does not hold")

    def _read(self, frames: tuple[bytes, ...], skew: int) -> None:
        """What is made of a message for ends that are written in Python."""
        self.messages += 1
        kind = anvil.judge(list(frames), skew)
        if protocol.check(frames[0], len(frames) - 1) != kind:
            raise RuntimeError("the parser says two things of one message")
        if kind < 0:
            return
        self.sound += 1
        _, parts = protocol.split(frames[0], len(frames) - 1)
        if parts:
            self._read_records(kind, frames[0], parts)

    def _read_records(self, kind: int, data: bytes, parts: list[tuple[bytes, bytes]]) -> None:
        if kind == protocol.KINDS["WELCOME"]:
            records.credit(data)
        elif kind == protocol.KINDS["FUNCTION"]:
            records.read_function(data)
        elif kind == protocol.KINDS["TASKS"]:
            records.read_tasks(data)
        elif kind == protocol.KINDS["OUTCOMES"]:
            records.read_outcomes(data)
        elif kind in (protocol.KINDS["CANCEL"], protocol.KINDS["RETRACT"]):
            records.ticket_of(parts[0][0])

    def _hear(self, frames: list[bytes]) -> None:
        """What the broker says must be sound, and the numbers in it name what is there."""
        kind, parts = protocol.split(frames[0], len(frames) - 1)
        if kind in (protocol.KINDS[name] for name in ("TASKS", "RETRACT", "CANCEL", "HELD")):
            self.heard += [struct.unpack_from("<Q", fixed)[0] for fixed, _ in parts[-4:]]


def _brings_pickle(frames: tuple[bytes, ...]) -> bool:
    """Whether a client would open a sealed error: whoever may send it one may run code there, so any bytes may do
    anything."""
    return len(frames) > 1 and protocol.check(frames[0], len(frames) - 1) in (protocol.KINDS["BYE"],
    protocol.KINDS["REFUSE"])


def strike(seconds: float, seed: int, last: Path, files: list[Path]) -> dict[str, int]:
    """Plays for so long; what was done."""
    edges = ctypes.CDLL(None)
    author = plays.Author(random.Random(seed))
    striker = Striker(last)
    kept: list[plays.Play] = []
    given = [plays.read(file.read_bytes().splitlines()[0]) for file in files]
    for play in given or [*found.FOUND.values(), *author.sound()]:
        striker.play(play)
        author.hear(striker.heard)
        kept.append(play)
    edges.edges_news()
    end = monotonic() + seconds
    while monotonic() < end:
        # The newest are the least explored.
        chosen = author.rng.choice(kept[-32:] if author.rng.random() < 0.5 else kept)
        play = author.worse(chosen, author.rng.choice(kept))
        striker.play(play)
        if edges.edges_news():
            kept.append(play)
            author.hear(striker.heard)
    return {
        "plays": striker.played, "messages": striker.messages, "sound": striker.sound, "ways": edges.edges_known(),
        "kept": len(kept),
    }


def _module(name: str) -> ModuleType:
    return importlib.import_module(name)


if __name__ == "__main__":
    place, seconds, seed, last, *files = sys.argv[1:]
    sys.meta_path.insert(0, Finder(Path(place)))
    # Only now, or they would be the package's own.
    protocol, records = _module("covey.wire.protocol"), _module("covey.wire.records")
    anvil, plays, found = _module("anvil"), _module("plays"), _module("found")
    print(json.dumps(strike(float(seconds), int(seed), Path(last), [Path(file) for file in files])), flush=True)
