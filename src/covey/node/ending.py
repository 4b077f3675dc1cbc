# SPDX-License-Identifier: BSD-3-Clause
"""How a slot ended, in one line that a person can act on, and what C code has said about it.

Why: "a process died" helps nobody. The kernel knows the signal, faulthandler wrote down where the slot was,
an interpreter that did not start has said why, and a library that gave up wrote that to stderr; this file makes a
sentence of it.

May not know: processes, descriptors. It is given what was found. Guarantees: `report` is one line; what `death_report`
has besides are at most twenty lines that can be printed, without tabs, whatever the slot wrote.
"""

import io
import os
import re
import signal
from dataclasses import dataclass

from covey import slot
from covey.node.watch import in_mib

__all__ = ["Ending", "Tail"]

# faulthandler's format, see CPython's Python/traceback.c (dump_frame): innermost frame first.
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$')
_FRAMES_SHOWN = 3
_LINE_LIMIT = 300
_TAIL_LINES = 20
# How a terminal is told about colours and places.
_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[ -~])")
# A second: what is older need have nothing to do with the death.
_FRESH = 1.0


@dataclass(frozen=True, slots=True)
class Tail:
    """The last of what a slot wrote to descriptor 2: `before` bytes stood before it, and it is `age` seconds older than
    the slot's end.

    >>> print(Tail(b"loading\\r 50 %\\r100 %\\n\\x1b[31mfree(): invalid pointer\\x1b[0m\\n").lines())
    ['100 %', 'free(): invalid pointer']
    """

    text: bytes = b""
    before: int = 0
    age: float = 0.0

    def lines(self) -> list[str]:
        """Its last lines, as they would stand on a terminal."""
        return [line for line in map(_as_shown, self._last()) if line]

    def left_out(self) -> int:
        """How many bytes stood before those lines."""
        return self.before + len(self.text) - sum(map(len, self._last()))

    def _last(self) -> list[bytes]:
        lines = io.BytesIO(self.text).readlines()
        # Where something stood before it, the first is half a line.
        return lines[1 if self.before and len(lines) > 1 else 0 :][-_TAIL_LINES:]


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one slot process.

    `code` is the exit code, minus the signal's number if one killed it, or None where somebody else has
    reaped the process. `said` is the slot's log, `sealed_error` what its initializer raised, if that ended it,
    `token` the task that ran in it (0: none), and `why` the reason if it was us who killed it. `starved`: whether
    memory had run out; None: nobody counts that here. `peak`: the most bytes it had; 0: not known. `limit`: what there
    was. `stderr`: the last that it wrote there.

    >>> Ending(1, 123, "host", -11, said="up\\n").report()
    'slot 1 (pid 123 on host) was killed by SIGSEGV'
    """

    number: int
    pid: int
    host: str
    code: int | None
    said: str
    sealed_error: bytes = b""
    token: int = 0
    why: str | None = None
    starved: bool | None = None
    peak: int = 0
    limit: str = ""
    stderr: Tail = Tail()

    @property
    def was_up(self) -> bool:
        """Whether it was ready for tasks once."""
        return self.said.startswith(slot.UP.decode()) and self.code != slot.EXIT_BROKEN

    @property
    def planned(self) -> bool:
        """Whether it left because it was told to, or had done its number of tasks."""
        return self.code == slot.EXIT_PLANNED

    @property
    def setup_failed(self) -> bool:
        return self.code == slot.EXIT_SETUP_FAILED

    @property
    def from_outside(self) -> bool:
        """Whether somebody killed it: that says little about whether it could have run."""
        return self.code is not None and -self.code in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

    def report(self) -> str:
        return f"slot {self.number} (pid {self.pid} on {self.host}) {self._what()}"

    def death_report(self) -> str:
        """The report, and below it, each in a line of its own, the last lines of the slot's stderr; of one that left as
        planned there are none."""
        lines = [] if self.planned else self.stderr.lines()
        if not lines:
            return self.report()
        notes = []
        if self.stderr.age >= _FRESH:
            notes.append(f"written {self.stderr.age:,.0f} s before its end")
        if left_out := self.stderr.left_out():
            notes.append(f"{left_out:,} bytes before them are left out")
        told = f" ({'; '.join(notes)})" if notes else ""
        return "\n".join([f"{self.report()}; the last lines of its stderr{told}:", *lines])

    def tail(self) -> str:
        """The last lines that it wrote about itself, and those of its stderr."""
        return "\n".join([*self._log(), *self.stderr.lines()])

    def _log(self) -> list[str]:
        return self.said.removeprefix(slot.UP.decode()).strip().splitlines()[-_TAIL_LINES:]

    def _what(self) -> str:
        if self.starved:
            return f"was killed because memory ran out: {self.why or self._shortage()}{self._where()}"
        if self.why is not None:
            return f"was stopped: {self.why}"
        if self.planned:
            return "left as planned"
        if self.setup_failed:
            return f"could not run its initializer{self._last_words()}"
        if self.code is None:
            return "ended, and another part of this program took its exit status"
        what = f"was killed by {_signal_name(-self.code)}" if self.code < 0 else f"exited with code {self.code}"
        if self.code == -signal.SIGKILL and self.starved is False:
            what += " (by somebody: the kernel has not counted a lack of memory)"
        elif self.code == -signal.SIGKILL:
            what += " (the kernel does this when memory runs out)"
        if not self.was_up:
            return f"{what} before it was ready for tasks{self._where() or self._last_words()}"
        return what + self._where()

    def _shortage(self) -> str:
        had = f"it had {in_mib(self.peak)}" if self.peak else "the kernel counted it"
        return f"{had}; {self.limit}" if self.limit else had

    def _last_words(self) -> str:
        lines = self._log() or self.stderr.lines()
        return f": {lines[-1].strip()[:_LINE_LIMIT]}" if lines else ""

    def _where(self) -> str:
        frames = self._frames()
        if not frames:
            return ""
        return f" in {', called from '.join(frames[:_FRAMES_SHOWN])}"[:_LINE_LIMIT]

    def _frames(self) -> list[str]:
        frames: list[str] = []
        # Other threads may stand before or behind the one that died; only that one is "Current".
        for line in self.said.partition("Current thread")[2].splitlines()[1:]:
            match = _FRAME.match(line)
            if match is None:
                break
            file = match["file"].replace(os.sep, "/")
            if file.endswith("/covey/slot/main.py"):
                # Everything further out is how the slot began.
                break
            if "/covey/slot/" not in file:
                short = "/".join(file.split("/")[-2:])
                frames.append(f"{match['name']} ({short}:{match['line']})")
        return frames


def _as_shown(line: bytes) -> str:
    text = _ESCAPE.sub("", line.decode(errors="replace")).expandtabs().rstrip()
    # Of a line that was written over, a progress bar's, the last state.
    text = text.rpartition("\r")[2]
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:_LINE_LIMIT]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
