# SPDX-License-Identifier: BSD-3-Clause
"""Any object as bytes and large buffers: the careful way, for what `values` declines.

Why: plain pickle stores a class or function of `__main__` by reference, and a slot's `__main__` is
another; it notices only when it is too late. So each class and function met on the way is judged:
what another process can import goes by reference, everything else by value, through cloudpickle.
No exception decides; an exception here means that the thing cannot travel.

    object ──► _Pickler ──► bytes                     in band
                   └──────► PickleBuffers             16 KiB and more: numpy arrays and their like

May not know: sockets, tasks, which function a parcel is for (beyond its name in a message).
Guarantees: a class of `__main__` is the same class after a round trip; an array comes back writable
if it was, provided that the buffers are; cloudpickle (19 ms) is imported only when something must go
by value. Any thread.
"""
from __future__ import annotations

import copyreg
import io
import os
import sys
from _pickle import Pickler, PicklingError, loads
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

TYPE_CHECKING = False           # typing itself is a tenth of a slot's start
if TYPE_CHECKING:
    from pickle import PickleBuffer
    from typing import Any

    import cloudpickle
    from typing_extensions import Buffer

# Below this a buffer costs less inside the pickle than as a frame of its own. values.pyx has the same number.
OUT_OF_BAND = 16384

VALUES, ARGS, CALL, ITEMS, STAR, PARTIAL, RAISED = range(1, 8)

# Where multiprocessing's spawned children keep the user's script, `__main__` has a second name.
_MAINS = frozenset({"__main__", "__mp_main__"})

# The modules of the types that only cloudpickle can reduce: code, cells, properties, type variables …
_CLOUDY = frozenset({"builtins", "_io", "_weakrefset", "typing", "abc", "dataclasses"})


def importable(thing: object) -> bool:
    """Whether another process finds this very class or function under its module and name.

    >>> importable(io.StringIO), importable(lambda: None)
    (True, False)
    """
    module_name = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if not isinstance(module_name, str) or not isinstance(name, str) or module_name in _MAINS:
        return False
    found: object = sys.modules.get(module_name)
    if found is None:
        return False
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            return False
    return found is thing and not _registered_by_value(module_name)


def _registered_by_value(module_name: str) -> bool:
    # Nobody can have registered a module with a cloudpickle that nobody imported.
    cloud = sys.modules.get("cloudpickle")
    if cloud is None:
        return False
    registered = cloud.list_registry_pickle_by_value()
    if not registered:
        return False
    parts = module_name.split(".")
    return any(".".join(parts[:length]) in registered for length in range(1, len(parts) + 1))


def _cloud() -> type[cloudpickle.Pickler]:
    import cloudpickle

    main = sys.modules.get("__mp_main__")
    if main is not None:
        cloudpickle.register_pickle_by_value(main)
    pickler: type[cloudpickle.Pickler] = cloudpickle.Pickler
    return pickler


def _bound(function: Callable[..., object], owner: object) -> MethodType:
    return MethodType(function, owner)


def _reduce_method(method: MethodType) -> tuple[Any, ...]:
    # Not MethodType itself: no module has it under its name, so it would take cloudpickle to name it.
    return _bound, (method.__func__, method.__self__)


def _reduce_array(array: Any) -> Any:
    # numpy would make three copies of a large array that is neither C nor Fortran contiguous.
    if array.nbytes >= OUT_OF_BAND and not array.flags.forc and not array.dtype.hasobject:
        array = array.copy(order="C")
    return array.__reduce_ex__(5)


def _cached(function: Callable[..., object], parameters: dict[str, Any]) -> object:
    from functools import lru_cache

    return lru_cache(**parameters)(function)


def _reduce_cached(wrapper: Any) -> Any:
    # Its own reduction is its name, which only an importable module resolves.
    if importable(wrapper):
        return wrapper.__reduce_ex__(5)
    return _cached, (wrapper.__wrapped__, wrapper.cache_parameters())


_OURS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("builtins", "method"): _reduce_method,
    ("numpy", "ndarray"): _reduce_array,
    ("functools", "_lru_cache_wrapper"): _reduce_cached,
}


def _reduces_itself(kind: type) -> bool:
    # Exceptions, builtin functions, ranges …: it would be a pity to import cloudpickle for them.
    return any(getattr(kind, name) is not getattr(object, name) for name in ("__reduce__", "__reduce_ex__"))


class _Reducers:
    """The dispatch table of `_Pickler`; a mapping only as far as the C pickler asks."""

    def __getitem__(self, kind: type) -> Callable[[Any], Any]:
        module_name = kind.__module__
        ours = _OURS.get((module_name, kind.__name__))
        if ours is not None:
            return ours
        if module_name in _CLOUDY and not (module_name == "builtins" and _reduces_itself(kind)):
            theirs: Callable[[Any], Any] | None = _cloud().dispatch_table.get(kind)
            if theirs is not None:
                return theirs
        return copyreg.dispatch_table[kind]


