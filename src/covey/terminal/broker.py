# SPDX-License-Identifier: BSD-3-Clause
"""`covey broker`: a meeting point of clients and nodes, found through the connection file that it writes.

May not know: how a broker works. Guarantees: a broker started again with the same file keeps its keys, and its port
unless it is told another one, so clients and nodes find it again by themselves; one that cannot listen writes nothing.
"""
from __future__ import annotations

import os
import socket
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from covey import __version__, settings
from covey.errors import CoveyError
from covey.keys.connection import ConnectionFile
from covey.keys.pairs import PeerKeys
from covey.keys.secret import Secret
from covey.node.machines import Machine
from covey.node.offer import detect_offer
from covey.node.server import Gate, NodeServer
from covey.node.spilling import Bound
from covey.terminal.listening import checked_listen
from covey.wire.protocol import PROTOCOL

if TYPE_CHECKING:
    from covey.journal.clerk import Clerk

__all__ = ["parser", "run"]

# Nodes find a broker that was started again within a second or so; what they hold of the last one's is asked for then.
_SETTLE = 3.0
_EVERYWHERE = ("*", "0.0.0.0", "[::]")


def run(arguments: Sequence[str]) -> int:
    """`covey broker …`."""
    chosen = parser().parse_args(arguments)
    secret = Secret.find()
    folder = os.path.dirname(os.path.abspath(chosen.file))
    if not os.path.isdir(folder):
        raise CoveyError(f"the folder {folder} is not there, so no connection file can be: make it, or name another")
    kept = ConnectionFile.maybe_kept(chosen.file, secret)
    known = kept.addresses if kept is not None else ()
    wanted = tuple(_as_before(asked, known) for asked in chosen.listen or known or ("tcp://127.0.0.1:*",))
    upstream = None
    if chosen.connect is not None:
        above = ConnectionFile.read(chosen.connect)
        if not above.addresses:
            raise CoveyError(f"the connection file {chosen.connect} names no address yet: start its broker first")
        if chosen.journal is not None:
            raise CoveyError("a broker with a journal stands at the top: leave --connect out, or --journal")
        upstream = ([Machine.of_broker(chosen.connect, address) for address in above.addresses], above.keys("node"))
    known_settings = settings.read()
    if chosen.max_memory is not None:
        known_settings = replace(known_settings, max_memory=chosen.max_memory)
    bound = Bound.of(known_settings)
    clerk = None
    if chosen.journal is not None:
        # SQLite and file locks, which most brokers do without, and some systems too.
        from covey.journal.clerk import Clerk

        clerk = Clerk(chosen.journal, known_settings, durable=chosen.durability == "sync")
    try:
        return _serve(chosen, secret, kept, wanted, upstream, clerk, bound)
    finally:
        if clerk is not None:
            clerk.close()


def _serve(
    chosen: Namespace, secret: Secret, kept: ConnectionFile | None, wanted: Sequence[str],
    upstream: tuple[list[Machine], PeerKeys] | None, clerk: Clerk | None,
    bound: Bound | None,
) -> int:
    try:
        server = NodeServer(
            detect_offer(max_cpu=0, max_gpu=0),
            gate=Gate(tuple(map(_bindable, wanted)), secret.keys()),
            upstream=upstream,
            name=chosen.name,
            slots=False,
            bound=bound,
        )
    except ValueError as error:
        raise CoveyError(str(error)) from None
    if kept is not None:
        server.node.loop.settle(_SETTLE)
    if clerk is not None:
        server.show_jobs(clerk.jobs)
    server.start()
    try:
        if clerk is not None:
            clerk.start(server.node.address, server.places, server.fail)
        addresses = [_dialable(asked, bound) for asked, bound in zip(wanted, server.addresses, strict=True)]
        file = ConnectionFile.keep_or_make(
            chosen.file, secret, addresses, protocol=PROTOCOL, version=__version__,
            name=chosen.name or "", host=socket.gethostname())
    except BaseException:
        server.close()
        raise
    said = (f"covey broker: at {', '.join(file.addresses)}, key {file.fingerprint}; clients and nodes find it with "
            f"{chosen.file}; Ctrl-C ends this\n")
    server.run(lambda: sys.stderr.write(said))
    return 0


def parser() -> ArgumentParser:
    """What may stand behind `covey broker`.

    >>> parser().parse_args(["lab.json", "--listen", "tcp://login:2718"]).listen
    ['tcp://login:2718']
    """
    whole = ArgumentParser(
        prog="covey broker",
        description="Bring clients and nodes together. FILE is written, and tells both how to come here.",
        allow_abbrev=False)
    whole.add_argument("file", metavar="FILE", help="the connection file")
    whole.add_argument("--listen", action="append", metavar="tcp://HOST:PORT", help="where to listen, as others know "
                       "this host; may be given again (default: as the last time, else a free port for this machine); "
                       "with PORT * at the one of the last time, if FILE knows it")
    whole.add_argument("--connect", metavar="UPSTREAM_FILE", help="do for this broker what our nodes can do")
    whole.add_argument("--journal", metavar="DIR", help="keep detached jobs there: they outlive their client and this "
                       "broker; made if need be")
    whole.add_argument("--durability", choices=("sync", "process"), default="sync", help="what the journal is safe "
                       "against: a power cut (sync, the default), or the death of this process alone, and is faster")
    whole.add_argument("--max-memory", type=int, metavar="BYTES", help="what this process may have: over 70 %% of it "
                       "what is large goes to files, over 90 %% clients wait (default: half of what there is)")
    whole.add_argument("--name", help="what this broker is called in errors and tables")
    return whole


def _as_before(asked: str, known: Sequence[str]) -> str:
    """The address of the last time, where any port of that host will do: others look for it there.

    >>> _as_before("tcp://lab:*", ["tcp://lab:4711"]), _as_before("tcp://lab:2718", ["tcp://lab:4711"])
    ('tcp://lab:4711', 'tcp://lab:2718')
    """
    if not asked.endswith((":*", ":0")):
        return asked
    ports = [address.rpartition(":")[2] for address in known if _dialable(asked, address) == address]
    return asked[:-1] + ports[0] if ports else asked


def _bindable(address: str) -> str:
    """A name is bound on every interface: which of them it means is for whoever dials it."""
    host, _, port = checked_listen(address).removeprefix("tcp://").rpartition(":")
    is_number = host in _EVERYWHERE or host.startswith("[") or host.replace(".", "").isdigit()
    return address if is_number or host == "localhost" else f"tcp://*:{port}"


def _dialable(asked: str, bound: str) -> str:
    host = asked.removeprefix("tcp://").rpartition(":")[0]
    if host in _EVERYWHERE:
        host = socket.gethostname()
    return f"tcp://{host}:{bound.rpartition(':')[2]}"
