# SPDX-License-Identifier: BSD-3-Clause
"""The connection file: where a broker is, and the keys to it.

Why: a machine that has this one file can join, through firewalls and schedulers, without anything else being agreed.
It holds the broker's public key, so that no other can pose as the broker, and the key of a client, of a node, or both.
The broker's own secret is never in it: a node that was given the file cannot pose as the broker either.

May not know: sockets, what is dialled, of which version covey and its protocol are: whoever writes says it.
Guarantees: written whole or not at all, 0600; refused in one sentence when others can read it, when it is torn, or of
another format; no secret is in a repr, a pickle or the locals of a frame that raises.
"""
from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from covey.errors import KeyRefused
from covey.keys.address import checked_address, host_of
from covey.keys.pairs import ROLES, KeyPair, PeerKeys, Role, fingerprint_of
from covey.keys.private import create_private, read_private, replace_private
from covey.keys.secret import Secret
from covey.settings import Settings
from covey.settings import read as read_settings

__all__ = ["ConnectionFile", "find_connection"]

_WHAT = "the connection file"
_FORMAT = 1
_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True, repr=False)
class ConnectionFile:
    """What a connection file says.

    >>> ConnectionFile.of(Secret(bytes(32)), ["tcp://login.lab:2718"], protocol=2, version="1.0").for_role("node")
    <ConnectionFile of broker on login.lab: tcp://login.lab:2718; keys: node; fingerprint ddc502ab>
    """

    addresses: tuple[str, ...]
    broker: bytes
    pairs: dict[Role, KeyPair]
    protocol: int
    name: str
    host: str
    version: str
    origin: str = field(default="this connection file", compare=False)

    @classmethod
    def of(
        cls,
        secret: Secret,
        addresses: Iterable[str] = (),
        *,
        protocol: int,
        version: str,
        name: str = "broker",
        host: str = "",
    ) -> ConnectionFile:
        """What a broker with this secret writes, with the keys of both roles; the host is the first address's if none
        is given."""
        checked = tuple(map(checked_address, addresses))
        keys = secret.keys()
        pairs = {role: keys.peer(role).own for role in ROLES}
        return cls(checked, keys.broker.public, pairs, protocol, name, host or host_of(checked), version)

    @classmethod
    def read(cls, path: str | os.PathLike[str], stdin: BinaryIO | None = None) -> ConnectionFile:
        """What stands in the file, or, for the path `-`, on standard input."""
        return cls._read(os.fspath(path), stdin, "copy it anew from where the broker runs")

    @classmethod
    def _read(cls, path: str, stdin: BinaryIO | None, remedy: str) -> ConnectionFile:
        if path == "-":
            origin = "standard input"
            found = _maybe_connection(_read_input(stdin), origin)
        else:
            origin = path
            try:
                found = _maybe_connection(read_private(path, _WHAT, _is_connection), origin)
            except FileNotFoundError:
                raise KeyRefused(f"{_WHAT} {path} is not there: start `covey broker {path}`, make it with `covey keys "
                                 "new`, or copy it from where the broker runs") from None
        if found is None:
            raise KeyRefused(f"{origin} is torn or not a connection file: {remedy}")
        if isinstance(found, int):
            raise KeyRefused(f"{origin} is a connection file of format {found}, and this covey reads format {_FORMAT}: "
                             "use the same covey here and where the broker runs")
        return found

    @classmethod
    def maybe_kept(cls, path: str | os.PathLike[str], secret: Secret) -> ConnectionFile | None:
        """A broker's own file from the last time, None if there is none; KeyRefused if it is not this broker's."""
        path = os.fspath(path)
        return cls._kept(path, secret) if os.path.lexists(path) else None

    @classmethod
    def _kept(cls, path: str, secret: Secret) -> ConnectionFile:
        kept = cls._read(path, None, "remove it, start again, and copy the new file to the peers")
        public = secret.keys().broker.public
        if kept.broker != public:
            raise KeyRefused(
                f"{path} was made with another key (fingerprint {kept.fingerprint}) than this broker has "
                f"({fingerprint_of(public)}): name the right one with COVEY_KEY_FILE, or, if the key was rotated, "
                f"remove {path}, start again, and copy the new file to the peers")
        return kept

    @classmethod
    def keep_or_make(
        cls,
        path: str | os.PathLike[str],
        secret: Secret,
        addresses: Iterable[str] = (),
        *,
        protocol: int,
        version: str,
        name: str = "",
        host: str = "",
    ) -> ConnectionFile:
        """A broker's own file: made if there is none; otherwise its keys stay, and with them whatever of addresses,
        name and host is not given, so that peers with a copy find the restarted broker."""
        path = os.fspath(path)
        wanted = replace(
            cls.of(secret, addresses, protocol=protocol, version=version, name=name or "broker", host=host),
            origin=path,
        )
        if not os.path.lexists(path) and create_private(path, wanted.file_bytes, _WHAT):
            return wanted
        kept = cls._kept(path, secret)
        renewed = replace(
            wanted,
            addresses=wanted.addresses or kept.addresses,
            # A file for one role stays one: its copies shall not come to more than was given.
            pairs=kept.pairs,
            name=name or kept.name,
            host=wanted.host or kept.host,
        )
        if renewed != kept:
            renewed.write(path)
        return renewed

    def write(self, path: str | os.PathLike[str]) -> None:
        """Makes or replaces the file."""
        replace_private(os.fspath(path), self.file_bytes, _WHAT)

    def create(self, path: str | os.PathLike[str]) -> None:
        """Makes the file; KeyRefused if the path is taken."""
        path = os.fspath(path)
        if not create_private(path, self.file_bytes, _WHAT):
            raise KeyRefused(f"{_WHAT} {path} is there already, and peers may depend on it: name another, or remove it")

    def for_role(self, role: Role) -> ConnectionFile:
        """A copy with the key of this role only, for those who shall not have the other."""
        return replace(self, pairs={role: self.keys(role).own})

    def keys(self, role: Role) -> PeerKeys:
        """What one of this role needs to dial the broker."""
        if role not in self.pairs:
            raise KeyRefused(f"{self.origin} holds the key of a {' and a '.join(self.pairs)}, and not of a {role}: "
                             f"copy the broker's own file, or make one with `covey keys new --role {role}`")
        return PeerKeys(self.broker, role, self.pairs[role])

    @property
    def fingerprint(self) -> str:
        """That of the secret from which the file was made."""
        return fingerprint_of(self.broker)

    def file_bytes(self) -> bytes:
        """The file's text."""
        content = {
            "addresses": self.addresses,
            "broker": {"host": self.host, "name": self.name, "public": self.broker.hex()},
            "covey": self.version,
            "format": _FORMAT,
            "keys": {role: pair.secret.hex() for role, pair in self.pairs.items()},
            "protocol": self.protocol,
        }
        return json.dumps(content, indent=2, sort_keys=True).encode() + b"\n"

    def __repr__(self) -> str:
        where = ", ".join(self.addresses) or "no address yet"
        return (f"<ConnectionFile of {self.name} on {self.host or 'this machine'}: {where}; "
                f"keys: {', '.join(self.pairs)}; fingerprint {self.fingerprint}>")


