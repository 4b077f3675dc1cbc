# SPDX-License-Identifier: BSD-3-Clause
"""The file from which a broken optimisation goes on.

    FILE = zip( tree.json: the tree, with each array replaced by its number;  0.npy, 1.npy, … )

Why: a job with a time limit must be able to end and to be taken up as if nothing had been.

May not know: what is in the tree. Guarantees: FILE holds a whole state at any moment, a power cut included; it is no
pickle, so opening one runs nothing; what is torn, or belongs to another problem, is refused by a sentence that says
what differs; numbers come back bit for bit.
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from covey.errors import BadCheckpoint

__all__ = ["Checkpoint"]

# Of this layout and of what the loops put into it.
FORMAT = 4
TREE = "tree.json"
# Of the names of files that are being written: .FILE.xxxxxxxx.part
PART = ".part"
# At most this part of the time goes into writing.
SHARE = 0.05


class Checkpoint:
    """The checkpoint of one call."""

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.identity: dict[str, str] = {}
        self._clock = clock
        self._began = clock()
        self._spent = 0.0

    def load(self) -> dict[str, Any] | None:
        """What the file holds; None if there is no file. Removes what was half written when a program was killed."""
        folder, name = os.path.split(self.path)
        for part in glob.glob(f".{glob.escape(name)}.????????{PART}", root_dir=folder):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, part))
        try:
            with open(self.path, "rb") as file:
                return _read(file.read(), self.path)
        except FileNotFoundError:
            return None

    def require_same(
        self, found: Mapping[str, Any], ours: Mapping[str, str], *, digests: Collection[str] = (),
        loosely: Collection[str] = ()
    ) -> None:
        """BadCheckpoint unless what was loaded is of the problem with this identity; `loosely`: but for these.

        What is in `digests` tells a reader nothing but that it differs.
        """
        theirs = found["identity"]
        for name in dict.fromkeys((*ours, *theirs)):
            if name in loosely or theirs.get(name) == ours.get(name):
                continue
            there, here = theirs.get(name, "missing"), ours.get(name, "missing")
            if name in digests:
                raise self.other_problem(f"{name} was another there, or has changed since")
            raise self.other_problem(f"{name} is {there} there and {here} in this call")

    def other_problem(self, difference: str) -> BadCheckpoint:
        """The error for a checkpoint of another problem, and how to go on."""
        return BadCheckpoint(
            f"{self.path} is the checkpoint of another problem: {difference}; give another file, or remove it to begin "
            "anew"
        )

    def save(self, tree: Callable[[], dict[str, Any]], *, last: bool = False) -> None:
        """Replaces the file if that does not cost too much of the time, or if it is the last of a call."""
        began = self._clock()
        if not last and self._spent > SHARE * (began - self._began):
            return
        self._write(_bytes({"format": FORMAT, "identity": self.identity, **tree()}))
        self._spent += self._clock() - began

    def _write(self, data: bytes) -> None:
        folder, name = os.path.split(self.path)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=PART, dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                # Before the name changes: after a power cut it must not stand for nothing.
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def _bytes(tree: dict[str, Any]) -> bytes:
    arrays: list[np.ndarray[Any, Any]] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return {"array": len(arrays) - 1}
        if isinstance(value, np.generic):
            return plain(value.item())
        if isinstance(value, Mapping):
            return {"dict": {str(key): plain(item) for key, item in value.items()}}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(
            f"a value of type {type(value).__name__} cannot be written into a checkpoint; the algorithm's state must "
            "be numbers, strings and arrays"
        )

    text = json.dumps(plain(tree))
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as bundle:
        bundle.writestr(TREE, text)
        for number, array in enumerate(arrays):
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(array), allow_pickle=False)
            bundle.writestr(f"{number}.npy", part.getvalue())
    return memory.getvalue()


def _read(data: bytes, path: str) -> dict[str, Any]:
    def rebuilt(value: Any, bundle: zipfile.ZipFile) -> Any:
        if isinstance(value, list):
            return [rebuilt(item, bundle) for item in value]
        if not isinstance(value, dict):
            return value
        if "array" in value:
            with bundle.open(f"{value['array']}.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        return {key: rebuilt(item, bundle) for key, item in value["dict"].items()}

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            if bundle.testzip() is not None:
                raise ValueError
            tree: dict[str, Any] = rebuilt(json.loads(bundle.read(TREE)), bundle)
            known = tree["format"] == FORMAT
            if not isinstance(tree["identity"], dict):
                raise ValueError
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError):
        raise BadCheckpoint(
            f"{path} is torn, or no checkpoint of covey at all: remove it to begin anew, or give another file"
        ) from None
    if not known:
        raise BadCheckpoint(
            f"{path} was written by another version of covey (format {tree['format']}, this one writes {FORMAT}): "
            "finish with that version, or remove it to begin anew"
        )
    return tree
