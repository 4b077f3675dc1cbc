# SPDX-License-Identifier: BSD-3-Clause
"""The native loop, as Python sees it; ext/covey/broker/loop.pyx says what is behind it."""

from collections.abc import Mapping, Sequence
from typing import Any

from covey.broker.broker import Broker
from covey.settings import Settings

LINK_STATES: tuple[str, ...]

# A Broker that moves its own messages through libzmq; bound to its addresses as soon as it is made.
class Loop(Broker):
    def __init__(self, settings: Settings, *addresses: str) -> None: ...
    # Before `run`: TCP addresses, the server's secret key, and public key → "client" or "node"; the addresses bound.
    def open_gate(self, addresses: Sequence[str], secret: bytes, allowed: Mapping[bytes, str]) -> list[str]: ...
    # Keeps a link until the end; `keys` are the server's public key, our public and our secret one. Its number.
    def dial(self, address: str, asks: bool, keys: Sequence[bytes] | None = None) -> int: ...
    # From its next try on the link dials this address; one with an empty address begins to.
    def redirect(self, link: int, address: str) -> None: ...
    # By number: address, state, tries, why, port, and whether the other end has welcomed us (joined).
    def links(self) -> list[dict[str, Any]]: ...
    # How many keys were refused, from where the last of all came, how many handshakes failed before a key.
    def strangers(self) -> tuple[int, str, int]: ...
    # Serves until `stop`, in a thread of its own; holds no GIL meanwhile.
    def run(self) -> None: ...
