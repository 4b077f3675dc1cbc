# SPDX-License-Identifier: BSD-3-Clause
"""What slots write to descriptor 2, passed on to the node's own stderr, and the last of it kept for their death.

    slot, and what it has started ── a pipe of its own ──► covey-stderr ──► the node's stderr
                                                               └─ the last KEPT bytes ──► keeper, at the slot's end

Why: "double free or corruption" and "terminate called after throwing" are said by C code, in the last moment, to
descriptor 2. Whoever gets the error is often not at that terminal. Why a pipe: the kernel bounds what stands in one, it
wakes who reads it, and it is the same everywhere; decision 31 weighs it against a file in memory.

Why a thread: a terminal that was stopped (Ctrl-S) stops who writes to it, and that must not be the keeper.

May not know: tasks, whose lines these are; what Python prints in a task (that goes with its outcome). Guarantees:
nothing is left out, but on a stderr that takes nothing any more; what stands here is a pipe and KEPT bytes a slot, and
BACKLOG for all that have died; `end` never waits for the node's stderr, `close` for PATIENCE at most; a signal or an
error of writing costs nobody anything but the lines.
"""

import contextlib
import os
import select
import signal
import threading
import time
from dataclasses import dataclass

from covey.node.ending import Tail

__all__ = ["SlotStderr", "StderrThread", "copy_or_null"]

# Twenty lines of a usual length, and some.
KEPT = 4096
# Of slots that died while the node's stderr took nothing.
BACKLOG = 1 << 20
# Seconds that a closing node waits for a stderr that takes nothing.
PATIENCE = 1.0
# What a pipe holds, usually, and how many of these one can hold at most.
_PIECE = 1 << 16
_PIECES = 16


@dataclass(slots=True, eq=False)
class SlotStderr:
    """What one slot has written there. Only under the lock of its thread, but `finish`.

    `over`: its slot has died, and its descriptor is the thread's to close. `ended`: nobody has the other end any more.
    """

    thread: "StderrThread"
    descriptor: int
    text: bytes = b""
    count: int = 0
    latest: float = 0.0
    over: bool = False
    ended: bool = False

    def read(self) -> bytes:
        """Some of what it wrote; nothing, if nothing is there now or `ended`."""
        try:
            data = os.read(self.descriptor, _PIECE)
        except BlockingIOError:
            return b""
        self.ended = not data
        if data:
            self.text = (self.text + data)[-KEPT:]
            self.count += len(data)
            self.latest = time.monotonic()
        return data

    def finish(self) -> Tail:
        """Its slot has died: the last that it wrote. For the keeper; may be called again."""
        self.thread.end(self)
        if not self.count:
            return Tail()
        return Tail(self.text, self.count - len(self.text), time.monotonic() - self.latest)


