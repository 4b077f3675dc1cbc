# SPDX-License-Identifier: BSD-3-Clause
"""What a task prints and logs, on its way to the caller.

Why: a task's `print` belongs where the user looks, which may be another terminal on another machine, and a
log record belongs to the caller's handlers. `sys.stdout` and `sys.stderr` become streams that hand over whole
lines; C code that prints writes to the descriptors: stdout's is the node's own, and what is written to stderr's the
node passes on.

May not know: links, frames, which task runs (the runner adds that). Guarantees: what a task wrote is handed
over before its outcome (the runner calls `flush` if `pending` says so); at most twice LIMIT bytes a task and
stream, its beginning and its end, with a line that says what is missing; where the caller will put a prefix before
each line, only whole lines are handed over, and the prefixes count; a forked child of a task writes to the
descriptors, since it has no link.
"""

import io
import os
import sys
from _thread import RLock
from collections import deque

__all__ = ["LIMIT", "LOG", "STDERR", "STDOUT", "Ration", "boundary", "flush", "install", "pending", "remove"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Send = Callable[[int, bytes], None]

# enum Stream of the protocol.
STDOUT = 1
STDERR = 2
LOG = 3

# Of what a task writes, so many bytes are sent as they come, and as many again, the last ones, at its end.
LIMIT = 64 * 1024

# What a task's name and its brackets take of a line, about: its name is the caller's affair.
_TASK = 24

pending: bool = False
"""Whether anything was written since the last `flush`."""

_rations: "list[Ration]" = []


class Ration:
    """The share of one stream that one task may send: its head at once, its tail at the end.

    `toll` is what each piece costs besides its bytes, where it is of use as a whole only: the prefix it will get.
    """

    def __init__(self, stream: int, send: "Send", limit: int = LIMIT, toll: int = 0) -> None:
        self._stream = stream
        self._send = send
        self._limit = limit
        self._toll = toll
        self._head_left = limit
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._left_out = 0
        # A task may have threads that print, and a signal handler may print in the middle of a print.
        self._lock = RLock()

    def take(self, data: bytes, *, whole: bool = False) -> None:
        """Sends `data` or keeps it for the end. `whole`: it is of no use in part."""
        with self._lock:
            self._take(data, whole)

    def _take(self, data: bytes, whole: bool) -> None:
        if self._head_left > 0 and not self._tail:
            cut = len(data) if whole else boundary(data, self._head_left)
            self._head_left -= len(data) + self._toll
            if cut:
                self._send(self._stream, data[:cut])
            data = data[cut:]
            if not data:
                return
        self._tail.append(data)
        self._tail_size += len(data) + self._toll
        while self._tail_size - len(self._tail[0]) - self._toll >= self._limit:
            self._drop(len(self._tail[0]))
        if self._tail_size > self._limit and not whole:
            self._drop(boundary(self._tail[0], self._tail_size - self._limit))

    def end(self) -> None:
        """The task has ended: what was kept goes out, and the next task begins afresh."""
        with self._lock:
            tail, left_out = self._tail, self._left_out
            self._head_left, self._tail, self._tail_size, self._left_out = self._limit, deque(), 0, 0
        if left_out:
            sentence = f"[covey: {left_out:,} bytes left out here]\n"
            if not self._toll:
                # What stands before it may be half a line.
                sentence = f"\n{sentence}"
            self._send(STDERR if self._stream == LOG else self._stream, sentence.encode())
        for data in tail:
            self._send(self._stream, data)

    def _drop(self, size: int) -> None:
        first = self._tail.popleft()
        self._left_out += size
        self._tail_size -= size
        if size < len(first):
            self._tail.appendleft(first[size:])
        else:
            self._tail_size -= self._toll


def boundary(data: bytes, cut: int) -> int:
    """The last place not behind `cut` where no UTF-8 character is split."""
    if cut >= len(data):
        return len(data)
    while cut > 0 and data[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


class _Pipe(io.RawIOBase):
    """The bottom of a stream: bytes to the ration, or to the descriptor in a forked child."""

    def __init__(self, descriptor: int, ration: Ration) -> None:
        self._descriptor = descriptor
        self._ration = ration
        self._owner = os.getpid()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]  # what is called
        global pending
        copy = bytes(data)
        if os.getpid() == self._owner:
            pending = True
            self._ration.take(copy)
        else:
            os.write(self._descriptor, copy)
        return len(copy)


class _Lines(io.TextIOWrapper):
    """A stream that hands over whole lines, and knows that an unfinished one waits."""

    def write(self, text: str, /) -> int:
        global pending
        pending = True
        return super().write(text)


def install(send: "Send", levels: "Mapping[str, int]", host: str = "") -> None:
    """Sends from now on what is printed and logged here to `send(stream, data)`. With `host`, this machine's name, the
    caller will put it, and the task's, before each line."""
    global pending
    toll = len(host) + _TASK if host else 0
    printed: type[Ration] = Ration
    if host:
        from covey.slot.lines import LineRation

        printed = LineRation
    out, err = (printed(stream, send, toll=toll) for stream in (STDOUT, STDERR))
    log = Ration(LOG, send, toll=toll)
    _rations[:] = [out, err, log]
    sys.stdout = _Lines(_Pipe(1, out), encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[arg-type]
    sys.stderr = _Lines(_Pipe(2, err), encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[arg-type]
    from covey.slot import logs

    logs.install(lambda data: _log(log, data), levels)
    pending = False


def _log(ration: Ration, data: bytes) -> None:
    global pending
    pending = True
    ration.take(data, whole=True)


def remove() -> None:
    """The link has ended: what is printed from now on goes to the descriptors."""
    flush()
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # (both may be None)


def flush() -> None:
    """Hands over what is left of the task that has just ended."""
    global pending
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Lines) and not stream.closed:
            stream.flush()
    # After the streams, whose flushing writes.
    pending = False
    for ration in _rations:
        ration.end()
