# SPDX-License-Identifier: BSD-3-Clause
"""Whose a module is: Python's, a package's that somebody installed, or the user's own.

Why: only the user's own code travels. Everything else is there already on another machine, or must be installed
there, as it was here.

    stdlib folder · builtin · frozen                            Python's
    below site-packages, dist-packages, beside a *.dist-info    installed
    any other file                                              the user's own (an editable install is)

May not know: what refers to a module. Guarantees: nothing is imported here; covey itself and `__main__` (whose
functions go by value) are nobody's.
"""
from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from covey.codec.trunk import find_suffix, folder_of

_NOBODYS = frozenset({"__main__", "__mp_main__", "covey"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})

Find = Callable[[str], "ModuleSpec | None"]


def find_own(
    name: str, modules: Mapping[str, ModuleType] | None = None, find: Find = find_spec
) -> tuple[str, str] | None:
    """The module or package of the user's that holds the dotted name, and its file; None if it is not the user's.

    A package counts as a whole, so the answer is its top. A namespace package has no file: what lies in it counts.

    >>> find_own("os.path.join"), find_own("no_such_module_anywhere")
    (None, None)
    """
    modules = sys.modules if modules is None else modules
    parts = name.split(".")
    if parts[0] in _NOBODYS:
        return None
    for length in range(1, len(parts) + 1):
        prefix = ".".join(parts[:length])
        file, is_namespace = _look(prefix, modules, find)
        if not is_namespace:
            return (prefix, file) if file and find_suffix(file) and not is_installed(folder_of(file)) else None
    return None


@functools.lru_cache(maxsize=1024)
def is_installed(folder: str) -> bool:
    """Whether modules in a folder are Python's own or were installed there.

    >>> is_installed(os.path.dirname(os.__file__))
    True
    """
    if not _INSTALLED.isdisjoint(folder.split(os.sep)):
        return True
    real = os.path.realpath(folder)
    if any(real == place or real.startswith(place + os.sep) for place in _python_folders()):
        return True
    try:
        # What `pip install --target` made: a folder of packages under another name.
        return any(entry.endswith(".dist-info") for entry in os.listdir(folder))
    except OSError:
        return True             # a zip file, or gone: there is no file that could travel


def _look(name: str, modules: Mapping[str, ModuleType], find: Find) -> tuple[str | None, bool]:
    """The module's file, and whether it is a namespace package."""
    try:
        module = modules.get(name)
        if module is not None:
            file = getattr(module, "__file__", None)
            if isinstance(file, str):
                return os.path.abspath(file), False
            return None, hasattr(module, "__path__")
        spec = find(name)
        if spec is None:
            return None, False
        if spec.has_location and spec.origin:
            return os.path.abspath(spec.origin), False
        return None, spec.submodule_search_locations is not None
    except Exception:
        # Somebody's finder, or somebody's lazy module: what cannot be asked is not shipped.
        return None, False


@functools.cache
def _python_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib")}
    return tuple({*found, os.path.dirname(os.path.realpath(os.__file__))})
