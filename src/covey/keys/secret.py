# SPDX-License-Identifier: BSD-3-Clause
"""The one shared secret, and where it is found.

Why: two machines know each other because the same 32 bytes are on both. A file that is copied once is all that a user
does for it; every key pair is made of it (`pairs`).

May not know: sockets. Guarantees: processes that make the user's key at the same moment end with the same one; a key
that others could have read is refused; the bytes are in no repr, no pickle, and no local variable of a frame that
raises.
"""
from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from typing import NoReturn, SupportsIndex

from covey.errors import KeyRefused, NotPicklable
from covey.keys.pairs import RoleKeys, fingerprint_of
from covey.keys.private import create_private, read_private
from covey.settings import Settings
from covey.settings import read as read_settings

__all__ = ["Secret", "key_path"]

_WHAT = "the key file"
_SIZE = 32
# Shorter ones are guessed, however slow a guess is made.
_LEAST = 8


class Secret:
    """The bytes that all of one flock share.

    >>> Secret.from_authkey("correct horse")
    <Secret 16b35976>
    """

    __slots__ = ("_root",)

    def __init__(self, root: bytes) -> None:
        self._root = root

    @classmethod
    def from_authkey(cls, authkey: str | bytes) -> Secret:
        """The secret that a program's `authkey=` stands for: the same for the same words, on every machine."""
        data = authkey.encode() if isinstance(authkey, str) else authkey
        if not isinstance(data, bytes):
            raise KeyRefused(f"authkey= must be str or bytes, and not {type(authkey).__name__}")
        if len(data) < _LEAST:
            raise KeyRefused(f"authkey= has {len(data)} bytes, and needs at least {_LEAST}: take a longer one, or "
                             "leave it out, and covey uses a key file")
        # Words can be guessed by whoever knows a public key: each guess shall cost 50 ms and 16 MiB. The salt is
        # fixed, because two machines that share nothing else must come to the same secret.
        return cls(hashlib.scrypt(data, salt=b"covey authkey 1", n=2**14, r=8, p=1, dklen=_SIZE))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Secret:
        """The secret in a key file."""
        path = os.fspath(path)
        try:
            found = _maybe_secret(read_private(path, _WHAT, lambda data: _maybe_secret(data) is not None))
        except FileNotFoundError:
            raise KeyRefused(f"{_WHAT} {path} is not there: make it with `covey keys new {path}`, or copy it from a "
                             "machine that has it") from None
        if found is None:
            raise KeyRefused(f"{_WHAT} {path} is torn or no key (a key is {2 * _SIZE} hexadecimal characters): copy it "
                             "anew, or remove it and make another with `covey keys new`")
        return found

    @classmethod
    def make(cls, path: str | os.PathLike[str], random: Callable[[int], bytes] = os.urandom) -> Secret:
        """A new secret, in a new key file; KeyRefused if the path is taken."""
        path = os.fspath(path)
        found = cls(random(_SIZE))
        if not create_private(path, found.file_bytes, _WHAT):
            raise KeyRefused(f"{_WHAT} {path} is there already, and others may depend on it: `covey keys rotate "
                             f"{path}` replaces it")
        return found

    @classmethod
    def find(
        cls,
        authkey: str | bytes | None = None,
        *,
        settings: Settings | None = None,
        environ: Mapping[str, str] | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Secret:
        """The secret to use: of `authkey`, else of the file that COVEY_KEY_FILE names, else the user's own, which is
        made if there is none."""
        if authkey is not None:
            return cls.from_authkey(authkey)
        settings = read_settings(environ) if settings is None else settings
        path = key_path(settings, environ)
        # A file that was named and is missing is more often a slip than a wish: a key made in its place fits nobody's.
        if settings.key_file is None and not os.path.lexists(path):
            found = cls(random(_SIZE))
            if create_private(path, found.file_bytes, _WHAT):
                return found
        return cls.read(path)

    @property
    def fingerprint(self) -> str:
        """Eight public characters; they differ where secrets differ, so that people see which machine has which."""
        return fingerprint_of(self.keys().broker.public)

    def keys(self) -> RoleKeys:
        """The key pairs that are made of it."""
        return RoleKeys.derive(self._root)

    def file_bytes(self) -> bytes:
        """What stands in a key file."""
        return self._root.hex().encode() + b"\n"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._root, other._root)

    def __hash__(self) -> int:
        return hash(self._root)

    def __repr__(self) -> str:
        return f"<Secret {self.fingerprint}>"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise NotPicklable("a Secret cannot be pickled, because it must not travel: copy the key file over ssh instead")


def key_path(settings: Settings | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Where this user's key file is, or would be.

    >>> key_path(Settings(), {"HOME": "/home/ann"})
    '/home/ann/.config/covey/key'
    """
    settings = read_settings(environ) if settings is None else settings
    if settings.key_file is not None:
        return settings.key_file
    environ = os.environ if environ is None else environ
    # A relative path there is to be ignored, says the standard that gave the variable its name.
    folder = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(folder):
        folder = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".config")
    if not os.path.isabs(folder):
        raise KeyRefused("this user has no home directory for a key file: set COVEY_KEY_FILE to the path of one")
    return os.path.join(folder, "covey", "key")


def _maybe_secret(data: bytes) -> Secret | None:
    """What a key file says. Nothing is raised from here, where its bytes are a local variable."""
    try:
        root = bytes.fromhex(data.decode("ascii").strip())
    except ValueError:
        return None
    return Secret(root) if len(root) == _SIZE else None