def find_connection(path: str | None = None, settings: Settings | None = None) -> str | None:
    """The path of the connection file to use: the given one, else the one that COVEY_CONNECTION names, else none.

    >>> find_connection(None, Settings(connection="lab.json"))
    'lab.json'
    """
    return path or (read_settings() if settings is None else settings).connection


def _read_input(stream: BinaryIO | None) -> bytes:
    if stream is None and sys.stdin is not None:
        stream = sys.stdin.buffer
    if stream is None:
        raise KeyRefused("standard input is closed: pipe the connection file in, or name its path")
    if stream.isatty():
        raise KeyRefused("standard input is a terminal, and a connection file typed there would be seen: pipe it in, "
                         "as with `ssh HOST covey node --connect - < FILE`")
    return stream.read(_LIMIT)


def _maybe_connection(data: bytes, origin: str) -> ConnectionFile | int | None:
    """What a file says, or only its format's number if that is another, or None if it is not a whole connection file.
    Nothing is raised from here, where keys are local variables."""
    try:
        content = json.loads(data)
        version = content["format"]
        if type(version) is not int:
            return None
        if version != _FORMAT:
            return version
        broker = content["broker"]
        pairs: dict[Role, KeyPair] = {
            role: KeyPair.of(_key(content["keys"][role])) for role in ROLES if role in content["keys"]
        }
        addresses = tuple(map(checked_address, content["addresses"]))
        found = ConnectionFile(
            addresses, _key(broker["public"]), pairs, content["protocol"], broker["name"], broker["host"],
            content["covey"], origin,
        )
    # A file that somebody else wrote may be nested too deeply, or hold anything in any place.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    texts = (found.name, found.host, found.version)
    sound = type(found.protocol) is int and all(isinstance(text, str) and text.isprintable() for text in texts)
    return found if sound and pairs and isinstance(content["addresses"], list) else None


def _is_connection(data: bytes) -> bool:
    return _maybe_connection(data, "") is not None


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    if len(key) != 32:
        raise ValueError(len(key))
    return key
