# SPDX-License-Identifier: BSD-3-Clause
"""The types of exceptions after which a call is tried again, on their way to the slot.

Why: whether an exception is worth another try is seen where it is raised, by its type; a broker opens nothing. So the
types travel ahead of the arguments, and the slot loads them only when something was raised.

May not know: how often is tried, or when. Guarantees: they are sealed once, when a call first needs it; a class of
`__main__` is the class that the function raises there.
"""
from __future__ import annotations

import struct

from covey.codec import parcel

TYPE_CHECKING = False           # a slot loads this module, too
if TYPE_CHECKING:
    from typing_extensions import Buffer

# A form of codec/values, and how many bytes of types follow.
_GUARDED = 8
_AHEAD = struct.Struct("<BI")


class Retriable:
    """Exception types; equal to others of the same types.

    >>> Retriable((OSError, KeyError))
    (OSError, KeyError)
    """

    __slots__ = ("_references", "_sealed", "types")

    def __init__(self, types: tuple[type[BaseException], ...]) -> None:
        self.types = types
        self._sealed: bytes | None = None
        self._references: set[str] = set()

    @property
    def sealed(self) -> bytes:
        """The types as `opened` reads them."""
        if self._sealed is None:
            self._sealed = parcel.seal_whole(self.types, self._references)
        return self._sealed

    @property
    def ahead(self) -> bytes:
        """What stands ahead of the parcel of a call that they guard."""
        return _AHEAD.pack(_GUARDED, len(self.sealed)) + self.sealed

    @property
    def references(self) -> set[str]:
        """The modules that the other end needs for them."""
        return self._references if self.sealed else set()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Retriable) and self.types == other.types

    def __hash__(self) -> int:
        return hash(self.types)

    def __repr__(self) -> str:
        return f"({', '.join(kind.__qualname__ for kind in self.types)}{',' * (len(self.types) == 1)})"


def opened(sealed: Buffer) -> tuple[type[BaseException], ...]:
    """The types, in the slot.

    >>> opened(Retriable((OSError,)).sealed)
    (<class 'OSError'>,)
    """
    types: tuple[type[BaseException], ...] = parcel.unseal(sealed)
    return types
