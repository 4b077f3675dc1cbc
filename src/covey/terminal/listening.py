# SPDX-License-Identifier: BSD-3-Clause
"""What may stand behind `--listen`.

Why: libzmq takes a port modulo 65,536, and answers whatever else is odd in words that help nobody.

May not know: sockets; no name is looked up. Guarantees: what is accepted names one host, or every interface, and one
port, or `*` for a free one.
"""
from __future__ import annotations

import re

from covey.errors import CoveyError

__all__ = ["checked_listen"]

_LISTEN = re.compile(r"tcp://(\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%A-Za-z0-9]+\]):(\*|[0-9]{1,5})")


def checked_listen(address: str) -> str:
    """The address, if it can be listened at; CoveyError otherwise.

    >>> checked_listen("tcp://*:2718")
    'tcp://*:2718'
    """
    match = _LISTEN.fullmatch(address)
    if match is None or (match[2] != "*" and int(match[2]) > 65535):
        raise CoveyError(f"--listen {address}: write tcp://HOST:PORT, with a port up to 65535")
    return address
