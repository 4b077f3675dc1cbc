# SPDX-License-Identifier: BSD-3-Clause
"""A question to a broker or a node, from a terminal.

Why a loop for it: it dials, shows the key, knows why somebody is not there, and an asker is all that it has to be.

May not know: what is asked. Guarantees: the answer, or one sentence why there is none, within five seconds; nothing is
left afterwards; no key is made, because a new one fits nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from covey import settings as settings_module
from covey.errors import CoveyError
from covey.keys.connection import ConnectionFile, find_connection
from covey.keys.pairs import PeerKeys, fingerprint_of
from covey.keys.secret import Secret, key_path
from covey.node.machines import machine_of
from covey.node.names import Names, is_named

if TYPE_CHECKING:
    from covey.broker.loop import Loop

__all__ = ["Inquiry", "Target"]

_DEADLINE = 5.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Target:
    """Who is asked: how people call it, where it is dialled, and with which keys (None: a local socket, without)."""

    name: str
    addresses: tuple[str, ...]
    keys: PeerKeys | None

    @classmethod
    def of_file(cls, path: str | None) -> Target:
        """The broker of a connection file; without a path, of the one that COVEY_CONNECTION names."""
        found = find_connection(path)
        if found is None:
            raise CoveyError("name the connection file of a broker, or set COVEY_CONNECTION to its path")
        file = ConnectionFile.read(found)
        if not file.addresses:
            raise CoveyError(
                f"the connection file {found} names no address yet: start its broker with `covey broker {found}`")
        return cls(f"the broker of {found}", file.addresses, file.keys("client"))

    @classmethod
    def of_machine(cls, written: str) -> Target:
        """A machine that listens, by the key file."""
        try:
            machine = machine_of(written)
        except ValueError as error:
            raise CoveyError(str(error)) from None
        keys = Secret.read(key_path()).keys().peer("client") if machine.encrypted else None
        return cls(written, (machine.address,), keys)


class Inquiry:
    """A link to whoever is asked; use it in a `with`.

    >>> with Inquiry(Target.of_machine("lab7")) as inquiry:     # doctest: +SKIP
    ...     inquiry.ask("who")["version"]
    """

    def __init__(self, target: Target, patience: float = _DEADLINE) -> None:
        self._target = target
        self._deadline = time.monotonic() + patience
        self._patience = patience
        self._loop = _native_loop()
        self._thread = threading.Thread(target=self._loop.run, name="covey-inquiry", daemon=True)
        # Not a pipe: a name may be found after the end, and then nothing is written to what has the number by now.
        self._hears, self._tells = socket.socketpair()
        self._names = Names(self._loop, self._tell)
        keys = target.keys
        for address in target.addresses:
            named = is_named(address)
            if keys is None or not address.startswith("tcp://"):
                link = self._loop.dial(address, True)
            else:
                pair = (keys.broker, keys.own.public, keys.own.secret)
                link = self._loop.dial("" if named else address, True, pair)
            if named:
                self._names.seek(link, address)
        self._poll = select.poll()
        self._poll.register(self._hears, select.POLLIN)
        self._poll.register(self._loop.news_fd, select.POLLIN)
        self._poll.register(self._loop.orders_fd, select.POLLIN)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._names.close()
        self._loop.say_bye()
        self._loop.stop()
        self._thread.join()
        self._tells.close()
        self._hears.close()

    def _tell(self) -> None:
        with contextlib.suppress(OSError):
            self._tells.send(b"n", socket.MSG_DONTWAIT)

    def ask(self, question: str) -> dict[str, Any]:
        """What is answered; CoveyError if nothing is, or if the answer says that it cannot be."""
        handle = self._wait(self._maybe_handle)
        if handle is None:
            raise CoveyError(self._why_not())
        serial = self._loop.ask(handle, question)
        text = self._wait(lambda: self._maybe_answer(serial)) if serial else None
        if text is None:
            raise CoveyError(f"{self._target.name} is there and does not answer within {self._patience:.0f} s: it is "
                             "stopped, overloaded, or a program that uses covey and not a broker or node")
        try:
            said: dict[str, Any] = json.loads(text)
        except ValueError:
            sentence = f"{self._target.name} answers what is no JSON: use the same covey here and there"
            raise CoveyError(sentence) from None
        if "error" in said:
            raise CoveyError(str(said["error"]))
        return said

    def _wait(self, look: Callable[[], _T | None]) -> _T | None:
        while True:
            found = look()
            left = self._deadline - time.monotonic()
            if found is not None or left <= 0 or self._is_hopeless():
                return found
            self._poll.poll(left * 1000 + 1)
            with contextlib.suppress(BlockingIOError):
                self._hears.recv(64, socket.MSG_DONTWAIT)
            self._loop.read_news()

    def _maybe_handle(self) -> int | None:
        return next((int(row["handle"]) for row in self._loop.nodes()), None)

    def _maybe_answer(self, serial: int) -> str | None:
        for verb, number, text in self._loop.take_orders():
            if verb == "answer" and number == serial:
                return text.decode(errors="replace")
        return None

    def _is_hopeless(self) -> bool:
        """Whether each address was tried, and none will do."""
        closed = [link["state"] != "open" for link in self._loop.links()]
        return not self._loop.nodes() and all(closed) and all(self._whys())

    def _whys(self) -> list[str]:
        """For each address why it will not do; empty as long as nothing is known."""
        return [self._names.why(number) or str(link["why"]) for number, link in enumerate(self._loop.links())]

    def _why_not(self) -> str:
        tried = zip(self._target.addresses, self._whys(), strict=True)
        why = "; ".join(f"{address}: {reason or 'it does not answer'}" for address, reason in tried)
        keys = self._target.keys
        if all(reason.startswith("it turns us away") for reason in self._whys()):
            advice = ""
        elif keys is not None and "key" in why:
            own = fingerprint_of(keys.broker)
            advice = (f" (the fingerprint of the key here is {own}; `covey keys show-public` says there which it has, "
                      "and the file to copy from one to the other)")
        else:
            advice = ": see that it runs, and that the address is right"
        return f"{self._target.name} cannot be asked: {why}{advice}"


def _native_loop() -> Loop:
    try:
        from covey.broker.loop import Loop
        from covey.link import libzmq

        libzmq.load()
    except ImportError as error:
        sentence = f"covey's native loop cannot be had here, and asking needs it ({error}): see `covey doctor`"
        raise CoveyError(sentence) from None
    return Loop(settings_module.read(), f"inproc://inquiry-{os.urandom(8).hex()}")

