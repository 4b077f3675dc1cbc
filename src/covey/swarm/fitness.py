# SPDX-License-Identifier: BSD-3-Clause
"""The user's fitness, called in the style that it declares.

    fun(args)       args is a dict: name → vector over the particles, one value each is returned
    fun(x, y)       the parameters by their names, each a vector
    fun(X)          a matrix, parameters × particles, where the parameters have no names
    class           constructed once in each slot, then called as one of the above
    … shared_data, local_data, use_gpu after these, as far as the function declares them

Why: a fitness written for Playdoh, for scipy or for nobody in particular should run as it is.

May not know: who calls it, where, or why. Guarantees: what cannot be told apart is refused before anything runs; a
fitness gets copies of positions, so that writing into them changes nothing; `use_gpu` tells the truth of the slot.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.codec import parcel
from covey.codec.functions import callable_name
from covey.slot.current import current
from covey.swarm.space import Space

__all__ = ["Fitness", "Manner", "manner_of"]

Vector = NDArray[np.float64]

EXTRAS = ("shared_data", "local_data", "use_gpu")
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# Instances of fitness classes that a slot keeps; they outlive tasks, so that the next call finds them.
MOST_KEPT = 4

_kept: OrderedDict[tuple[bytes, int], Any] = OrderedDict()
_kept_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Manner:
    """How a function wants to be called: `style` is "dict", "names" or "matrix"."""

    style: str
    positional: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


def manner_of(function: Callable[..., Any], names: Sequence[str] | None, label: str) -> Manner:
    """What `function` declares, for parameters of these names (None: a nameless vector).

    >>> manner_of(lambda args, shared_data: 0, ("x", "y"), "f")
    Manner(style='dict', positional=(), named=('shared_data',))
    >>> manner_of(lambda x, y, use_gpu: 0, ("x", "y"), "f")
    Manner(style='names', positional=(), named=('use_gpu',))
    """
    whole = "dict" if names is not None else "matrix"
    parameters = _parameters(function)
    if parameters is None:
        return Manner(whole)
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keyword = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    declared = {p.name for p in (*plain, *keyword) if p.kind is not p.POSITIONAL_ONLY}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if names is not None:
        missing = [name for name in names if name not in declared]
        if not missing or (takes_any and not plain):
            return _by_names(names, plain + keyword, label)
        if len(missing) < len(names):
            raise TypeError(
                f"{label} declares {_listed(n for n in names if n not in missing)} and not {_listed(missing)}: it must "
                f"take all parameters by name, or a single dict of them"
            )
    if not plain and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise TypeError(f"{label} takes no arguments: it must take the particles, {_shape_of(whole)}")
    odd = [p.name for p in keyword if p.name not in EXTRAS and p.default is p.empty]
    required = [p.name for p in plain if p.default is p.empty]
    if odd or len(required) > 1 + len(EXTRAS):
        raise TypeError(
            f"{label} wants {_listed(odd or required)}: it is given {_shape_of(whole)} and, as far as it declares "
            f"them, {_listed(EXTRAS)}"
        )
    more = plain[1:]
    named = [p.name for p in keyword if p.name in EXTRAS]
    if any((p.name not in EXTRAS and p.default is p.empty) or p.kind is p.POSITIONAL_ONLY for p in more):
        # In Playdoh's order, whatever they are called; those with a default of their own are left alone.
        positional = EXTRAS[: len(required) - 1]
    elif not plain:
        positional = EXTRAS
    else:
        positional = ()
        named = [p.name for p in more if p.name in EXTRAS] + named
    return Manner(whole, positional, tuple(name for name in named if name not in positional))


def _by_names(names: Sequence[str], declared: Sequence[inspect.Parameter], label: str) -> Manner:
    extras = [p.name for p in declared if p.name in EXTRAS and p.name not in names]
    odd = [p.name for p in declared if p.name not in names and p.name not in EXTRAS and p.default is p.empty]
    if odd:
        raise TypeError(
            f"{label} wants {_listed(odd)}, which is no parameter of the search: optparams has {_listed(names)}"
        )
    return Manner("names", (), tuple(extras))


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        # builtins and ufuncs without a signature: they take one thing
        return None


def _shape_of(whole: str) -> str:
    return "a dict of vectors" if whole == "dict" else "a matrix of parameters × particles"


def _listed(names: Any) -> str:
    return ", ".join(map(str, names))


class Fitness:
    """A fitness or a constraint, with what it asked for besides the particles."""

    # func, as in functools.partial: that is where the name in messages is looked for.
    __slots__ = ("call", "func", "key", "local_data", "making", "manner", "shared_data", "space", "vectorized")

    def __init__(
        self,
        fun: Callable[..., Any],
        space: Space,
        *,
        shared_data: Mapping[Any, Any] | None = None,
        local_data: Mapping[str, Sequence[Any]] | None = None,
        vectorized: bool = True,
        label: str | None = None,
        call: str = "",
    ) -> None:
        name = label or f"the fitness {callable_name(fun)}"
        # In which call of optimize() this is, for messages.
        self.call = call
        self.func = fun
        self.space = space
        self.shared_data = shared_data
        self.local_data = local_data
        self.vectorized = vectorized
        self.making: Manner | None = None
        self.key = b""
        if inspect.isclass(fun):
            # On the class itself: every class is callable, which says nothing about its instances.
            called = next((vars(base)["__call__"] for base in fun.__mro__ if "__call__" in vars(base)), None)
            if called is None:
                raise TypeError(f"{name} is a class without __call__: its instance is called with the particles")
            # A bound method in spirit: without self.
            self.manner = manner_of(_without_self(called), space.names, name)
            self.making = _making_of(fun, name)
            self.key = os.urandom(16)
        else:
            self.manner = manner_of(fun, space.names, name)

    @property
    def name(self) -> str:
        """What messages call it."""
        return callable_name(self.func)

    @property
    def told(self) -> str:
        """What messages about its values call it: `minimize(f): f()`."""
        return f"{self.call}: {self.name}()" if self.call else f"{self.name}()"

    @property
    def asks_for_gpu(self) -> bool:
        """Whether it wants to be told of a GPU."""
        return any("use_gpu" in manner.positional + manner.named for manner in (self.manner, self.making) if manner)

    def settle(self) -> None:
        """Gives a class the name under which slots keep its instance: equal set-ups share one across calls."""
        if self.making is not None:
            try:
                data, buffers = parcel.seal((self.func, self.shared_data, self.local_data))
            except Exception:
                return  # whoever sends it will say what cannot be sent, and why
            digest = hashlib.sha256(data)
            for buffer in buffers:
                digest.update(buffer.raw())
            self.key = digest.digest()

    def forget(self) -> None:
        """Lets go of the instance that was made in this process."""
        with _kept_lock:
            for kept in [kept for kept in _kept if kept[0] == self.key]:
                del _kept[kept]

    def __call__(self, positions: Vector, groups: NDArray[np.int64]) -> Any:
        """What the function returns for all these particles at once."""
        manner = self.manner
        extras = self._extras(manner, groups) if manner.positional or manner.named else {}
        function = self.func if self.making is None else self._instance()
        named = {name: extras[name] for name in manner.named}
        if manner.style == "names":
            return function(**self.space.columns(positions), **named)
        particles = self.space.matrix(positions) if manner.style == "matrix" else self.space.columns(positions)
        return function(particles, *(extras[name] for name in manner.positional), **named)

    def call_each(
        self, positions: Vector, groups: NDArray[np.int64]
    ) -> tuple[Callable[..., Any], list[tuple[tuple[Any, ...], dict[str, Any]]]]:
        """A function that takes one particle at a time, and its arguments for each."""
        manner = self.manner
        function = self.func if self.making is None else self._instance()
        rows: list[Any]
        if manner.style == "matrix":
            rows = list(np.array(positions))
        else:
            # tolist(): a scalar function wants Python's numbers
            columns = [column.tolist() for column in self.space.columns(positions).values()]
            rows = [dict(zip(self.space.names or (), row, strict=True)) for row in zip(*columns, strict=True)]
        if not manner.positional and not manner.named:
            return function, [((), row) if manner.style == "names" else ((row,), {}) for row in rows]
        calls = []
        for row, group in zip(rows, groups.tolist(), strict=True):
            extras = self._extras(manner, group)
            named = {name: extras[name] for name in manner.named}
            if manner.style == "names":
                calls.append(((), row | named))
            else:
                calls.append(((row, *(extras[name] for name in manner.positional)), named))
        return function, calls

    def _extras(self, manner: Manner, groups: NDArray[np.int64] | int | None) -> dict[str, Any]:
        wanted = {*manner.positional, *manner.named}
        extras: dict[str, Any] = {}
        if "shared_data" in wanted:
            extras["shared_data"] = {} if self.shared_data is None else self.shared_data
        if "local_data" in wanted:
            local = self.local_data or {}
            extras["local_data"] = (
                local if groups is None else {key: expanded(values, groups) for key, values in local.items()}
            )
        if "use_gpu" in wanted:
            here = current()
            extras["use_gpu"] = here is not None and here.is_gpu
        return extras

    def _instance(self) -> Callable[..., Any]:
        # By thread, too: an executor of threads calls several at once, and few such objects stand that.
        key = (self.key, threading.get_ident())
        with _kept_lock:
            if key in _kept:
                _kept.move_to_end(key)
                found: Callable[..., Any] = _kept[key]
                return found
        manner = self.making
        assert manner is not None
        extras = self._extras(manner, None)
        made: Callable[..., Any] = self.func(
            *(extras[name] for name in manner.positional), **{name: extras[name] for name in manner.named}
        )
        with _kept_lock:
            _kept[key] = made
            while len(_kept) > MOST_KEPT:
                _kept.popitem(last=False)
        return made


def expanded(values: Any, groups: NDArray[np.int64] | int) -> Any:
    """One entry for each particle, of what has one for each group: an array for numbers and arrays, else a list.

    >>> expanded([10, 20], np.array([0, 0, 1])).tolist()
    [10, 10, 20]
    >>> expanded(["a", "b"], np.array([1, 0]))
    ['b', 'a']
    """
    if isinstance(groups, int):
        return values[groups]
    if isinstance(values, np.ndarray):
        return values[groups]
    if all(isinstance(value, (int, float, np.number)) for value in values):
        return np.asarray(values)[groups]
    return [values[group] for group in groups]


def _making_of(fun: type, label: str) -> Manner:
    """What a class wants when it is constructed: nothing, or the extras, as a function would."""
    parameters = _parameters(fun) or []
    if all(p.name in EXTRAS or p.default is not p.empty or p.kind in VARIADIC for p in parameters):
        return Manner("", (), tuple(p.name for p in parameters if p.name in EXTRAS))
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in VARIADIC]
    if len(required) > len(EXTRAS) or any(p.kind is p.KEYWORD_ONLY and p.name in required for p in parameters):
        raise TypeError(f"{label} wants {_listed(required)} when it is made: it is given {_listed(EXTRAS)}")
    return Manner("", EXTRAS[: len(required)])


def _without_self(method: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any) -> Any:
        raise NotImplementedError

    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return called
    rest = list(signature.parameters.values())[1:]
    called.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
    return called
