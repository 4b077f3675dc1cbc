# SPDX-License-Identifier: BSD-3-Clause
"""How a function declares that it wants to be called.

    fun(args)       args is a dict: name → vector over the particles, one value each is returned
    fun(x, y)       the parameters by their names, each a vector
    fun(X)          a matrix, parameters × particles, where the parameters have no names
    class           constructed once in each slot, then called as one of the above
    … shared_data, local_data, use_gpu after these, as far as the function declares them

Why: a fitness written for Playdoh, for scipy or for nobody in particular should run as it is.

May not know: slots, values: it looks at signatures. Guarantees: what cannot be told apart is refused before anything
runs, in one sentence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Manner", "making_of", "manner_of", "without_self"]

EXTRAS = ("shared_data", "local_data", "use_gpu")
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


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


def making_of(fun: type, label: str) -> Manner:
    """What a class wants when it is constructed: nothing, or the extras, as a function would."""
    parameters = _parameters(fun) or []
    if all(p.name in EXTRAS or p.default is not p.empty or p.kind in VARIADIC for p in parameters):
        return Manner("", (), tuple(p.name for p in parameters if p.name in EXTRAS))
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in VARIADIC]
    if len(required) > len(EXTRAS) or any(p.kind is p.KEYWORD_ONLY and p.name in required for p in parameters):
        raise TypeError(f"{label} wants {_listed(required)} when it is made: it is given {_listed(EXTRAS)}")
    return Manner("", EXTRAS[: len(required)])


def without_self(method: Callable[..., Any]) -> Callable[..., Any]:
    """Something that declares what the method declares once it is bound."""

    def called(*args: Any) -> Any:
        raise NotImplementedError

    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return called
    rest = list(signature.parameters.values())[1:]
    called.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
    return called
