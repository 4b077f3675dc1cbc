# SPDX-License-Identifier: BSD-3-Clause
"""What a task prints for a caller elsewhere, in whole lines.

Why: the caller puts a prefix before each line, and lines of many tasks come to it at once. Were half a line handed
over, somebody else's could come before its other half. One task runs here at a time, so here halves are cheap to keep.

May not know: what the prefix says. Guarantees: each piece that is sent is one line with its end; a line that is never
ended goes out with the task; what is kept is bounded, and a line longer than LONGEST goes on in the next one.
"""

from covey.slot.output import Ration, boundary

__all__ = ["LONGEST", "LineRation"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from covey.slot.output import Send

LONGEST = 8192


class LineRation(Ration):
    """The share of one stream that one task may send, as lines."""

    def __init__(self, stream: int, send: "Send", *, toll: int) -> None:
        super().__init__(stream, send, toll=toll)
        self._open = b""

    def take(self, data: bytes, *, whole: bool = False) -> None:
        """Sends or keeps the lines that `data` ends; `whole` says nothing here, since all lines are."""
        with self._lock:
            *lines, self._open = (self._open + data).split(b"\n")
            for line in lines:
                self._take_line(line)
            if len(self._open) > LONGEST:
                self._shorten()

    def end(self) -> None:
        """The task has ended: so has the line that it left open."""
        with self._lock:
            line, self._open = self._open, b""
            if line:
                self._take_line(line)
        super().end()

    def _take_line(self, line: bytes) -> None:
        line = _as_seen(line)
        start = 0
        while len(line) - start > LONGEST:
            cut = boundary(line, start + LONGEST)
            if cut <= start:
                # No text at all, if no character ends for so long.
                cut = start + LONGEST
            self._take(line[start:cut] + b"\n", True)
            start = cut
        self._take(line[start:] + b"\n", True)

    def _shorten(self) -> None:
        again = b"\r" if self._open.endswith(b"\r") else b""
        self._open = _as_seen(self._open) + again
        if len(self._open) > LONGEST:
            line, self._open = self._open, b""
            self._take_line(line)


def _as_seen(line: bytes) -> bytes:
    """What would stand on a terminal in the end: a progress bar begins its line again and again, behind any prefix."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]
