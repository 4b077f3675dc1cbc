# SPDX-License-Identifier: BSD-3-Clause
"""An imprint of functions and data: what decides the values of a fitness, in two digests.

    firm    code, and what cannot change by running: names, numbers, tuples, what shared_data and local_data hold
    loose   what running may change: lists, arrays, attributes and counters that a function refers to

Why: a checkpoint that goes on with another function gives the values of one and the positions of the other. A pickle
would tell them apart too well: cloudpickle's bytes may differ from one process to the next for the same class.

May not know: files, slots. Guarantees: equal in another process for equal code and data, on the same version of Python;
code is followed into the user's own modules and stops at installed ones, whose names count and nothing else. A loose
digest is "" where something has no bytes that could be compared.
"""

from __future__ import annotations

import dis
import functools
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from covey.codec import parcel
from covey.codec.ownership import find_own

__all__ = ["Imprint", "imprint_of"]

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
MAINS = ("__main__", "__mp_main__")
# Where the function is that something else of a class calls.
BEHIND = ("__func__", "fget", "func", "__wrapped__")
# Attributes of classes that say nothing of what they do, or not the same in each process.
BESIDE = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__firstlineno__"})


class Imprint(NamedTuple):
    """The two digests."""

    firm: str
    loose: str


def imprint_of(thing: object, *, data: bool = False) -> Imprint:
    """The imprint of a function; or of `data`, whose lists and arrays are firm because the user gave them as data.

    >>> imprint_of(max).firm == imprint_of(min).firm, imprint_of([1]).firm == imprint_of([2]).firm
    (False, True)
    >>> imprint_of([1], data=True).firm == imprint_of([2], data=True).firm
    False
    """
    walk = _Walk(data)
    try:
        walk.follow(thing)
    except RecursionError:
        walk.certain = False
    return Imprint(walk.firm.hexdigest(), walk.loose.hexdigest() if walk.certain else "")


