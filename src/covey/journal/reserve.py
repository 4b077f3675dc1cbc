# SPDX-License-Identifier: BSD-3-Clause
"""Room that is kept free on the disk, for what must still be written when it is full.

Why: to forget a call is to write, too. Without this a full disk could not so much as be told that something is not
wanted any more, nor keep the outcomes of what runs.

May not know: tables. Guarantees: once given up, the room is there for others until it can be had again; never raises.
"""
from __future__ import annotations

import os

__all__ = ["Reserve"]

_SIZE = 1 << 20


class Reserve:
    """A file of a megabyte that holds nothing."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "reserve")
        self._there = False
        self.take()

    def take(self) -> bool:
        """Whether the room is kept free, now if not before."""
        if self._there:
            return True
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, _SIZE)
            finally:
                os.close(descriptor)
        except OSError:
            self.give_up()
            return False
        self._there = True
        return True

    def give_up(self) -> None:
        """Lets others have the room."""
        self._there = False
        try:
            os.unlink(self._path)
        except OSError:
            pass
