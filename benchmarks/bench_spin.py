# SPDX-License-Identifier: BSD-3-Clause
"""How much longer is a round trip while the client's main thread spins in pure Python and so holds the GIL?

(a) own: the thread that submitted spins on `while not future.done()`, against waiting in `future.result()`.
(b) guest: a second process is attached to the first one's flock and makes the round trips, while the first
one's main thread, in whose process the broker lives, spins in a loop without any call; against the first
one's main thread asleep. Both alternate with their idle counterpart in short blocks. On two cores (b) has one
core less than its idle counterpart, because one is spinning; with a slot that must wake up on the other, that
is part of the question.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.answer import WrongResult, main, running
from benchmarks.peers import Peer
from benchmarks.question import Check, Question, Values
from benchmarks.tasks import noop

__all__ = ["QUESTION", "measure"]

BLOCK = 100

QUESTION = Question(
    name="spin",
    asks="round trip while the client's main thread spins in pure Python",
    checks=(
        Check("spinning on future.done(), over idle", "own_ratio", "×", more=False, bound=3),
        Check("second client, first one spins, over idle", "guest_ratio", "×", more=False, bound=3),
        Check("spinning on future.done()", "own_spin_us", "µs", more=False, bound=None),
        Check("second client, first one spins", "guest_spin_us", "µs", more=False, bound=None),
    ),
    peers=("executor", "loky"),
)


def idle_block(pool: Any) -> list[float]:
    samples = []
    for item in range(BLOCK):
        start = time.perf_counter()
        value = pool.submit(noop, item).result()
        samples.append(time.perf_counter() - start)
        if value != item:
            raise WrongResult(f"round trip {item} came back as {value!r}")
    return samples


def spin_block(pool: Any) -> list[float]:
    samples = []
    for item in range(BLOCK):
        start = time.perf_counter()
        future = pool.submit(noop, item)
        while not future.done():
            pass
        samples.append(time.perf_counter() - start)
        if future.result() != item:
            raise WrongResult(f"round trip {item} came back as {future.result()!r}")
    return samples


def alternate(idle: Callable[[], list[float]], spin: Callable[[], list[float]], quick: bool) -> tuple[float, float]:
    """Medians in µs."""
    idle(), spin()
    idles: list[float] = []
    spins: list[float] = []
    for _ in range(3 if quick else 10):
        idles.extend(idle())
        spins.extend(spin())
    return 1e6 * statistics.median(idles), 1e6 * statistics.median(spins)


def measure(peer: Peer, quick: bool) -> Values:
    with running(peer, "submit"):
        pool = peer.pool  # type: ignore[attr-defined]
        idle, spin = alternate(lambda: idle_block(pool), lambda: spin_block(pool), quick)
        values = {"own_idle_us": idle, "own_spin_us": spin, "own_ratio": spin / idle}
        if type(peer).__name__ == "Covey":
            idle, spin = _guest(pool, quick)
            values |= {"guest_idle_us": idle, "guest_spin_us": spin, "guest_ratio": spin / idle}
    return values


def _guest(client: Any, quick: bool) -> tuple[float, float]:
    """The second client, in a process of its own, makes one block for each line that it is sent."""
    command = [sys.executable, "-m", "benchmarks.bench_spin", "--attach", client.address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as guest:
        assert guest.stdin is not None
        assert guest.stdout is not None
        asks, answers = guest.stdin, guest.stdout

        def ask() -> str:
            print("block", file=asks, flush=True)
            return answers.readline()

        def while_idle() -> list[float]:
            return list(json.loads(ask()))

        def while_spinning() -> list[float]:
            # another thread waits for the answer, so that the main one does nothing but spin
            heard: list[str] = []
            listener = threading.Thread(target=lambda: heard.append(ask()))
            listener.start()
            turns = 0
            while not heard:
                turns += 1
            listener.join()
            return list(json.loads(heard[0]))

        try:
            return alternate(while_idle, while_spinning, quick)
        finally:
            asks.close()


def _attached(address: str) -> None:
    """The second process."""
    import covey

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with covey.Client(where=address) as client:
        for _ in sys.stdin:
            print(json.dumps(idle_block(client)), file=answers, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--attach"]:
        _attached(sys.argv[2])
    else:
        main(QUESTION, measure)
