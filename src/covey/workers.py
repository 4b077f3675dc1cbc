# SPDX-License-Identifier: BSD-3-Clause
"""`funworker()` and `optworker()`: the one line of a worker script that makes its machine a node.

Why: this is how the users of Playdoh gave a machine to others, and it needs no command line. `covey node --listen` is
the same.

May not know: what will be run. Guarantees: they return when `shutdown(dfun)` is called, or at Ctrl-C, SIGTERM or
SIGHUP, and leave nothing behind.
"""

from __future__ import annotations

import sys
import threading

from covey import settings as settings_module
from covey.keys.pairs import fingerprint_of
from covey.keys.secret import Secret
from covey.node.limits import SlotLimits
from covey.node.machines import PORT
from covey.node.offer import detect_offer
from covey.node.pipes import pipe_address
from covey.node.server import Gate, NodeServer, bridge_gate

__all__ = ["funworker", "optworker"]


def funworker(
    max_cpu: int | None = None,
    max_gpu: int | None = None,
    named_pipe: bool | str | None = None,
    port: int | None = None,
    *,
    bind: str = "*",
    authkey: str | bytes | None = None,
    name: str | None = None,
    max_tasks_per_slot: int | None = None,
    slot_max_rss: int | None = None,
) -> None:
    """Gives this machine to whoever has its key, until it is told to end.

    Parameters:
        max_cpu, max_gpu: how much of it: None all, n at most n, 0 none, -n all but n.
        named_pipe: True or a name: only for programs of this user on this machine, without a port.
        port: where to listen, if not 2718. bind: on which interface; '*' is all of them.
        authkey: the secret shared with the callers; None: the key file (`covey keys`).
        name: what the machine is called in errors and tables.
        max_tasks_per_slot: replace a slot after so many tasks.
        slot_max_rss: bytes a slot may have: over 80 % it is replaced after its task, over 95 % ended at once.

    >>> covey.funworker(max_cpu=2)                          # doctest: +SKIP
    """
    if threading.current_thread() is not threading.main_thread():
        # Python hands signals to no other.
        raise RuntimeError("a worker ends at Ctrl-C or SIGTERM, so it serves in the main thread of its program only: "
                           "call it there, or start a worker script as a process of its own")
    settings = settings_module.read()
    limits = SlotLimits.checked("funworker", max_tasks_per_slot, slot_max_rss)
    offer = detect_offer(max_cpu=max_cpu, max_gpu=max_gpu, limit=settings.max_cpu)
    if offer.cpus == 0 and not offer.gpus:
        raise ValueError("a worker with max_cpu=0 and no GPU could run nothing: give it at least one of them")
    if named_pipe is not None and named_pipe is not False:
        if port is not None:
            raise ValueError("a worker listens at a port or at a named pipe: give one of them")
        pipe = pipe_address(named_pipe)
        gate = bridge_gate(pipe, lambda: Secret.find(authkey, settings=settings))
        server = NodeServer(offer, gate=gate, pipe=pipe, name=name, limits=limits)
        where = f"named pipe {named_pipe!r}" if named_pipe is not True else "the named pipe"
    else:
        if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
            raise ValueError(f"port={port!r}: a port is a number from 1 to 65535")
        keys = Secret.find(authkey, settings=settings).keys()
        gate = Gate((f"tcp://{bind}:{port or PORT}",), keys, authkey is not None)
        server = NodeServer(offer, gate=gate, name=name, limits=limits)
        where = f"{server.addresses[0]}, key {fingerprint_of(keys.broker.public)}"
    count = server.node.count
    said = f"covey: {count} slot{'s' * (count != 1)}, at {where}; Ctrl-C ends this\n"
    server.run(lambda: sys.stderr.write(said))


def optworker(
    max_cpu: int | None = None,
    max_gpu: int | None = None,
    port: int | None = None,
    named_pipe: bool | str | None = None,
    *,
    bind: str = "*",
    authkey: str | bytes | None = None,
    name: str | None = None,
    max_tasks_per_slot: int | None = None,
    slot_max_rss: int | None = None,
) -> None:
    """`funworker` with the two last in the order that Playdoh's optworker had them; both serve all calls alike.

    >>> covey.optworker(max_cpu=2)                          # doctest: +SKIP
    """
    funworker(
        max_cpu, max_gpu, named_pipe, port, bind=bind, authkey=authkey, name=name,
        max_tasks_per_slot=max_tasks_per_slot, slot_max_rss=slot_max_rss,
    )
