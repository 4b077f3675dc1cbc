# SPDX-License-Identifier: BSD-3-Clause
"""When clients end that nobody has closed: at the interpreter's exit, in the garbage, after a fork.

Why: what is pending at a normal exit is completed, as the standard library's executors do; after Ctrl-C
it is not, since nobody waits for it any more; and a forked copy must not touch what its parent uses.

May not know: how a client closes. It only says when.
Guarantees: no lock is taken in a place where the interpreter may already hold it (the collector may run
`__del__` anywhere, also inside the `threading` module), and nothing here runs twice for one client.
"""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import threading
from typing import Protocol
from weakref import WeakSet

__all__ = ["abandon", "discharge", "enrol"]


class Closable(Protocol):
    """A client, as far as its end is concerned."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...
    def kill(self) -> None: ...
    def disown(self) -> None:
        """This process is a forked copy: refuse everything, touch nothing."""


_live: WeakSet[Closable] = WeakSet()
_hooked = False


def enrol(client: Closable) -> None:
    """Close `client` when the interpreter exits, and disown it in forked copies."""
    global _hooked
    if not _hooked:
        # Like concurrent.futures: before the interpreter waits for threads, since ours end only when told.
        getattr(threading, "_register_atexit", atexit.register)(_at_exit)
        os.register_at_fork(after_in_child=_in_child)
        _hooked = True
    _live.add(client)


def discharge(client: Closable) -> None:
    """`client` is closed."""
    _live.discard(client)


def abandon(client: Closable) -> None:
    """Nobody refers to `client` any more: let what is pending complete, then close it. Called by its `__del__`."""
    _live.add(client)
    try:
        # Not threading.Thread(): its start() takes a lock that the thread in which the collector runs may
        # hold. A raw thread takes none, and can start the real one, which exit waits for.
        _thread.start_new_thread(_close_in_thread, (client,))
    except RuntimeError:
        # the interpreter is going down, too late for threads
        client.kill()


def _close_in_thread(client: Closable) -> None:
    try:
        threading.Thread(target=client.shutdown, name="covey-closing", daemon=False).start()
    except RuntimeError:
        client.kill()


def _at_exit() -> None:
    clients = list(_live)
    try:
        if not _was_interrupted():
            for client in clients:
                client.shutdown(wait=True)
    finally:
        # also after Ctrl-C in the loop above
        for client in clients:
            client.kill()


def _was_interrupted() -> bool:
    # An unhandled exception is left here by whoever printed it. At a prompt it may be long past.
    return getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")


def _in_child() -> None:
    for client in list(_live):
        client.disown()
    _live.clear()
