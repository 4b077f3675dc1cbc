# SPDX-License-Identifier: BSD-3-Clause
"""A trunk: one module or one whole package of the user's own, as it travels.

Why: a function that another machine is to run needs the modules that it was written with, and they are
files here. A package travels whole, because what it imports inside a function shows only when it runs.

    lab/__init__.py, lab/model.py, lab/_fast.cpython-311-….so ──► blob ──► the same files, in memory

What is no code stays behind: data beside modules is found through paths, and a path in memory leads nowhere.
Caches, hidden folders and environments that happen to lie inside a package stay behind as well.

May not know: who imports the module, and how it is found (that is `ownership`, and the slot's finder). Both ends use
this file, the slot to see whether what it has itself is the same. Guarantees: the digest says everything that
counts: the names of the files and what stands in them.
"""
from __future__ import annotations

import os
from _imp import extension_suffixes
from _pickle import dumps, loads

TYPE_CHECKING = False           # typing itself is a tenth of a slot's start
if TYPE_CHECKING:
    from typing_extensions import Buffer

# Where a file lies below the trunk's folder, and what tells whether it is the same file: size, time, inode.
Listing = tuple[tuple[str, int, int, int], ...]
# What the body of a function says of a trunk: the module's name, where its file is at the caller, the digest.
Tag = tuple[str, str, bytes]

_SUFFIXES = (".py", *extension_suffixes())
# An environment, or the packages in it, are never the user's own code, wherever they lie.
_NOT_CODE = frozenset({"__pycache__", "site-packages", "dist-packages", "node_modules"})


class Trunk:
    """One module or package: its name, the file that was found for it, and the content of its files by relative path.

    >>> trunk = Trunk("lab", "/home/me/lab.py", {"lab.py": b"x = 1"})
    >>> Trunk.opened(trunk.tag, trunk.blob()).files == trunk.files
    True
    """

    __slots__ = ("digest", "files", "name", "origin")

    def __init__(self, name: str, origin: str, files: dict[str, bytes], digest: bytes = b"") -> None:
        self.name = name
        self.origin = origin
        self.files = files
        self.digest = digest or _digest(files)

    @classmethod
    def opened(cls, tag: Tag, blob: Buffer) -> Trunk:
        """The trunk whose tag and blob these are."""
        name, origin, digest = tag
        return cls(name, origin, loads(blob), digest)

    @property
    def tag(self) -> Tag:
        return self.name, self.origin, self.digest

    @property
    def folder(self) -> str:
        """The folder, at the caller, below which the files are listed."""
        return folder_of(self.origin)

    def blob(self) -> bytes:
        """The files as bytes."""
        return dumps(self.files, 5)


def is_package(origin: str) -> bool:
    """Whether a file is the one that makes its folder a package.

    >>> is_package("/x/lab/__init__.py"), is_package("/x/lab.py")
    (True, False)
    """
    return os.path.basename(origin).startswith("__init__.")


def folder_of(origin: str) -> str:
    """The folder that holds a module, or the folder of a package."""
    folder = os.path.dirname(origin)
    return os.path.dirname(folder) if is_package(origin) else folder


def find_suffix(path: str) -> str | None:
    """What follows the module's name in that of its file; None if this Python cannot import such a file.

    >>> find_suffix("lab/fast.py"), find_suffix("lab/fast.cpython-29-other.so"), find_suffix("lab/table.csv")
    ('.py', None, None)
    """
    stem, dot, rest = os.path.basename(path).partition(".")
    # A name has no dot in it, although ".so" is the end of what another Python compiled, too.
    return dot + rest if stem and dot + rest in _SUFFIXES else None


def scan(origin: str) -> Listing:
    """The files of the module or package with that file, without reading them. OSError if it has gone."""
    if not is_package(origin):
        return (_entry(os.path.basename(origin), os.stat(origin)),)
    found: list[tuple[str, int, int, int]] = []
    package = os.path.dirname(origin)
    _scan_folder(package, os.path.basename(package), found)
    return tuple(sorted(found))


def pack(name: str, origin: str, listing: Listing) -> Trunk:
    """Reads the files of a listing that `scan` has just made."""
    folder = folder_of(origin)
    files = {}
    for path, *_ in listing:
        with open(os.path.join(folder, path), "rb") as file:
            files[path] = file.read()
    return Trunk(name, origin, files)


def _scan_folder(folder: str, below: str, found: list[tuple[str, int, int, int]]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{below}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if not (entry.name.startswith(".") or entry.name in _NOT_CODE or _is_environment(entry.path)):
                    _scan_folder(entry.path, path, found)
            elif find_suffix(entry.name) and not _leads_away(entry):
                found.append(_entry(path, entry.stat()))


def _entry(path: str, status: os.stat_result) -> tuple[str, int, int, int]:
    return path, status.st_size, status.st_mtime_ns, status.st_ino


def _is_environment(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, "pyvenv.cfg"))


def _leads_away(entry: os.DirEntry[str]) -> bool:
    """A dangling link (editors make them as locks), or one into an environment."""
    if not entry.is_symlink():
        return False
    target = os.path.realpath(entry.path)
    return not os.path.isfile(target) or not _NOT_CODE.isdisjoint(target.split(os.sep))


def _digest(files: dict[str, bytes]) -> bytes:
    from _blake2 import blake2b

    digest = blake2b(digest_size=16)
    for path in sorted(files):
        encoded = path.encode(errors="surrogateescape")
        digest.update(b"%d %d " % (len(encoded), len(files[path])) + encoded)
        digest.update(files[path])
    return digest.digest()
