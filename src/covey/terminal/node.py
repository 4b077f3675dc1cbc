# SPDX-License-Identifier: BSD-3-Clause
"""`covey node`: this machine as a node, listening for callers or dialling a broker.

May not know: how a node works. Guarantees: `--detect` starts nothing; no option takes a key.
"""
from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from covey import settings as settings_module
from covey.errors import CoveyError
from covey.keys.connection import ConnectionFile, find_connection
from covey.keys.pairs import fingerprint_of
from covey.keys.secret import Secret
from covey.node.limits import SlotLimits
from covey.node.machines import PORT, Machine
from covey.node.offer import Offer, detect_offer
from covey.node.pipes import pipe_address
from covey.node.server import Gate, NodeServer, bridge_gate
from covey.terminal.listening import checked_listen

__all__ = ["parser", "run"]


def run(arguments: Sequence[str]) -> int:
    """`covey node …`."""
    chosen = parser().parse_args(arguments)
    clipped: list[str] = []
    try:
        offer = detect_offer(
            max_cpu=chosen.max_cpu,
            max_gpu=chosen.max_gpu,
            min_gpu_memory=chosen.min_gpu_memory,
            limit=settings_module.read().max_cpu,
            say=clipped.append,
        )
        if chosen.detect:
            said = json.dumps(offer.as_dict(), indent=2) if chosen.json else "\n".join(offer.lines())
            sys.stdout.write(said + "\n")
            return 0
        server, where = _server(chosen, offer)
    except ValueError as error:
        raise CoveyError(str(error)) from None
    count = f"{server.node.count} slot{'s' * (server.node.count != 1)}"
    said = f"covey node: {count}, {where}; Ctrl-C ends this\n" + "".join(f"note: {note}\n" for note in clipped)
    server.run(lambda: sys.stderr.write(said))
    return 0


def parser() -> ArgumentParser:
    """What may stand behind `covey node`.

    >>> parser().parse_args(["--listen", "--max-cpu", "2"]).max_cpu
    2
    """
    whole = ArgumentParser(
        prog="covey node", description="Give this machine's CPUs and GPUs to callers with the right key.",
        allow_abbrev=False)
    ways = whole.add_mutually_exclusive_group()
    ways.add_argument("--listen", nargs="?", const=f"tcp://*:{PORT}", metavar="tcp://HOST:PORT",
                      help=f"wait for callers (default: every interface, port {PORT})")
    ways.add_argument("--connect", metavar="FILE", help="dial the broker of this connection file; - reads it from "
                      "standard input (default: what COVEY_CONNECTION names)")
    ways.add_argument("--named-pipe", metavar="NAME", help="wait for callers of this user on this machine")
    ways.add_argument("--detect", action="store_true", help="say what would be offered, and why, and end")
    whole.add_argument("--json", action="store_true", help="with --detect: for programs")
    whole.add_argument("--max-cpu", type=int, metavar="N", help="at most so many CPUs; -1: all but one")
    whole.add_argument("--max-gpu", type=int, metavar="N", help="at most so many GPUs; 0 touches no driver")
    whole.add_argument("--min-gpu-memory", type=int, default=0, metavar="BYTES", help="leave out GPUs with less free")
    whole.add_argument("--max-tasks-per-slot", type=int, metavar="N", help="replace a slot after so many tasks")
    whole.add_argument("--slot-max-rss", type=int, metavar="BYTES", help="what a slot may have: over 80 %% it is "
                       "replaced after its task, over 95 %% ended at once")
    whole.add_argument("--name", help="what this machine is called in errors and tables")
    return whole


def _server(chosen: Namespace, offer: Offer) -> tuple[NodeServer, str]:
    if offer.cpus == 0 and not offer.gpus:
        raise CoveyError("nothing is left to offer: --max-cpu 0 and no GPU")
    limits = SlotLimits.checked("covey node", chosen.max_tasks_per_slot, chosen.slot_max_rss)
    if chosen.named_pipe is not None:
        pipe = pipe_address(chosen.named_pipe)
        server = NodeServer(offer, gate=bridge_gate(pipe, Secret.find), pipe=pipe, name=chosen.name, limits=limits)
        return server, f"at the named pipe {chosen.named_pipe}"
    if chosen.listen is not None:
        checked_listen(chosen.listen)
        keys = Secret.find().keys()
        server = NodeServer(offer, gate=Gate((chosen.listen,), keys), name=chosen.name, limits=limits)
        return server, f"at {server.addresses[0]}, key {fingerprint_of(keys.broker.public)}"
    path = find_connection(chosen.connect)
    if path is None:
        raise CoveyError("say --listen to wait for callers, or --connect FILE to dial a broker (COVEY_CONNECTION names "
                         "no file either)")
    file = ConnectionFile.read(path)
    machines = [Machine.of_broker(path, address) for address in file.addresses]
    if not machines:
        raise CoveyError(f"the connection file {path} names no address yet: start its broker first")
    server = NodeServer(offer, upstream=(machines, file.keys("node")), name=chosen.name, limits=limits)
    return server, f"for {machines[0].written}"
