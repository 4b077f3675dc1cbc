# SPDX-License-Identifier: BSD-3-Clause
"""Which version of a package is here, and which is there: said where an import has failed.

Why: installed packages do not travel. When one is missing on a machine, or is another version there, the user
must read which package, which machine and which two versions, since the remedy is to install.

The slot says what it has; the caller adds what it has, when it opens the error. So no function carries versions about.

May not know: how errors travel. Guarantees: never raises, costs nothing until something has failed.
"""
from __future__ import annotations

import functools

from covey.errors import ModuleMissing

# The attribute of an error in which a slot tells: name of the module, host, the version there (or None), the reason.
_TOLD = "_covey_told"


@functools.lru_cache(maxsize=256)
def find_distribution(module: str) -> tuple[str, str] | None:
    """The installed package that brings a top-level module, and its version.

    >>> find_distribution("no_such_module_anywhere")
    """
    from importlib import metadata

    try:
        return module, metadata.version(module)
    except Exception:
        pass                    # most packages are called like their module; sklearn and yaml are not
    try:
        name = metadata.packages_distributions()[module][0]
        return name, metadata.version(name)
    except Exception:
        return None


def missing_module(error: ImportError, host: str) -> ModuleMissing:
    """In the slot: the error for a module that something which arrived there needs."""
    name = error.name or "of unknown name"
    there = find_distribution(name.partition(".")[0])
    told = name, host, there and there[1], str(error)
    missing = ModuleMissing(_missing_sentence(*told, there), name=error.name, path=error.path)
    setattr(missing, _TOLD, told)
    return missing


def tell_version(error: Exception, module: str, host: str) -> None:
    """In the slot: notes on an error which version of a module's package is there."""
    there = find_distribution(module.partition(".")[0])
    setattr(error, _TOLD, (module, host, there and there[1], ""))


def complete(error: BaseException, where: str) -> None:
    """At the caller: adds the version that is here to an error that has come from `where`."""
    try:
        _complete(error, where)
    except Exception:
        pass                    # the user's error is worth more than our sentence about it


def _complete(error: BaseException, where: str) -> None:
    told = vars(error).pop(_TOLD, None)
    if told is None:
        # The user's own import, inside a function.
        if isinstance(error, ModuleNotFoundError) and error.name:
            here = find_distribution(error.name.partition(".")[0])
            if here is not None:
                error.add_note(f"covey: this was in {where}. {error.name!r} belongs to {here[0]} {here[1]} here; "
                               f"install it there")
        return
    name, host, there, reason = told
    here = find_distribution(name.partition(".")[0])
    if here is None:
        return
    if isinstance(error, ModuleMissing):
        sentence = _missing_sentence(name, host, there, reason, here, known_here=True)
        error.args, error.msg = (sentence,), sentence
    else:
        error.add_note(f"{name!r} belongs to {here[0]}: {_versions(here[0], host, there)}, {here[1]} here; "
                       f"install the same version on both.")


def _missing_sentence(
    name: str, host: str, there: str | None, reason: str, package: tuple[str, str] | None, known_here: bool = False
) -> str:
    opening = f"the module {name!r} cannot be imported on {host} ({reason}), and what arrived there needs it"
    if package is not None and known_here:
        return f"{opening}: {_versions(package[0], host, there)}, {package[1]} is here; install {package[1]} there"
    if package is not None:
        return f"{opening}: {_versions(package[0], host, there)}; install the version there that the caller has"
    return (f"{opening}; install it there, or put its folder on sys.path before the client starts, or send it along: "
            f"cloudpickle.register_pickle_by_value({name.partition('.')[0]})")


def _versions(package: str, host: str, there: str | None) -> str:
    return f"{package} is not installed on {host}" if there is None else f"{package} {there} is on {host}"