class _Walk:
    def __init__(self, data: bool) -> None:
        self.firm = blake2b(digest_size=12)
        self.loose = blake2b(digest_size=12)
        self.certain = True
        self._data = data
        self._into = self.firm
        # By id, with the object itself: an id is good as long as that lives.
        self._seen: dict[int, tuple[int, object]] = {}

    def follow(self, thing: Any) -> None:
        if type(thing) in PLAIN:
            self._say(type(thing).__name__, repr(thing))
            return
        # Whether equal constants are one object differs between a module that was compiled and one that was loaded.
        if not isinstance(thing, (tuple, frozenset, CodeType, np.generic)):
            if id(thing) in self._seen:
                self._say("again", str(self._seen[id(thing)][0]))
                return
            self._seen[id(thing)] = len(self._seen), thing
        if isinstance(thing, (FunctionType, MethodType, functools.partial, type, ModuleType, CodeType)):
            self._follow_code(thing)
        elif type(thing) is tuple:
            self._follow_all("tuple", thing)
        elif type(thing) in (list, dict, set, frozenset) or isinstance(thing, (np.ndarray, np.generic)):
            self._loosely(self._follow_data, thing, unless=self._data or isinstance(thing, (frozenset, np.generic)))
        elif isinstance(thing, (BuiltinFunctionType, np.ufunc)):
            self._say("builtin", getattr(thing, "__module__", None) or "", thing.__name__)
        elif callable(getattr(thing, "__wrapped__", None)):
            self._say("wrapper", type(thing).__name__)
            self.follow(thing.__wrapped__)
        else:
            self.follow(type(thing))
            self._loosely(self._follow_state, thing)

    def _say(self, *words: str) -> None:
        for word in words:
            encoded = word.encode("utf-8", "surrogatepass")
            self._into.update(b"%d " % len(encoded) + encoded)

    def _loosely(self, follow: Any, thing: Any, *, unless: bool = False) -> None:
        before = self._into
        self._into = before if unless else self.loose
        try:
            follow(thing)
        finally:
            self._into = before

    def _follow_code(self, thing: Any) -> None:
        if isinstance(thing, CodeType):
            self._say("code", *map(str, (thing.co_argcount, thing.co_posonlyargcount, thing.co_kwonlyargcount)))
            self._say(thing.co_code.hex(), thing.co_exceptiontable.hex(), *thing.co_names, *thing.co_varnames)
            self._follow_all("constants", thing.co_consts)
        elif isinstance(thing, MethodType):
            self.follow(thing.__func__)
            self.follow(thing.__self__)
        elif isinstance(thing, functools.partial):
            self._follow_all("partial", (thing.func, *thing.args))
            self._follow_all("keywords", [part for item in sorted(thing.keywords.items()) for part in item])
        elif isinstance(thing, ModuleType) or not _is_own(thing.__module__):
            # An own module is followed by whoever names something of it.
            self._say("name", thing.__module__ if not isinstance(thing, ModuleType) else "", thing.__name__)
        elif isinstance(thing, FunctionType):
            self._follow_function(thing)
        else:
            self._follow_class(thing)

    def _follow_function(self, function: FunctionType) -> None:
        self.follow(function.__code__)
        self._follow_all("defaults", (*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())))
        read, written = _outer_names(function.__code__)
        free = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        for name in sorted(read | written | free.keys()):
            found = list(_held(name, free, function.__globals__))
            for held in found:
                self._say("named", name)
                # What the function itself binds anew is a counter, or the like.
                self._loosely(self.follow, held, unless=name not in written)
                if isinstance(held, ModuleType):
                    self._follow_module(held, sorted(_attributes(function.__code__)))

    def _follow_module(self, module: ModuleType, names: list[str]) -> None:
        if not _is_own(module.__name__):
            return
        for name in names:
            if name in vars(module):
                held = vars(module)[name]
                self._say("of", module.__name__, name)
                self.follow(held)
                if isinstance(held, ModuleType) and held.__name__.startswith(module.__name__ + "."):
                    self._follow_module(held, names)

    def _follow_class(self, cls: type) -> None:
        self._say("class", cls.__qualname__)
        for base in cls.__bases__:
            if base is not object:
                self.follow(base)
        for name, value in sorted(vars(cls).items()):
            if name in BESIDE or name.startswith("_abc_"):
                continue
            # What is behind a staticmethod, a property, a cached_property or a cached method.
            inner = next((getattr(value, name) for name in BEHIND if hasattr(value, name)), value)
            if isinstance(inner, FunctionType):
                self._say("method", name)
                self.follow(inner)
            elif not name.startswith("__") and not hasattr(type(value), "__get__"):
                self._say("attribute", name)
                self._loosely(self.follow, value)

    def _follow_data(self, thing: Any) -> None:
        if isinstance(thing, (np.ndarray, np.generic)):
            array = np.asarray(thing)
            self._say("array", str(array.dtype), str(array.shape))
            if array.dtype.hasobject:
                self._follow_all("objects", array.ravel().tolist())
            else:
                self._into.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
        elif isinstance(thing, dict):
            self._follow_all("dict", [part for item in thing.items() for part in item])
        elif isinstance(thing, (set, frozenset)):
            # They have no order that another process would know.
            parts = [imprint_of(part, data=True) for part in thing]
            self._say("set", *sorted(part.firm + part.loose for part in parts))
            self.certain = self.certain and all(part.loose for part in parts)
        else:
            self._follow_all("list", thing)

    def _follow_all(self, what: str, parts: Any) -> None:
        self._say(what, str(len(parts)))
        if all(type(part) in PLAIN for part in parts):
            self._say(repr(list(parts)))
            return
        for part in parts:
            self.follow(part)

    def _follow_state(self, thing: Any) -> None:
        """Of some object: its attributes if its class is the user's, else the bytes in which it would travel."""
        if _is_own(type(thing).__module__) and isinstance(getattr(thing, "__dict__", None), dict):
            self._follow_all("state", [part for item in sorted(vars(thing).items()) for part in item])
            return
        try:
            data, buffers = parcel.seal(thing)
        except Exception:
            self.certain = False
            return
        self._into.update(data)
        for buffer in buffers:
            self._into.update(buffer.raw())


def _is_own(module: str | None) -> bool:
    return module is None or module in MAINS or find_own(module) is not None


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _outer_names(code: CodeType) -> tuple[set[str], set[str]]:
    """Globals that code reads, and variables beyond itself that it binds."""
    read, written = set(), set()
    for each in _codes(code):
        for step in dis.get_instructions(each):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                read.add(str(step.argval))
            elif step.opname in ("STORE_GLOBAL", "STORE_DEREF"):
                written.add(str(step.argval))
    return read, written


def _attributes(code: CodeType) -> set[str]:
    return {name for each in _codes(code) for name in each.co_names}


def _held(name: str, free: Mapping[str, Any], names: Mapping[str, Any]) -> Iterator[object]:
    """What a name stands for: nothing, if it is a builtin or not bound yet."""
    if name in free:
        try:
            yield free[name].cell_contents
        except ValueError:
            return
    elif name in names:
        yield names[name]