class _Pickler(Pickler):
    dispatch_table: Any = _Reducers()

    def __init__(self, sink: io.BytesIO, gather: Callable[[PickleBuffer], bool] | None) -> None:
        super().__init__(sink, 5, buffer_callback=gather)
        # One cloudpickle pickler a dump: functions that share their globals then still share them.
        self.cloud: cloudpickle.Pickler | None = None
        self.functions: list[FunctionType] = []

    def reducer_override(self, thing: Any) -> Any:
        kind = type(thing)
        if kind is FunctionType:
            if importable(thing):
                return NotImplemented
            self.functions.append(thing)
        elif not issubclass(kind, type) or importable(thing):
            return NotImplemented
        if self.cloud is None:
            self.cloud = _cloud()(io.BytesIO(), 5)
        return self.cloud.reducer_override(thing)


class _Recorder(_Pickler):
    """Notes the modules that the other end will need: those referred to, and those that travelling code imports."""

    def __init__(
        self, sink: io.BytesIO, gather: Callable[[PickleBuffer], bool] | None, references: set[str]
    ) -> None:
        super().__init__(sink, gather)
        self.references = references

    def reducer_override(self, thing: Any) -> Any:
        kind = type(thing)
        if kind is ModuleType:
            self.references.add(thing.__name__)
        elif kind is FunctionType and not importable(thing):
            from covey.codec.imports import imports_of_code

            self.references |= imports_of_code(thing.__code__, thing.__globals__.get("__package__") or "")
        else:
            # An instance may name itself, as a constant of its class's module.
            by_name = kind in (FunctionType, BuiltinFunctionType) or issubclass(kind, type)
            module_name = getattr(thing if by_name else kind, "__module__", None)
            if isinstance(module_name, str):
                self.references.add(module_name)
        return super().reducer_override(thing)


def _dump(
    obj: object, gather: Callable[[PickleBuffer], bool] | None, references: set[str] | None = None
) -> tuple[bytes, list[FunctionType]]:
    sink = io.BytesIO()
    pickler = _Pickler(sink, gather) if references is None else _Recorder(sink, gather, references)
    try:
        pickler.dump(obj)
    except RecursionError as error:
        raise PicklingError("it is nested too deeply, or holds itself in a way that pickle cannot follow") from error
    return sink.getvalue(), pickler.functions


def seal_watched(
    obj: object, references: set[str] | None = None
) -> tuple[bytes, list[PickleBuffer], list[FunctionType]]:
    """As `seal`, and the functions that went by value: what they refer to is in the bytes, too.

    `references`, if given, gains the dotted names of what the other end must be able to import.
    """
    buffers: list[PickleBuffer] = []

    def gather(buffer: PickleBuffer) -> bool:
        if memoryview(buffer).nbytes < OUT_OF_BAND:
            return True
        buffers.append(buffer)
        return False

    data, functions = _dump(obj, gather, references)
    return data, buffers, functions


def seal(obj: object, references: set[str] | None = None) -> tuple[bytes, list[PickleBuffer]]:
    """An object as a pickle (no form byte) and its large buffers.

    >>> data, buffers = seal([1, len, lambda x: x + 1])
    >>> unseal(data, buffers)[2](1)
    2
    """
    data, buffers, _ = seal_watched(obj, references)
    return data, buffers


def seal_whole(obj: object, references: set[str] | None = None) -> bytes:
    """As `seal`, with every buffer in band."""
    return _dump(obj, None, references)[0]


def unseal(data: Buffer, buffers: Sequence[object] = ()) -> Any:
    """The object that was sealed; arrays are views of the buffers, so give writable ones."""
    try:
        return loads(data, buffers=buffers)
    except (ImportError, AttributeError) as error:
        raise explained(error)  # noqa: B904  it is that error, or has it as its cause


def explained(error: Exception) -> Exception:
    """What to raise for an error of unpickling: a missing module gets its own type and a remedy."""
    from covey.errors import ModuleMissing

    if isinstance(error, ImportError) and not isinstance(error, ModuleMissing):
        from covey.codec.versions import missing_module

        missing = missing_module(error, os.uname().nodename)
        missing.__cause__ = error
        return missing
    if isinstance(error, AttributeError) and "Can't get attribute" in str(error):
        from covey.codec.versions import tell_version

        # Its `obj` is not set; "… on <module 'lab' from …>" is all there is.
        module_name = str(error).partition(" on <module '")[2].partition("'")[0]
        tell_version(error, module_name, os.uname().nodename)
        error.add_note("The module was found, but it is not the one that the sender has: if it was edited since this "
                       "process started, start the client anew; if it is another version, install the same one.")
    return error


def seal_args(
    form: int, obj: Any, describe: str, first: int = 0, references: set[str] | None = None
) -> tuple[bytes, list[PickleBuffer]]:
    """As `seal`, for the arguments of the function called `describe`; NotPicklable names the one at fault.

    `obj` is what `form` says. `first` is the number of the first of ITEMS or STAR within the user's own sequence.

    >>> seal_args(ARGS, (1, sys._getframe()), "f")
    Traceback (most recent call last):
        ...
    covey.errors.NotPicklable: argument 2 of f() cannot be sent: cannot pickle 'frame' object; leave it out, ...
    """
    try:
        return seal(obj, references)
    except Exception as error:
        from covey.codec.culprit import not_picklable_argument

        raise not_picklable_argument(form, obj, describe, first, error) from error