class StderrThread:
    """Passes on what slots write, in a thread that begins with the first of them. The keeper opens and closes."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._thread: threading.Thread | None = None
        self._target = self._wake_read = self._wake_write = -1
        self._inlet = select.poll()
        self._outlet = select.poll()
        self._deadline: float | None = None  # when closing: at which time the node's stderr is given up
        # Only the thread touches it: whether there is something in what follows that it has not seen.
        self._changed = False
        # Under the lock. The thread alone closes these descriptors, because it alone knows when it waits for none.
        self._lock = threading.Lock()
        self._sources: dict[int, SlotStderr] = {}
        self._backlog: list[bytes] = []
        self._backlog_size = 0

    def open(self) -> tuple[SlotStderr, int]:
        """For a slot that is about to be started: what it will have written, and the end for it, which is the caller's
        to close."""
        if self._thread is None:
            self._begin()
        readable, writable = os.pipe()
        os.set_blocking(readable, False)
        source = SlotStderr(self, readable)
        with self._lock:
            self._sources[readable] = source
            self._wake()
        return source, writable

    def end(self, source: SlotStderr) -> None:
        """Takes what is left of a slot that has died. Something that it has started, and that got away, may go on
        writing for ever: a pipe full of it is enough."""
        with self._lock:
            if source.over:
                return
            source.over = True
            rest = []
            for _ in range(_PIECES):
                data = source.read()
                if not data:
                    break
                rest.append(data)
            self._keep(b"".join(rest))
            self._wake()

    def close(self) -> None:
        """Passes on what is left, and gives everything back. In a forked child it only lets go of its copies."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if os.getpid() != self._owner:
            # The thread is the parent's, and may have had the lock.
            self._let_go()
            return
        for source in list(self._sources.values()):
            self.end(source)
        with self._lock:
            self._deadline = time.monotonic() + PATIENCE
            self._wake()
        # Longer than that only if another writer took the room that it had seen. It ends when it can, and is a daemon.
        thread.join(PATIENCE + 1.0)

    def _begin(self) -> None:
        self._target = copy_or_null(2)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._outlet.register(self._wake_read, select.POLLIN)
        self._outlet.register(self._target, select.POLLOUT)
        self._thread = threading.Thread(target=self._run, name="covey-stderr", daemon=True)
        self._thread.start()

    def _wake(self) -> None:
        if self._wake_write >= 0:
            # A pipe that is full wakes as well as one more byte would.
            with contextlib.suppress(BlockingIOError):
                os.write(self._wake_write, b"w")

    def _keep(self, rest: bytes) -> None:
        if self._backlog_size + len(rest) > BACKLOG:
            rest = b"\n[covey: %d bytes left out here]\n" % len(rest)
        if rest:
            self._backlog.append(rest)
            self._backlog_size += len(rest)

    # From here on: the thread.

    def _run(self) -> None:
        # A reader of stderr that has gone must not end the program, whatever that has done to its signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
        try:
            going_on = self._look_around()
            while going_on:
                for descriptor, _ in self._inlet.poll():
                    if descriptor == self._wake_read:
                        self._hear()
                    else:
                        self._pass_on(descriptor)
                if self._changed:
                    going_on = self._look_around()
        finally:
            # Should it fail, nobody may wait for ever for room in a pipe that nobody reads.
            with self._lock:
                self._let_go()

    def _look_around(self) -> bool:
        """Passes on what the dead have left, and sees what there is to wait for then; False: nothing, it is over."""
        while True:
            self._changed = False
            with self._lock:
                for source in [source for source in self._sources.values() if source.over]:
                    os.close(source.descriptor)
                    del self._sources[source.descriptor]
                backlog, self._backlog, self._backlog_size = self._backlog, [], 0
                waited_for = [source.descriptor for source in self._sources.values() if not source.ended]
                going_on = self._deadline is None
            if not backlog:
                break
            for data in backlog:
                self._write(data)
        self._inlet = select.poll()
        for descriptor in (self._wake_read, *waited_for):
            self._inlet.register(descriptor, select.POLLIN)
        return going_on

    def _pass_on(self, descriptor: int) -> None:
        with self._lock:
            source = self._sources.get(descriptor)
            if source is None or source.over:
                return
            data = source.read()
            # Its end is no death: the slot may have put something else in the place of its descriptor 2.
            self._changed = self._changed or source.ended
        self._write(data)

    def _write(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            ready = [descriptor for descriptor, _ in self._outlet.poll(self._patience())]
            if self._wake_read in ready:
                self._hear()
            if self._target in ready:
                try:
                    # So much can be written to a pipe that has any room, without waiting.
                    at += os.write(self._target, data[at : at + select.PIPE_BUF])
                except BlockingIOError:
                    continue
                except OSError:
                    # Its reader has gone, or its disk is full: the slots must not stand still for that.
                    return
            elif not ready:
                return

    def _patience(self) -> float | None:
        deadline = self._deadline
        return None if deadline is None else max(0.0, (deadline - time.monotonic()) * 1000.0)

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        self._changed = True

    def _let_go(self) -> None:
        for source in self._sources.values():
            source.over = True
            os.close(source.descriptor)
        self._sources.clear()
        for name in ("_wake_read", "_wake_write", "_target"):
            descriptor = getattr(self, name)
            setattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)


def copy_or_null(descriptor: int) -> int:
    """A copy of the descriptor; of nothing, where it is closed."""
    try:
        return os.dup(descriptor)
    except OSError:
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
