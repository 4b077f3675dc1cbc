# SPDX-License-Identifier: BSD-3-Clause
"""Which of the callers' modules a slot has in `sys.modules` while it runs a task.

Why: a slot serves many functions, of several clients maybe, and each may bring its own `utils`, or the same `utils`
from before and after an edit. A name in `sys.modules` means one module. So modules that agree with each other stand
together in a world; a task of a function that brings something else has another world put in place first.

    luggage of a function ──► agrees with the world that is in place? ──► yes: what is new is added to it
                                                                      └─► no: the modules change places

What this machine has itself, the same to the byte, is left to it: its file, its cached bytecode, the data beside it.

May not know: links, pickles, functions. Guarantees: a module keeps its identity as long as its world is remembered;
modules that are not the users' own are never touched. For the thread that runs tasks.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import cache_from_source
from types import ModuleType

from covey.codec import trunk as trunks
from covey.codec.trunk import Tag, Trunk
from covey.slot.finder import Finder

__all__ = ["Worlds", "receive", "wear"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Luggage = Mapping[str, Trunk]

# Worlds that are remembered beside the one in place. One that is forgotten is imported anew when it is wanted.
_REMEMBERED = 8


class World:
    """Modules that agree with each other, and the trunks that they were made of."""

    def __init__(self) -> None:
        self.trunks: dict[str, Trunk] = {}
        # Those that the finder serves; the others are here anyway.
        self.served: set[str] = set()
        # While another world is in place: what `sys.modules` held of this one.
        self.modules: dict[str, ModuleType] = {}

    def agrees(self, luggage: "Luggage") -> bool:
        known = self.trunks
        return all(name not in known or known[name].digest == trunk.digest for name, trunk in luggage.items())


class Worlds:
    """The worlds of one slot. `modules` is `sys.modules`, `finders` is `sys.meta_path`.

    >>> worlds = Worlds({}, [])
    >>> worlds.wear({"lab": Trunk("lab", "/home/me/lab.py", {"lab.py": b"x = 1"})})
    >>> sorted(worlds.worn)
    ['lab']
    """

    def __init__(self, modules: dict[str, ModuleType], finders: "list[Any]") -> None:
        self._modules = modules
        self._finders = finders
        self._finder = Finder()
        finders.insert(0, self._finder)
        self._here = World()
        self._others: list[World] = []

    @property
    def worn(self) -> "Luggage":
        """The trunks of the world that is in place."""
        return self._here.trunks

    def wear(self, luggage: "Luggage") -> None:
        """Makes `import`, pickle and `sys.modules` mean these modules."""
        if not self._here.agrees(luggage):
            wanted = next((world for world in reversed(self._others) if world.agrees(luggage)), None)
            self._leave()
            self._enter(wanted or World())
        for name, trunk in luggage.items():
            if name not in self._here.trunks:
                self._add(trunk)

    def find(self, trunk: Trunk) -> Trunk | None:
        """A trunk like that one, if there is one already, so that its files are in memory once."""
        for world in (self._here, *self._others):
            known = world.trunks.get(trunk.name)
            if known is not None and known.digest == trunk.digest:
                return known
        return None

    def _add(self, trunk: Trunk) -> None:
        self._here.trunks[trunk.name] = trunk
        if self._is_here(trunk):
            return
        # Somebody else's module of that name gives way.
        self._take(trunk.name)
        self._here.served.add(trunk.name)
        self._finder.put(trunk)

    def _leave(self) -> None:
        for name in self._here.trunks:
            self._here.modules.update(self._take(name))
        for name in self._here.served:
            self._finder.drop(name)
        self._others = [*self._others, self._here][-_REMEMBERED:]

    def _enter(self, world: World) -> None:
        if world in self._others:
            self._others.remove(world)
        for name in world.served:
            self._finder.put(world.trunks[name])
        for name, module in world.modules.items():
            self._modules[name] = module
            self._bind(name, module)
        world.modules = {}
        self._here = world

    def _take(self, top: str) -> dict[str, ModuleType]:
        """Takes a module, and what lies in it, out of `sys.modules`."""
        names = [name for name in self._modules if name == top or name.startswith(top + ".")]
        taken = {name: self._modules.pop(name) for name in names}
        parent, _, child = top.rpartition(".")
        if parent in self._modules:
            # `from namespace import lab` looks here first.
            vars(self._modules[parent]).pop(child, None)
        return taken

    def _bind(self, name: str, module: ModuleType) -> None:
        parent, _, child = name.rpartition(".")
        if parent in self._modules:
            vars(self._modules[parent]).setdefault(child, module)

    def _is_here(self, trunk: Trunk) -> bool:
        """Whether `import` finds the same files on this machine."""
        spec = self._find(trunk.name)
        if spec is None or not spec.has_location or not spec.origin:
            return False
        try:
            listing = trunks.scan(spec.origin)
            sizes = {path: size for path, size, *_ in listing}
            if sizes != {path: len(content) for path, content in trunk.files.items()}:
                return False    # this much is cheap to see: somebody else's module may be large
            folder = trunks.folder_of(spec.origin)
            if any(_is_doubtful(os.path.join(folder, path)) for path in sizes):
                return False
            return trunks.pack(trunk.name, spec.origin, listing).digest == trunk.digest
        except OSError:
            return False

    def _find(self, name: str) -> ModuleSpec | None:
        """What `import` would find without us."""
        parent = name.rpartition(".")[0]
        path = None
        if parent:
            above = self._find(parent)
            if above is None or above.submodule_search_locations is None:
                return None
            path = above.submodule_search_locations
        return next((spec for spec in self._specs(name, path) if spec is not None), None)

    def _specs(self, name: str, path: Sequence[str] | None) -> "Iterator[ModuleSpec | None]":
        for finder in self._finders:
            find = getattr(finder, "find_spec", None)
            if finder is not self._finder and find is not None:
                yield find(name, path)


def _is_doubtful(path: str) -> bool:
    """Whether `import` may take cached bytecode for that of the source although it is older: it compares whole seconds
    and the size, and a file may be written, imported and edited within one."""
    if not path.endswith(".py"):
        return False
    try:
        cached = os.stat(cache_from_source(path)).st_mtime
    except (OSError, NotImplementedError):
        return False
    # The old source was of the same second; and compiling it took less than another.
    return cached < os.stat(path).st_mtime // 1 + 2


_worlds: Worlds | None = None


def receive(tags: "Sequence[Tag]", blobs: Sequence[object]) -> "Luggage":
    """Puts in place what came with a function's body, and returns it: `wear` it before each task of the function."""
    global _worlds
    if _worlds is None:
        _worlds = Worlds(sys.modules, sys.meta_path)
    luggage = {}
    for tag, blob in zip(tags, blobs, strict=True):
        trunk = _worlds.find(Trunk(tag[0], tag[1], {}, tag[2]))
        luggage[tag[0]] = trunk or Trunk.opened(tag, blob)  # type: ignore[arg-type]  # buffers have no common type
    _worlds.wear(luggage)
    return luggage


def wear(luggage: "Luggage") -> None:
    """See `Worlds.wear`."""
    assert _worlds is not None
    _worlds.wear(luggage)
