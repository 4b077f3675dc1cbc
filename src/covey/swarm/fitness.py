# SPDX-License-Identifier: BSD-3-Clause
"""The user's fitness, called in the manner that it declares; a class is made once in each slot.

Why: a fitness written for Playdoh, for scipy or for nobody in particular should run as it is.

May not know: who calls it, where, or why. Guarantees: a fitness gets copies of positions, so that writing into them
changes nothing; `use_gpu` tells the truth of the slot.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.codec import parcel
from covey.codec.functions import callable_name
from covey.slot.current import current
from covey.swarm.manner import Manner, making_of, manner_of, without_self
from covey.swarm.space import Space

__all__ = ["Fitness"]

Vector = NDArray[np.float64]

# Instances of fitness classes that a slot keeps; they outlive tasks, so that the next call finds them.
MOST_KEPT = 4

_kept: OrderedDict[tuple[bytes, int], Any] = OrderedDict()
_kept_lock = threading.Lock()


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
            self.manner = manner_of(without_self(called), space.names, name)
            self.making = making_of(fun, name)
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
