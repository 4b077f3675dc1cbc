# SPDX-License-Identifier: BSD-3-Clause
"""The names of machines, looked up beside the links that wait for them.

Why: libzmq would ask the name server in the one thread that moves every link's bytes, and a name server that does not
answer takes ten seconds to say so. Machines that are there must not wait for the name of one that is not.

May not know: keys, tasks. Guarantees: nobody waits here but a thread of the name's own; it lives until the link is
open, and asks again meanwhile, because a machine that comes late may come at another address.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Protocol

__all__ = ["Names", "address_of", "is_named"]

# Seconds between two questions for the name of a machine that is not there.
_AGAIN = 5.0


class Redirected(Protocol):
    """What is needed of the loop."""

    def redirect(self, link: int, address: str) -> None: ...


def is_named(address: str) -> bool:
    """Whether the host of this TCP address has to be looked up.

    >>> is_named("tcp://lab7:2718"), is_named("tcp://10.0.0.7:2718"), is_named("tcp://[::1]:2718")
    (True, False, False)
    """
    host, _, _ = address.removeprefix("tcp://").rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return address.startswith("tcp://")
    return False


def address_of(named: str) -> str:
    """The address with its name looked up; OSError if there is none.

    >>> address_of("tcp://127.0.0.1:2718")
    'tcp://127.0.0.1:2718'
    """
    host, _, port = named.removeprefix("tcp://").rpartition(":")
    found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    # The first of each family; the older family first, since a gate listens there unless it was told otherwise.
    first = {family: place[0] for family, _, _, _, place in reversed(found)}
    if socket.AF_INET in first:
        return f"tcp://{first[socket.AF_INET]}:{port}"
    return f"tcp://[{first[socket.AF_INET6]}]:{port}"


class Names:
    """The links of a loop that wait for an address. `tell` is called, in any thread, when more is known of one."""

    def __init__(
        self, loop: Redirected, tell: Callable[[], None], find: Callable[[str], str] = address_of
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._find = find
        self._lock = threading.Lock()
        self._sought: dict[int, threading.Event] = {}
        self._why: dict[int, str] = {}

    def seek(self, link: int, named: str) -> None:
        """Looks the name up, now and again, until `found`; does nothing if that is being done."""
        with self._lock:
            if link in self._sought:
                return
            over = self._sought[link] = threading.Event()
        threading.Thread(target=self._seek, args=(link, named, over), name="covey-name", daemon=True).start()

    def found(self, link: int) -> None:
        """The link is open: its address is right."""
        with self._lock:
            over = self._sought.pop(link, None)
        if over is not None:
            over.set()

    def why(self, link: int) -> str:
        """Why the link has no address; empty if it has one, or nothing is known yet."""
        return self._why.get(link, "")

    def close(self) -> None:
        """Ends the seeking; a question that is on its way is not waited for."""
        for link in list(self._sought):
            self.found(link)

    def _seek(self, link: int, named: str, over: threading.Event) -> None:
        while True:
            try:
                address, why = self._find(named), ""
            # UnicodeError: a name with a label that no name may have.
            except (OSError, UnicodeError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                address, why = "", f"its name cannot be looked up ({reason})"
            if over.is_set():
                return
            self._why[link] = why
            if address:
                self._loop.redirect(link, address)
            self._tell()
            if over.wait(_AGAIN):
                return
