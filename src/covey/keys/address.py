# SPDX-License-Identifier: BSD-3-Clause
"""What may stand in a connection file as an address.

Why: an address that nobody can dial is noticed by another person, on another machine, much later.

May not know: sockets; no name is looked up. Guarantees: what is accepted names one host and one port, or one local
socket.
"""
from __future__ import annotations

import re

from covey.errors import KeyRefused

__all__ = ["checked_address", "host_of"]

_TCP = re.compile(r"tcp://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%A-Za-z0-9]+\]):(?P<port>[0-9]{1,5})")
_IPC = re.compile(r"ipc://[^\0-\x1f]+")
_EVERYWHERE = ("tcp://*:", "tcp://0.0.0.0:", "tcp://[::]:")


def checked_address(text: str) -> str:
    """The address, if peers can dial it; KeyRefused otherwise.

    >>> checked_address("tcp://login.lab:2718")
    'tcp://login.lab:2718'
    """
    match = _TCP.fullmatch(text)
    if text.startswith(_EVERYWHERE):
        raise KeyRefused(f"the address {text} means every interface of this machine, and other machines cannot dial "
                         "that: name the host as they know it")
    if (match and 0 < int(match["port"]) < 65536) or _IPC.fullmatch(text):
        return text
    raise KeyRefused(f"the address {text!r} cannot be dialled: write tcp://HOST:PORT or ipc://PATH")


def host_of(addresses: tuple[str, ...]) -> str:
    """The host of the first TCP address; empty if there is none.

    >>> host_of(("ipc:///run/covey", "tcp://login.lab:2718"))
    'login.lab'
    """
    return next((match["host"] for match in map(_TCP.fullmatch, addresses) if match), "")
