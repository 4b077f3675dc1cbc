# SPDX-License-Identifier: BSD-3-Clause
"""The finder through which a slot imports modules that came from the caller.

Why: they have no file here. To `import`, inspect, tracebacks and pickle they are modules like others: their
names and their `__file__` are the caller's, their source is what was sent.

It stands before Python's own finders, so that the user's `utils` is the user's here too, whoever else's `utils` is
installed; it answers only for trunks that `worlds` gave it, and those are what this machine lacks.

May not know: functions, tasks, which trunks are wanted. Guarantees: nothing is written next to anybody's files; a
compiled module is a file in the temporary folder only while it is being loaded.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from types import ModuleType

from covey.codec.trunk import Trunk, find_suffix, is_package

__all__ = ["Finder", "modules_of"]


class SourceLoader(SourceFileLoader):
    """Loads a module whose source is in memory."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self._source = source

    def get_data(self, path: str) -> bytes:
        # Anything else is data beside the module: there may be a shared folder.
        return self._source if path == self.path else super().get_data(path)

    def path_stats(self, path: str) -> dict[str, int]:
        # Without a time there is no cache, neither read nor written.
        raise OSError(f"{path} is not a file here")

    def exec_module(self, module: ModuleType) -> None:
        if os.path.exists(self.path):
            # Another file under the same path: tracebacks would show its lines. An entry without a time stays.
            import linecache

            text = self.get_source(self.name) or ""
            linecache.cache[self.path] = (len(text), None, text.splitlines(keepends=True), self.path)
        super().exec_module(module)


class CompiledLoader(ExtensionFileLoader):
    """Loads a compiled module whose file is in memory."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory(prefix="covey-") as folder:
            path = os.path.join(folder, os.path.basename(self.path))
            with open(path, "wb") as file:
                file.write(self._content)
            return super().create_module(ModuleSpec(spec.name, self, origin=path))


class Finder:
    """Finds the modules of the trunks that were put into it.

    >>> finder = Finder()
    >>> finder.put(Trunk("lab", "/home/me/lab.py", {"lab.py": b"x = 1"}))
    >>> finder.find_spec("lab").origin
    '/home/me/lab.py'
    """

    def __init__(self) -> None:
        self._homes: dict[str, tuple[Trunk, str]] = {}
        self._namespaces: set[str] = set()

    def put(self, trunk: Trunk) -> None:
        """Serves a trunk's modules from now on, in place of another trunk of that name."""
        self.drop(trunk.name)
        for name, path in modules_of(trunk):
            self._homes[name] = trunk, path
            while "." in name:
                name = name.rpartition(".")[0]
                self._namespaces.add(name)

    def drop(self, name: str) -> None:
        """Serves the trunk of that name no more."""
        for known in [known for known in self._homes if _lies_in(known, name)]:
            del self._homes[known]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What `import` asks of every finder."""
        home = self._homes.get(name)
        if home is not None:
            return _spec(name, *home)
        if name in self._namespaces and PathFinder.find_spec(name, path) is None:
            return ModuleSpec(name, None, is_package=True)
        return None


def modules_of(trunk: Trunk) -> Iterator[tuple[str, str]]:
    """The modules of a trunk: dotted name and relative path. What another Python compiled comes under its name, too.

    >>> sorted(modules_of(Trunk("ns.lab", "/x/ns/lab/__init__.py", {"lab/__init__.py": b"", "lab/sub/a.py": b""})))
    [('ns.lab', 'lab/__init__.py'), ('ns.lab.sub.a', 'lab/sub/a.py')]
    """
    parent = trunk.name.rpartition(".")[0]
    for path in sorted(trunk.files, key=_preference):
        *parts, file = path.split("/")
        stem = file.partition(".")[0]
        if stem != "__init__":
            parts.append(stem)
        yield ".".join([parent, *parts] if parent else parts), path


def _preference(path: str) -> int:
    """Where several files make one module, the last one counts: compiled, or else source, or else of no use here."""
    suffix = find_suffix(path)
    return 0 if suffix is None else 1 if suffix == ".py" else 2


def _spec(name: str, trunk: Trunk, path: str) -> ModuleSpec | None:
    content = trunk.files[path]
    place = os.path.join(trunk.folder, *path.split("/"))
    loader: SourceLoader | CompiledLoader
    if path.endswith(".py"):
        loader = SourceLoader(name, place, content)
    elif find_suffix(path):
        loader = CompiledLoader(name, place, content)
    else:
        raise ImportError(
            f"the module {name!r} came as {os.path.basename(path)}, which was compiled for another Python or another "
            f"kind of machine than this one ({sys.implementation.cache_tag} on {sys.platform}, {os.uname().nodename}); "
            f"install its package on {os.uname().nodename}",
            name=name,
        )
    locations = [os.path.dirname(place)] if is_package(place) else None
    return spec_from_file_location(name, place, loader=loader, submodule_search_locations=locations)


def _lies_in(name: str, top: str) -> bool:
    return name == top or name.startswith(top + ".")
