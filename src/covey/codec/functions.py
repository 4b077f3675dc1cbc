# SPDX-License-Identifier: BSD-3-Clause
"""Functions: sealed once, known by a number, loaded once in each slot.

Why: a function may close over ten megabytes and be called a million times; it must travel once. The
book of a client gives each function a number and a digest; a slot loads the body of a number once.

    body = length of the scene (4 bytes) | scene | pickle of the function       + buffers | trunks, out of band

Where a client has an initializer that slots did not run at their start, the scene holds that, too, and its buffers
stand between the two others. A slot runs it before it loads the first function that brings it.

The scene is where the function was written to run: sys.path, working directory, level of the root
logger. The slot enters it before it loads, so that what the caller can import the slot can, too. Of several
functions with different working directories in one slot, the one loaded last decides. Where slots may be on other
machines (`ship`), paths mean nothing: the scene then names the trunks with the modules that the function needs.

May not know: sockets, tasks. Guarantees: rebinding what a function refers to gives it a new number
at the next `find`; changing a container in place counts only for `seal_now`. The book keeps no
user's function alive. Any thread.
"""
from __future__ import annotations

import itertools
import os
import sys
import threading
import weakref
from _pickle import dumps, loads
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from covey.codec import parcel
from covey.codec.watch import Function as Function
from covey.codec.watch import FunctionCache, Watch

TYPE_CHECKING = False           # typing itself is a tenth of a slot's start
if TYPE_CHECKING:
    from pickle import PickleBuffer
    from typing import Any

    from typing_extensions import Buffer

    from covey.codec.luggage import Luggage, Packed

_WARNING = 30       # logging.WARNING, what the root logger has unless somebody changed it


