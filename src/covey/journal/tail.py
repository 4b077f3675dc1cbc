# SPDX-License-Identifier: BSD-3-Clause
"""Whether SQLite's log ends as a crash leaves it, or was damaged before its end.

Why: SQLite replays its log up to the first frame whose checksum is wrong, and drops the rest without a word. That is
right for the last transaction, which a crash may have torn; but a transaction that others were written behind was on
the disk once, and promised. Dropped, it would be lost in silence.

The layout is that of https://www.sqlite.org/fileformat2.html#walformat.

May not know: tables. Guarantees: changes nothing; never raises for what stands in the file.
"""
from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["damage_of"]

_HEADER = struct.Struct(">IIIIIIII")
_FRAME = struct.Struct(">IIIIII")
_MAGIC = 0x377F0682         # its last bit says that checksums are big-endian
_MASK = 0xFFFFFFFF


def damage_of(log: Path) -> str | None:
    """Where the log is damaged before its last transaction; None if it is whole, torn at its end, or not there.

    >>> damage_of(Path("no such file")) is None
    True
    """
    try:
        data = log.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < _HEADER.size + _FRAME.size:
        return None
    magic, _, page, _, *salts, first, second = _HEADER.unpack_from(data)
    order = ">" if magic & 1 else "<"
    known = magic & ~1 == _MAGIC and page >= 512
    if not known or _checksum(data[: _HEADER.size - 8], order, (0, 0)) != (first, second):
        return f"{log}, byte 0: the head of SQLite's log"
    size = _FRAME.size + page
    count = (len(data) - _HEADER.size) // size
    frames = [_FRAME.unpack_from(data, _HEADER.size + at * size) for at in range(count)]
    sums = (first, second)
    for at, (_, _, *own, one, two) in enumerate(frames):
        start = _HEADER.size + at * size
        sums = _checksum(data[start:start + 8], order, sums)
        sums = _checksum(data[start + _FRAME.size:start + size], order, sums)
        if own != salts or sums != (one, two):
            return f"{log}, byte {start}: frame {at + 1} of SQLite's log" if _is_followed(frames[at:], salts) else None
    return None


def _is_followed(frames: list[tuple[int, ...]], salts: list[int]) -> bool:
    """Whether the transaction to which the first frame belongs has another one behind it. What an earlier round of the
    log has left behind has other salts."""
    ours = [bool(commit) for _, commit, *own, _, _ in frames if own == salts]
    return True in ours and ours.index(True) < len(ours) - 1


def _checksum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    one, two = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for at in range(0, len(words), 2):
        one = (one + words[at] + two) & _MASK
        two = (two + words[at + 1] + one) & _MASK
    return one, two
