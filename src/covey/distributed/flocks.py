# SPDX-License-Identifier: BSD-3-Clause
"""One flock for all distributed functions that ask for the same.

Why: a program with ten distributed functions has one machine; ten flocks would fight for its cores.

May not know: what the functions do. Guarantees: a flock starts at the first call that needs it and ends
when its last user is finished, collected or the interpreter exits; the table here keeps nobody alive.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from covey.client.client import Client

__all__ = ["Wishes", "join_flock", "leave_flock"]


class Wishes(NamedTuple):
    """What a flock is asked for; equal wishes share one."""

    max_cpu: int | None = None
    max_gpu: int | None = None
    inline: bool = False
    machines: tuple[str, ...] = ()
    port: int | None = None
    named_pipe: bool | str | None = None
    max_tasks_per_slot: int | None = None
    slot_max_rss: int | None = None


_lock = threading.Lock()
_flocks: WeakValueDictionary[Wishes, Client] = WeakValueDictionary()
_users: WeakKeyDictionary[Client, WeakSet[Any]] = WeakKeyDictionary()


def join_flock(wishes: Wishes, user: object) -> Client:
    """The client of the flock that serves `wishes`; the user must keep it."""
    with _lock:
        client = _flocks.get(wishes)
        if client is None or client.closed:
            client = Client(**wishes._asdict())
            _flocks[wishes] = client
            _users[client] = WeakSet()
        _users[client].add(user)
        return client


def leave_flock(client: Client, user: object, *, kill: bool = False) -> None:
    """`user` needs it no more; the last one closes it, or kills it if what still runs is of no use."""
    with _lock:
        users = _users.get(client)
        if users is not None:
            users.discard(user)
            if users:
                return
    if kill:
        client.kill()
    else:
        client.shutdown()
