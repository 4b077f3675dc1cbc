# SPDX-License-Identifier: BSD-3-Clause
"""One call per slot, each slot exactly once.

Why: the broker gives a task to whichever slot is free, so `slots` tasks might all run in the fastest one.
Here each of them first answers a roll call and waits; when as many wait as there are slots, every slot
has one, and all are told to go.

May not know: the function. The meeting point is a socket in the node's private directory.
Guarantees: two roll calls over one flock, by whichever threads and processes, follow each other (else
each would hold slots that the other waits for); a task that runs again after a death does not wait; when
the call is given up, waiting tasks end with an error at once.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from covey.client.futures import Partial
from covey.codec.parcel import ITEMS

if TYPE_CHECKING:
    from covey.client.client import Client
    from covey.client.futures import Future

__all__ = ["RollCalled", "call_every_slot"]

GO = b"g"


class RollCalled:
    """A call that first waits until every slot has one."""

    __slots__ = ("func", "path")

    def __init__(self, call: Callable[[Any], Any], path: str) -> None:
        self.func = call
        self.path = path

    def __call__(self, x: Any) -> Any:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            try:
                line.connect(self.path)
                told = line.recv(1)
            except OSError:
                told = b""
        if told != GO:
            raise RuntimeError("the call for every slot was given up by its caller")
        return self.func(x)


def call_every_slot(client: Client, call: Callable[[Any], Any]) -> list[Any]:
    """`call(None)` once in every slot of the flock; the results, in no particular order of slots."""
    folder = client.folder
    with _alone(folder), _Roll(folder) as roll:
        entry = client.book.seal_now(RollCalled(call, roll.path))
        futures = [client.post(entry, ITEMS, [None]) for _ in range(client.slots)]
        client.flush()
        try:
            roll.serve(futures)
            return [_single(future) for future in futures]
        finally:
            for future in futures:
                future.cancel()


def _single(future: Future[Any]) -> Any:
    value = future.result()
    if isinstance(value, Partial):
        raise value.error
    return value[0]


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    # flock() belongs to the open file, so it keeps threads apart as well as processes
    lock = os.open(os.path.join(folder, "roll.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class _Roll:
    """The caller's end: counts who waits, and lets them go."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "roll")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._bell, self._ring = socket.socketpair()
        self._lines: set[socket.socket] = set()
        self._gone = False

    def __enter__(self) -> _Roll:
        self._listener.bind(self.path)
        self._listener.listen(4096)
        self._ring.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        for one in (*self._lines, self._listener, self._bell, self._ring):
            one.close()

    def serve(self, futures: Sequence[Future[Any]]) -> None:
        """Until all are done, or one has failed."""
        for future in futures:
            future.add_done_callback(self._on_done)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._bell, selectors.EVENT_READ)
            while not all(future.done() for future in futures):
                if any(_failed(future) for future in futures):
                    return
                for key, _ in selector.select():
                    if key.fileobj is self._listener:
                        line, _ = self._listener.accept()
                        self._lines.add(line)
                        selector.register(line, selectors.EVENT_READ)
                    elif key.fileobj is self._bell:
                        self._bell.recv(4096)
                    else:
                        # it never writes: its slot has died, and the task will come again from another
                        assert isinstance(key.fileobj, socket.socket)
                        selector.unregister(key.fileobj)
                        self._lines.discard(key.fileobj)
                        key.fileobj.close()
                if self._gone or len(self._lines) >= len(futures):
                    self._gone = True
                    for line in self._lines:
                        with suppress(OSError):
                            line.send(GO)
                        with suppress(KeyError):
                            selector.unregister(line)
                        line.close()
                    self._lines.clear()

    def _on_done(self, _: object) -> None:
        # a full pipe is as good a wake-up as one more byte, a closed one needs none
        with suppress(OSError):
            self._ring.send(GO)


def _failed(future: Future[Any]) -> bool:
    return future.done() and (
        future.cancelled() or future.exception() is not None or isinstance(future.result(), Partial)
    )
