# SPDX-License-Identifier: BSD-3-Clause
"""Which part of a thing cannot be pickled, in words.

Why: "cannot pickle '_thread.lock' object" does not tell a user which of forty arguments holds the lock.
Used only when pickling has failed already, so it may take its time: it seals the parts one by one.

May not know: sockets, tasks. Guarantees: never raises, looks at a bounded number of parts.
"""
from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any

from covey.codec import parcel
from covey.errors import NotPicklable, ResultNotPicklable

DEPTH_LIMIT = 8
PARTS_LIMIT = 1000


def _failure(thing: object) -> Exception | None:
    try:
        parcel.seal(thing)
    except Exception as error:
        return error
    return None


def _parts(thing: Any) -> Iterator[tuple[str, object]]:
    """The parts of a thing, each with how one writes it in Python behind the thing's name."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield f"[{_short(key)}]", value
            yield f" key {_short(key)}", key
    elif isinstance(thing, (list, tuple)):
        for index, value in enumerate(thing):
            yield f"[{index}]", value
    elif isinstance(thing, (set, frozenset)):
        for value in thing:
            yield f" element {_short(value)}", value
    elif isinstance(thing, FunctionType):
        yield from _referred(thing)
    elif not isinstance(thing, type):
        for name in ("func", "args", "keywords", "__self__", "__wrapped__"):
            if hasattr(thing, name):
                yield f".{name}", getattr(thing, name)
        for name, value in getattr(thing, "__dict__", {}).items():
            yield f".{name}", value


def _referred(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f" variable {name!r}", cell.cell_contents
        except ValueError:
            continue
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f" global {name!r}", function.__globals__[name]


def _short(thing: object) -> str:
    try:
        text = repr(thing)
    except Exception:
        text = f"<{type(thing).__qualname__}>"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _reason(error: BaseException) -> str:
    try:
        text = str(error).rstrip(".") or type(error).__name__
    except Exception:
        text = type(error).__name__
    if isinstance(error, (TypeError, ValueError, AttributeError)) or type(error).__name__ == "PicklingError":
        return text
    return text if text == type(error).__name__ else f"{type(error).__name__}: {text}"


def locate(thing: object, error: Exception) -> str:
    """Where inside a thing the fault lies, and what it is.

    >>> import sys
    >>> locate({"a": [1, sys._getframe()]}, TypeError())
    "['a'][1] is of type frame: cannot pickle 'frame' object"
    """
    path = ""
    try:
        for _ in range(DEPTH_LIMIT):
            if isinstance(error.__cause__, RecursionError):
                break           # every part of what is too deep is too deep
            for number, (step, part) in enumerate(_parts(thing)):
                failure = _failure(part) if number < PARTS_LIMIT else None
                if failure is not None:
                    path, thing, error = path + step, part, failure
                    break
            else:
                break
    except Exception as odd:
        error = odd         # a property or a __getattr__ of the user's raised: that is the reason, then
    return f"{path.strip()} is of type {type(thing).__qualname__}: {_reason(error)}" if path else _reason(error)


def _pieces(form: int, obj: Any, first: int, through: bool) -> Iterator[tuple[str, object]]:
    """What the user passed, each piece as the user would call it. `through`: the callable came as first argument."""
    if form in (parcel.VALUES, parcel.ARGS):
        for position, value in enumerate(obj, 0 if through else 1):
            yield f"argument {position}" if position else "the object to call", value
    elif form == parcel.CALL:
        args, kwargs = obj
        yield from _pieces(parcel.ARGS, args, first, through)
        for name, value in kwargs.items():
            yield f"argument {name!r}", value
    elif form == parcel.STAR:
        for index, args in enumerate(obj, first):
            for position, value in enumerate(args, 1):
                yield f"argument {position} of item {index}", value
    else:
        for index, item in enumerate(obj, first):
            yield f"item {index}", item


def not_picklable_argument(form: int, obj: Any, describe: str, first: int, error: Exception) -> NotPicklable:
    """The error that names the argument which kept a call from being sealed."""
    from covey.codec.functions import call_object, callable_name

    through = describe == call_object.__name__ and form in (parcel.VALUES, parcel.ARGS, parcel.CALL)
    if through:
        describe = callable_name((obj[0] if form == parcel.CALL else obj)[0])
    for what, value in _pieces(form, obj, first, through):
        failure = _failure(value)
        if failure is not None:
            return NotPicklable(f"{what} of {describe}() cannot be sent: {locate(value, failure)}; leave it out, or "
                                f"make it inside the function")
    return NotPicklable(f"the arguments of {describe}() cannot be sent: {_reason(error)}")


def not_picklable_function(function: object, describe: str, error: Exception) -> NotPicklable:
    """The error that names what kept a function from being sealed."""
    return NotPicklable(f"{describe} cannot be sent: {locate(function, error)}; make it inside the function, or "
                        f"put the function into a module that the slots can import")


def maybe_not_picklable(name: str, thing: object) -> NotPicklable | None:
    """The error for a thing that the user knows by this name; None if it can be sent.

    >>> import sys
    >>> print(maybe_not_picklable("data", {"a": sys._getframe()}))
    data['a'] is of type frame: cannot pickle 'frame' object; leave it out, or make it inside the function
    """
    failure = _failure(thing)
    if failure is None:
        return None
    where = locate(thing, failure)
    return NotPicklable(
        f"{name}{where if where.startswith('[') else ' cannot be sent: ' + where}; leave it out, or make it inside the "
        "function"
    )


def not_picklable_result(value: object, error: Exception, describe: str = "a function") -> ResultNotPicklable:
    """The error that stands for a result which cannot be sent back."""
    return ResultNotPicklable(f"{describe} returned a {type(value).__qualname__} that cannot be sent back: "
                              f"{locate(value, error)}; return what it holds instead")