def call_object(thing: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """What a slot runs for a callable that has a state: the callable is the first argument.

    >>> call_object("a-b".split, "-")
    ['a', 'b']
    """
    return thing(*args, **kwargs)


def callable_name(function: object) -> str:
    """What messages call a callable.

    >>> callable_name(os.path.join), callable_name([].append)
    ('join', 'list.append')
    """
    inner = function
    while not isinstance(getattr(inner, "__qualname__", None), str) and callable(getattr(inner, "func", None)):
        inner = inner.func  # type: ignore[attr-defined]
    name = getattr(inner, "__qualname__", None) or getattr(inner, "__name__", None)
    return name if isinstance(name, str) else type(function).__qualname__


def _has_state(function: object) -> bool:
    """Whether the callable is more than its code: then its state must be sealed at each submit."""
    if isinstance(function, (FunctionType, type)):
        return False
    if isinstance(function, BuiltinFunctionType):
        return not isinstance(function.__self__, (ModuleType, type, type(None)))
    return not parcel.importable(function) and not hasattr(function, "__objclass__")


def _scene() -> tuple[tuple[str, ...], str, int]:
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = ""
    # "" and relative entries mean the caller's directory, in the slot as well.
    path = tuple(os.path.join(cwd, entry) if entry else cwd for entry in sys.path)
    logging = sys.modules.get("logging")
    return path, cwd, logging.getLogger().level if logging is not None else _WARNING


def enter_scene(scene: tuple[Sequence[str], str, int]) -> None:
    """Makes this process see the modules, files and log level that the caller sees. Never raises."""
    path, cwd, level = scene
    known = set(sys.path)
    sys.path[:0] = [entry for entry in path if entry and entry not in known]
    try:
        if cwd and cwd != os.getcwd():
            os.chdir(cwd)
    except OSError:
        pass                    # the directory is the caller's, and maybe only there
    if level != _WARNING or "logging" in sys.modules:
        import logging

        logging.getLogger().setLevel(level)


def load_function(
    body: Buffer,
    buffers: Sequence[object] = (),
    unpack: Callable[[Any, Sequence[object]], object] | None = None,
    set_up: Callable[..., object] | None = None,
) -> Callable[..., Any]:
    """In the slot: the callable whose body this is, its scene entered first. ModuleMissing says what it needs.

    `unpack(tags, blobs)` is given the trunks that came along, if any did; then `set_up(token, name, data, buffers)` the
    initializer of the client, if it has one.
    """
    view = memoryview(body)
    end = 4 + int.from_bytes(view[:4], "little")
    path, cwd, level, setup, *tags = loads(view[4:end])
    enter_scene((path, cwd, level))
    if tags:
        buffers, blobs = buffers[: -len(tags)], buffers[-len(tags) :]
        if unpack is not None:
            unpack(tags, blobs)
    if setup is not None:
        *about, count = setup
        first = len(buffers) - count
        if set_up is not None:
            set_up(*about, buffers[first:])
        buffers = buffers[:first]
    function: Callable[..., Any] = parcel.unseal(view[end:], buffers)
    return function


class Setup:
    """A client's initializer and its arguments, sealed once; all bodies of the client's functions bring it along.

    `token` names it for the slots, that each may run it once. It is of this client alone: another one with the same
    initializer is another one that has to be prepared for.

    >>> setup = Setup(setattr, (sys, "flavour", "sweet"))
    >>> setup.name, len(setup.token)
    ('setattr', 16)
    """

    __slots__ = ("buffers", "data", "name", "references", "token")

    def __init__(self, initializer: Callable[..., object], initargs: Sequence[Any]) -> None:
        self.references: set[str] = set()
        self.data, self.buffers = parcel.seal((initializer, tuple(initargs)), self.references)
        self.name = callable_name(initializer)
        self.token = os.urandom(16)


class Packing:
    """What it takes to seal a function again with more modules than it needs itself."""

    __slots__ = ("buffers", "data", "references", "version", "wider")

    def __init__(self, data: bytes, buffers: list[PickleBuffer], references: frozenset[str], version: int) -> None:
        self.data = data
        self.buffers = buffers
        self.references = references
        # Of the luggage, when its trunks were last known to be the files.
        self.version = version
        # The same function with the modules of all arguments that it was called with; lives as long as it.
        self.wider: Function | None = None


class FunctionBook(FunctionCache):
    """The functions of one client.

    `ship` says that slots may be on machines without the user's own modules: bodies then bring them along. It may be
    set until the first function is sealed by somebody. A module over `ship_limit` bytes is an error.

    `on_forget(number)` is called when nobody will submit a function again: from any thread and at any
    moment (the callable dies when it dies), so it must only note the number down.

    >>> book = FunctionBook()
    >>> square = lambda x: x * x
    >>> book.find(square) is book.find(square)
    True
    >>> sealed = book.find(square)
    >>> load_function(sealed.body, sealed.buffers)(5)
    25
    """

    def __init__(
        self, on_forget: Callable[[int], object] | None = None, *, ship: bool = False, ship_limit: int = 1 << 24,
        clock: Callable[[], float] = monotonic
    ) -> None:
        self._on_forget = on_forget
        self._luggage: Luggage | None = None
        self._ship_limit = ship_limit
        self._clock = clock
        self._numbers = itertools.count(1)
        self._by_digest: weakref.WeakValueDictionary[bytes, Function] = weakref.WeakValueDictionary()
        # What `seal_now` made last for a callable, so that the next map over it ships nothing.
        self._held: dict[int, tuple[weakref.ref[Any], Function]] = {}
        self._lock = threading.RLock()
        self._scene: tuple[tuple[tuple[str, ...], str, int], bytes] | None = None
        self._setup: Setup | None = None
        self.caller = self._enter("call_object", *parcel.seal(call_object))
        self.ship = ship

    @property
    def ship(self) -> bool:
        """Whether the bodies of functions bring the user's own modules along."""
        return self.shipping

    @ship.setter
    def ship(self, ship: bool) -> None:
        if ship == self.shipping:
            return
        luggage = None
        if ship:
            from covey.codec.luggage import Luggage

            luggage = Luggage(self._ship_limit, self._clock)
        self.clear()
        self._luggage = luggage
        self.shipping = ship
        self.caller = self._enter("call_object", *parcel.seal(call_object))

    def bring(self, setup: Setup) -> None:
        """Bodies bring this initializer along from now on; to be called before the first function is sealed."""
        self.clear()
        self._scene = None
        self._setup = setup
        self.caller = self._enter("call_object", *parcel.seal(call_object))

    def learn(self, function: object) -> Function:
        """Seals a callable that `find` does not know, or that has changed."""
        name = self._check(function)
        if _has_state(function):
            return self.caller
        try:
            references = self._references()
            data, buffers, by_value = parcel.seal_watched(function, references)
        except Exception as error:
            raise self._not_picklable(function, name, error) from error
        watch = Watch(by_value) if by_value else None
        sealed = self._enter(name, data, buffers, references)
        self.remember(function, sealed, watch)
        return sealed

    def seal_now(self, function: object) -> Function:
        """The Function of a callable as it is at this moment, its state and containers included."""
        name = self._check(function)
        try:
            references = self._references()
            data, buffers = parcel.seal(function, references)
        except Exception as error:
            raise self._not_picklable(function, name, error) from error
        if self._luggage is not None:
            self._luggage.look(now=True)
        sealed = self._enter(name, data, buffers, references)
        holder = function.__self__ if isinstance(function, MethodType) else function
        key = id(holder)
        held = self._held
        try:
            held[key] = (weakref.ref(holder, lambda _: held.pop(key, None)), sealed)
        except TypeError:
            pass                # then it lives as long as the caller keeps it
        return sealed

    def word(self, name: str) -> Function:
        """A function that no slot runs: its body is its name, and who does it knows what it means."""
        from hashlib import blake2b

        body = name.encode()
        return Function(next(self._numbers), blake2b(body, digest_size=16).digest(), body, [], name, self._on_forget)

    def is_packed(self, sealed: Function) -> bool:
        """Whether the files that travel with it have not changed, as far as `Luggage.look` has looked."""
        luggage = self._luggage
        if luggage is None or sealed.packing is None:
            return True
        luggage.look()
        return sealed.packing.version == luggage.version

    def equip(self, sealed: Function, references: set[str]) -> Function:
        """The same function, with all the modules that an argument of it refers to."""
        luggage, packing = self._luggage, sealed.packing
        if luggage is None or packing is None:
            return sealed
        widest = packing.wider or sealed
        carried = widest.packing.references if widest.packing is not None else frozenset()
        needed = luggage.names(references)
        if needed <= carried and self.is_packed(widest):
            return widest
        with self._lock:
            widest = self._enter(sealed.name, packing.data, packing.buffers, carried | needed)
            if widest is not sealed:
                packing.wider = widest
            return widest

    def clear(self) -> None:
        """Forgets everything; the client closes."""
        super().clear()
        self._held.clear()

    @staticmethod
    def _check(function: object) -> str:
        if not callable(function):
            raise TypeError(f"{function!r} is not callable, and covey was asked to call it; "
                            f"give the function first, then its arguments")
        return callable_name(function)

    @staticmethod
    def _not_picklable(function: object, name: str, error: Exception) -> Exception:
        from covey.codec.culprit import not_picklable_function

        return not_picklable_function(function, name, error)

    def _references(self) -> set[str] | None:
        return None if self._luggage is None else set()

    def _scene_bytes(self, trunks: Sequence[Packed]) -> bytes:
        scene = _scene()
        setup = self._setup
        brought = None if setup is None else (setup.token, setup.name, setup.data, len(setup.buffers))
        if self._luggage is not None:
            _, cwd, level = scene
            return dumps(((), cwd, level, brought, *(packed.trunk.tag for packed in trunks)), 5)
        if self._scene is None or self._scene[0] != scene:
            self._scene = (scene, dumps((*scene, brought), 5))
        return self._scene[1]

    def _enter(
        self, name: str, data: bytes, buffers: list[PickleBuffer], references: Iterable[str] | None = None
    ) -> Function:
        from hashlib import blake2b

        luggage = self._luggage
        packing: Packing | None = None
        trunks: tuple[Packed, ...] = ()
        prepared: list[PickleBuffer] = []
        if self._setup is not None:
            # Whichever function comes first to a slot, its initializer needs its modules there.
            references = self._setup.references.union(references or ())
            prepared = self._setup.buffers
        if luggage is not None:
            # What another function had packed may have been edited since.
            luggage.look()
            version = luggage.version
            trunks = luggage.gather(references or ())
            packing = Packing(data, buffers, luggage.names(references or ()), version)
        scene = self._scene_bytes(trunks)
        body = b"".join((len(scene).to_bytes(4, "little"), scene, data))
        digest = blake2b(body, digest_size=16)
        for buffer in buffers:
            digest.update(buffer.raw())
        # The trunks have theirs in the scene.
        key = digest.digest()
        with self._lock:
            sealed = self._by_digest.get(key)
            if sealed is None:
                carried = [*buffers, *prepared, *(packed.blob for packed in trunks)]
                sealed = Function(next(self._numbers), key, body, carried, name, self._on_forget)
                sealed.packing = packing
                self._by_digest[key] = sealed
            elif sealed.packing is not None and packing is not None:
                sealed.packing.version = packing.version
        return sealed
