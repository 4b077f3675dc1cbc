# SPDX-License-Identifier: BSD-3-Clause
"""A new secret in place of the old one.

Why: a key that somebody may have copied ends only when every machine has another.

May not know: which machines those are. Guarantees: at each moment a whole key stands at the path; the old one is kept
beside it until the next rotation, because machines that still have it must be told by name, not by guessing.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from covey.keys.private import replace_private
from covey.keys.secret import Secret

__all__ = ["Rotation", "rotate"]

_WHAT = "the key file"


@dataclass(frozen=True, slots=True)
class Rotation:
    """What was done, and what is left to do.

    >>> Rotation("k", "k.old", "1f2e3d4c", "5b6a7988").kept
    'k.old'
    """

    path: str
    kept: str
    old: str
    new: str

    @property
    def advice(self) -> str:
        """What a person has to do now."""
        return (f"{self.path} holds a new key, fingerprint {self.new}; the old one, {self.old}, is kept in {self.kept} "
                "until the next rotation.\n"
                f"1. Copy {self.path} to every machine that shares it.\n"
                "2. Stop the brokers, remove their connection files, start them again, and copy the new files to their "
                "peers.\n"
                "3. Restart nodes, worker scripts and clients. Until then those with the old key are refused.")


def rotate(path: str | os.PathLike[str], random: Callable[[int], bytes] = os.urandom) -> Rotation:
    """Puts a new secret in the place of the one in this key file."""
    path = os.fspath(path)
    kept = path + ".old"
    old, new = Secret.read(path), Secret(random(32))
    # In this order: a crash between the two leaves the old key in both places, and loses none.
    replace_private(kept, old.file_bytes, _WHAT)
    replace_private(path, new.file_bytes, _WHAT)
    return Rotation(path, kept, old.fingerprint, new.fingerprint)
