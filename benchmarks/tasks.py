# SPDX-License-Identifier: BSD-3-Clause
"""The functions that run in the slots.

Why here: most peers send a function by its name, so it must be importable in their processes.
May not know: which peer runs it. Imports almost nothing: some peers import this anew in each process.
"""

import os
import time
from typing import Any

__all__ = ["Witness", "hold", "index_of", "noop", "pick", "place", "sleep_for", "spin_for"]


def noop(x: Any) -> Any:
    """As little as a function can do and still be checked."""
    return x


def index_of(fields: dict[str, Any], items: list[Any], text: str) -> int:
    """A no-op with an argument worth pickling; what it returns says that all three came through."""
    return int(fields["index"]) + len(items) + len(text)


def place(_: object) -> int:
    """Which process runs tasks; slow enough that the other slots get some too."""
    time.sleep(0.01)
    return os.getpid()


def sleep_for(seconds: float) -> float:
    """Work that needs no processor. Returns how long it really took."""
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start


def spin_for(seconds: float) -> float:
    """Work that needs so much time *of a processor*: whoever takes the processor away makes it longer."""
    start = time.thread_time()
    while (spent := time.thread_time() - start) < seconds:
        pass
    return spent


def hold(path: str) -> str:
    """Says that it runs, then blocks its slot, without polling, until somebody opens the fifo `path` for writing."""
    with open(path + ".here", "w", encoding="ascii"):
        pass
    with open(path, encoding="ascii") as fifo:
        return fifo.read()


def pick(array: Any, witness: object, index: int) -> float:
    """The closure's work, for peers that take no closures: they get `partial(pick, array, witness)`."""
    return float(array[index])


class Witness:
    """Travels with the big array and writes into a file each time that it is unpickled, and by whom."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.path,)


def _arrive(path: str) -> Witness:
    with open(path, "a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    return Witness(path)
