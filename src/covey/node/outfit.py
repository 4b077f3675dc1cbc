# SPDX-License-Identifier: BSD-3-Clause
"""What every slot of a node is given at its start, as one file.

Why a file: it may be large (an initializer's arguments), it may be private, and neither belongs on a command
line. It is marshalled, not pickled, because a slot reads it before it can afford an import (`slot/bootstrap`).

May not know: who starts the slots, and what the sealed initializer is.
"""

import marshal
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pickle import PickleBuffer

__all__ = ["Outfit", "slot_environment"]

# Without these every slot of a 64-core machine starts 64 threads for one matrix product.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class Outfit:
    """The settings of a slot.

    `setup` is the sealed `(initializer, initargs)`, bytes and large buffers, and the token by which the slot knows it
    again where a function brings it along. `recycle_rss`: bytes over which it leaves after a task. `node` is its node's
    name, if it has one. `path` is the slot's `sys.path`; None: that of the process that runs here. `far`: its tasks
    come from other programs.
    """

    address: str
    setup: tuple[bytes, Sequence[bytes | bytearray | memoryview | PickleBuffer], bytes] | None = None
    max_tasks: int = 0
    recycle_rss: int = 0
    result_limit: int = 1 << 30
    native: bool = True
    beat_every: float = 2.0
    node: str | None = None
    path: Sequence[str] | None = None
    far: bool = False

    def pack(self) -> bytes:
        """The file's content: this, and what the slot takes over from the process that runs here."""
        setup = None
        if self.setup is not None:
            body, buffers, token = self.setup
            setup = (body, [bytes(buffer) for buffer in buffers], token)
        content: dict[str, object] = {
            "address": self.address,
            "path": _import_path() if self.path is None else list(self.path),
            "argv": [str(argument) for argument in getattr(sys, "argv", [""])],
            "levels": _logging_levels(),
            "setup": setup,
            "max_tasks": self.max_tasks,
            "recycle_rss": self.recycle_rss,
            "result_limit": self.result_limit,
            "native": self.native,
            "beat_every": self.beat_every,
            "node": self.node,
            "far": self.far,
        }
        return marshal.dumps(content)


def _import_path() -> list[str]:
    """The caller's `sys.path`; "" means the directory that the caller is in now, wherever it goes later."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        here = ""
    return [str(entry or here) for entry in sys.path]


def _logging_levels() -> dict[str, int]:
    """The levels that the caller has set, so that a slot drops what the caller would have dropped."""
    logging = sys.modules.get("logging")
    if logging is None:
        return {"": 30}
    loggers = dict(logging.root.manager.loggerDict)
    levels = {name: logger.level for name, logger in loggers.items() if getattr(logger, "level", 0)}
    return {"": logging.root.level, **levels}


def slot_environment(cpus: int, slots: int) -> dict[str, str]:
    """The environment of a slot: the caller's, with what keeps slots from getting into each other's way.

    What the user has set stays as it is; what belongs to one seat, its GPU, the seat adds.
    """
    environment = dict(os.environ)
    share = str(max(1, cpus // max(1, slots)))
    for name in _THREAD_VARIABLES:
        environment.setdefault(name, share)
    # Older C libraries say "double free or corruption" to the terminal itself, past stderr, and nobody could report it.
    environment.setdefault("LIBC_FATAL_STDERR_", "1")
    return environment
