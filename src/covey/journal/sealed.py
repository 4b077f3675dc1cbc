# SPDX-License-Identifier: BSD-3-Clause
"""Frames as bytes: of a row, or of a file beside the table where they are large.

    row     INLINE | number of frames | their sizes | the frames
            FILE | size of the file | its checksum                  and the file holds what would stand behind INLINE

Why: a row of many megabytes would pass through SQLite's log and then through its table; a file is written once.

May not know: what the frames are. Guarantees: a file is on the disk, name and content, before its bytes of a row are
handed out; one whose content has changed is an error that names it.
"""
from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from zlib import crc32

from covey.errors import JournalRefused
from covey.journal.folder import sync_folder

__all__ = ["FILE", "LARGE", "Files", "pack", "unpack"]

LARGE = 1 << 16
INLINE, FILE = b"\0", b"\1"
_COUNT = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
_FILE = struct.Struct("<QI")
_WRITE = 1 << 20

Frames = Sequence[bytes]


def pack(frames: Frames) -> bytes:
    """Frames as one run of bytes.

    >>> unpack(pack([b"a", b"", b"bc"]))
    [b'a', b'', b'bc']
    """
    sizes = b"".join(_SIZE.pack(len(frame)) for frame in frames)
    return b"".join((_COUNT.pack(len(frames)), sizes, *frames))


def unpack(data: bytes) -> list[bytes]:
    """The frames again; the data is what `pack` made, as a checksum has shown."""
    count, = _COUNT.unpack_from(data)
    at = _COUNT.size + count * _SIZE.size
    frames = []
    for place in range(count):
        size, = _SIZE.unpack_from(data, _COUNT.size + place * _SIZE.size)
        frames.append(data[at:at + size])
        at += size
    return frames


class Files:
    """The large ones, in a folder of their own."""

    def __init__(self, folder: str, *, durable: bool) -> None:
        self.folder = folder
        self._durable = durable
        os.makedirs(folder, 0o700, exist_ok=True)

    def put(self, name: str, frames: Frames) -> bytes:
        """What goes into the row; for large frames the file `name` is written first. OSError if it cannot be."""
        if sum(map(len, frames)) <= LARGE:
            return INLINE + pack(frames)
        data = pack(frames)
        path = os.path.join(self.folder, name)
        temporary = path + ".new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb", buffering=0) as file:
                for at in range(0, len(data), _WRITE):
                    piece = memoryview(data)[at:at + _WRITE]
                    while piece:
                        piece = piece[file.write(piece):]
                if self._durable:
                    os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        if self._durable:
            sync_folder(self.folder)
        return FILE + _FILE.pack(len(data), crc32(data))

    def get(self, name: str, row: bytes) -> list[bytes]:
        """The frames of a row; JournalRefused if its file is not what was written."""
        if row[:1] == INLINE:
            return unpack(row[1:])
        size, checksum = _FILE.unpack_from(row, 1)
        path = os.path.join(self.folder, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise JournalRefused(f"{path} of the journal cannot be read: {error.strerror}") from None
        if len(data) != size or crc32(data) != checksum:
            raise JournalRefused(f"{path} of the journal is damaged: it is not what was written")
        return unpack(data)

    def fault_of(self, name: str, row: bytes) -> str | None:
        """Why the file of a row cannot be used, as far as can be seen without reading it."""
        path = os.path.join(self.folder, name)
        try:
            found = os.stat(path).st_size
        except OSError:
            return f"{path} is not there"
        size, _ = _FILE.unpack_from(row, 1)
        return None if found == size else f"{path} has {found} bytes, and {size} were written"

    def drop(self, name: str) -> None:
        """The file is not wanted any more."""
        try:
            os.unlink(os.path.join(self.folder, name))
        except FileNotFoundError:
            pass

    def names(self) -> list[str]:
        return os.listdir(self.folder)
