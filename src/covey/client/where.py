# SPDX-License-Identifier: BSD-3-Clause
"""Where a client's calls may go: what `where`, `machines`, `port`, `named_pipe` and `authkey` come to.

May not know: how links are kept. Guarantees: what makes no sense is refused here by a sentence; no key is looked for,
and none made, unless a machine will be dialled over a network.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from covey.keys.connection import ConnectionFile
from covey.keys.pairs import PeerKeys
from covey.keys.secret import Secret
from covey.node.machines import Machine, machine_of
from covey.node.pipes import DEFAULT_PIPE, pipe_address
from covey.settings import Settings

__all__ = ["Elsewhere", "elsewhere"]

_HERE = ("localhost", "127.0.0.1", ".", "::1")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Machines to dial as one who asks, and the keys for it; `authkey`: they are made of one. `all_of_it`: this
    machine is not to compute."""

    machines: tuple[Machine, ...] = ()
    keys: PeerKeys | None = None
    authkey: bool = False
    all_of_it: bool = False


def elsewhere(
    where: str | os.PathLike[str] | None,
    machines: Sequence[str],
    port: int | None,
    named_pipe: bool | str | None,
    authkey: str | bytes | None,
    settings: Settings,
) -> Elsewhere:
    """What these words mean together."""
    if isinstance(machines, (str, bytes)):
        raise TypeError(f"machines={machines!r}: a list of host names is needed, such as [{machines!r}]")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        raise ValueError(f"port={port!r}: a port is a number from 1 to 65535")
    if named_pipe and port is not None:
        raise ValueError("machines listen at a port or at a named pipe: give port= or named_pipe=, not both")
    if (named_pipe or port is not None) and not machines:
        given = f"named_pipe={named_pipe!r}" if named_pipe else f"port={port}"
        raise ValueError(
            f"{given} says how machines are reached, and none is named: give machines=[…], or leave it out"
        )
    if where is not None:
        if machines:
            raise ValueError("where= names a broker and machines= names nodes: give one of them")
        return _at_broker(where)
    if named_pipe is not None and named_pipe is not False:
        found = [_piped(machine, named_pipe) for machine in machines]
    else:
        found = [machine_of(machine, port) for machine in machines]
    if len({machine.address for machine in found}) < len(found):
        raise ValueError(f"machines={list(machines)!r} names a machine twice")
    keys = Secret.find(authkey, settings=settings).keys().peer("client") if any(m.encrypted for m in found) else None
    return Elsewhere(tuple(found), keys, authkey is not None)


def _at_broker(where: str | os.PathLike[str]) -> Elsewhere:
    file = ConnectionFile.read(where)
    name = os.fspath(where)
    if not file.addresses:
        raise ValueError(f"the connection file {name} names no address yet: start its broker first")
    found = tuple(Machine.of_broker(name, address) for address in file.addresses)
    return Elsewhere(found, file.keys("client"), all_of_it=True)


def _pipe_name(named_pipe: bool | str) -> str:
    return f"the named pipe {DEFAULT_PIPE if named_pipe is True else named_pipe!r}"


def _piped(machine: str, named_pipe: bool | str, system: str = os.name) -> Machine:
    if machine.startswith("ipc://"):
        return machine_of(machine)
    if machine in _HERE or machine.partition(".")[0] == socket.gethostname().partition(".")[0]:
        return Machine(_pipe_name(named_pipe), pipe_address(named_pipe, system=system))
    if system == "nt":
        machine_of(machine)                 # refuses what is no name
        name = f"{_pipe_name(named_pipe)} of {machine}"
        return Machine(name, pipe_address(named_pipe, machine=machine, system=system))
    raise ValueError(
        f"named_pipe={named_pipe!r}: a named pipe reaches only this machine here, and {machine!r} is another one: "
        "leave named_pipe out, and start its worker without it"
    )
