# SPDX-License-Identifier: BSD-3-Clause
"""What a client and its maps are asked for, looked at before anything is started.

Why: a value that makes no sense would show up late and elsewhere, as a slot that never starts or a map that hangs.

May not know: the client. Guarantees: TypeError or ValueError in one sentence, which names what was given and what is
needed; nothing is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from covey.errors import LinkRefused

__all__ = ["require_map", "require_setup"]


def require_setup(
    where: str | os.PathLike[str] | None,
    machines: Sequence[str],
    max_cpu: int | None,
    max_gpu: int | None,
    initializer: Callable[..., object] | None,
) -> None:
    """What a new client is given; LinkRefused if nobody can answer at `where`."""
    if where is not None and not isinstance(where, (str, os.PathLike)):
        raise TypeError(
            f"Client(where={where!r}): None, a connection file, or the `address` of a client on this machine, is needed"
        )
    if isinstance(where, str) and where.startswith("ipc://") and not os.path.exists(where.removeprefix("ipc://")):
        raise LinkRefused(f"nobody answers at {where}: is the client that gave this address still open?")
    if isinstance(where, str) and where.startswith("tcp://"):
        raise ValueError(
            f"Client(where={where!r}): a broker on a network is found through its connection file (where='FILE'), and "
            "a node that listens through machines=['host:port']"
        )
    if max_cpu == 0 and not isinstance(max_cpu, bool) and not machines:
        raise ValueError(
            "Client(max_cpu=0) leaves nothing that could run a call, unless it asks for a GPU: "
            "give at least 1, or None for all CPUs"
        )
    if max_gpu is not None and (isinstance(max_gpu, bool) or not isinstance(max_gpu, int)):
        raise TypeError(f"Client(max_gpu={max_gpu!r}): a number is needed, or None for all")
    if initializer is not None and not callable(initializer):
        raise TypeError(f"Client(initializer={initializer!r}): a function or another callable is needed")


def require_map(fn: object, chunksize: int | None, buffersize: int | None) -> None:
    """What a map is given."""
    if not callable(fn):
        raise TypeError(f"map({fn!r}, …): a function or another callable is needed")
    for name, value, rest in (("chunksize", chunksize, ">= 1"), ("buffersize", buffersize, "> 0")):
        if value is None:
            continue
        # in the standard library's words, so that its tests hold
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an integer or None, not {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be None or {rest}, not {value}")
