# SPDX-License-Identifier: BSD-3-Clause
"""The Python view of the protocol's page, for tests, the reference page and the loop that runs on pyzmq."""

PROTOCOL: int
KINDS: dict[str, int]
FAULTS: dict[int, str]

def check(data: bytes | bytearray | memoryview, extra_frames: int = 0) -> int: ...
def message(kind: int, records: list[bytes], flags: int = 0) -> bytes: ...
def split(data: bytes, extra_frames: int = 0) -> tuple[int, list[tuple[bytes, bytes]]]: ...
