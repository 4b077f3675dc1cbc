# SPDX-License-Identifier: BSD-3-Clause
"""A shelf of nasty objects: what cannot be pickled, what cannot be loaded, what pickle quietly changes.

Why: whatever lets objects through must survive these, so they stand in one place. Each name says what is wrong with
the thing; `everything()` is all of them.

    >>> from covey.testing import shelf
    >>> shelf.UNPICKLABLE["lock"]
    <unlocked _thread.lock object at 0x...>

May not know: covey.
"""
from __future__ import annotations

import enum
import sys
import threading
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Iterator
from typing import Any, NoReturn, Self

import numpy as np


class FailsToPickle:
    """Its pickling raises an error of the user's own."""

    def __reduce__(self) -> NoReturn:
        raise ValueError("I stay here")


class FailsToLoad:
    """Pickles well; loading it raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ("it does not want to be here",)


def _refuse(why: str) -> NoReturn:
    raise RuntimeError(why)


class MissingModule:
    """Pickles well; loading it needs a module that nobody has."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("no_such_module_anywhere",)


class ExitsWhenPickled:
    def __reduce__(self) -> NoReturn:
        raise SystemExit(7)


class HoldsLock:
    def __init__(self) -> None:
        self.fine = 1
        self.lock = threading.Lock()


class KeywordOnly(Exception):
    """Python's own reduction calls it with positional arguments, which it refuses."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class TwoArguments(Exception):
    """Passes on fewer arguments than it takes."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class WrapsItsMessage(Exception):
    """Loads without complaint, with its message wrapped twice."""

    def __init__(self, what: str) -> None:
        super().__init__(f"failed: {what}")


class OddSystemError(OSError):
    def __init__(self, number: int, text: str, extra: str) -> None:
        super().__init__(number, text)
        self.extra = extra


class BecomesAnother(Exception):
    """Loads as another type."""

    def __reduce__(self) -> tuple[Any, ...]:
        return ValueError, ("I was somebody else",)


class NeverLoads(Exception):
    """There can be one of it, ever."""

    made = False

    def __new__(cls, *args: object) -> Self:
        if cls.made:
            raise RuntimeError("there is one already")
        cls.made = True
        return super().__new__(cls, *args)


class FailsToPrint(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class HoldsLockError(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class BadNotes(Exception):
    """Its __notes__ are no list."""

    def __init__(self) -> None:
        super().__init__("bad notes")
        self.__dict__["__notes__"] = 5


class Group(ExceptionGroup[Exception]):
    """A group with something of its own."""

    code = 0

    def derive(self, excs: Any) -> Group:  # type: ignore[override]
        return Group(self.message, excs)


Point = namedtuple("Point", "x y")  # noqa: PYI024  an untyped one is meant


class Colour(enum.IntEnum):
    RED = 1


class MyInt(int):
    pass


class MyStr(str):
    __slots__ = ()


class MyTuple(tuple[Any, ...]):
    __slots__ = ()


class MyDict(dict[Any, Any]):
    pass


class MyFloat(float):
    pass


def recursive_list() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


def recursive_dict() -> dict[str, Any]:
    inside: dict[str, Any] = {}
    inside["me"] = (inside,)
    return inside


def deep_list(depth: int) -> list[Any]:
    nest: list[Any] = []
    for _ in range(depth):
        nest = [nest]
    return nest


def endless(n: int = 0) -> int:
    return endless(n + 1)


UNPICKLABLE: dict[str, Any] = {
    "lock": threading.Lock(),
    "generator": (x for x in ""),
    "frame": sys._getframe(),
    "raises": FailsToPickle(),
    "holder": HoldsLock(),
    "deep": deep_list(100_000),
}

# What pickles well, and raises where it is loaded.
UNLOADABLE: dict[str, Any] = {"fails to load": FailsToLoad(), "missing module": MissingModule()}

ERRORS: dict[str, BaseException] = {
    "keyword only": KeywordOnly(code=4),
    "two arguments": TwoArguments("m", 5),
    "wraps its message": WrapsItsMessage("w"),
    "odd os error": OddSystemError(2, "t", "extra"),
    "becomes another": BecomesAnother("me"),
    "fails to print": FailsToPrint("x"),
    "holds a lock": HoldsLockError(),
    "bad notes": BadNotes(),
    "own group": Group("g", [ValueError(1)]),
}

# Things that compare equal to their round trip, with their exact types.
ODD_VALUES: dict[str, Any] = {
    "huge int": 10**300,
    "int at the edge": (2**63 - 1, -(2**63), 2**63, -(2**63) - 1),
    "surrogate": "\ud800",
    "null character": "a\0b",
    "not ascii": "naïve ✓ 🐦",
    "negative zero": (0.0, -0.0),
    "infinity": (float("inf"), float("-inf")),
    "bool among ints": (True, 1, False, 0),
    "int enum": (Colour.RED, 1),
    "int subclass": MyInt(3),
    "str subclass": MyStr("s"),
    "float subclass": MyFloat(0.5),
    "tuple subclass": MyTuple((1, 2)),
    "dict subclass": MyDict(a=1),
    "namedtuple": Point(1, 2),
    "ordered": OrderedDict([("b", 1), ("a", 2)]),
    "default dict": defaultdict(list, {"a": [1]}),
    "long tuple": tuple(range(17)),
    "deep tuple": ((((((1,),),),),),),
    "wide list": list(range(5000)),
    "sets": ({1, 2}, frozenset({"a"}), set()),
    "bytes": (b"", b"\0\xff" * 50_000, bytearray(b"ab")),
    "complex": 1 - 2j,
    "range and slice": (range(3), slice(1, None, 2)),
    "ellipsis": (..., NotImplemented),
    "class and function": (Colour, deep_list, len, dict.fromkeys, int),
    "numpy scalar": np.float32(1.5),
    "numpy bool": np.bool_(True),
}

_grid = np.arange(120_000, dtype=np.float64).reshape(300, 400)
ARRAYS: dict[str, Any] = {
    "small": np.arange(3),
    "0-d": np.array(2.5),
    "empty": np.empty((0, 4)),
    "large": _grid,
    "fortran": np.asfortranarray(_grid),
    "columns": _grid[:, 100:300],
    "reversed": _grid[::-1],
    "every other": _grid[::2, ::3],
    "broadcast": np.broadcast_to(np.arange(400.0), (300, 400)),
    "object": np.array([1, "a", None], dtype=object),
    "structured": np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
    "strings": np.array(["a", "bcd"]),
    "dates": np.array(["2024-01-01"], dtype="M8[D]"),
    "big endian": np.arange(4, dtype=">i4"),
    "bools": np.ones(20_000, dtype=bool),
    "masked": np.ma.masked_array([1, 2, 3], mask=[False, True, False]),
}


def everything() -> Iterator[tuple[str, Any]]:
    """All objects of the shelf, each with its name: try what you wrote on them.

    >>> len(dict(everything())) > 60
    True
    """
    for board in (UNPICKLABLE, UNLOADABLE, ERRORS, ODD_VALUES, ARRAYS):
        yield from board.items()
