# SPDX-License-Identifier: BSD-3-Clause
"""How long does one no-op take, there and back, when nothing else is going on? Median and 99th percentile.

Wake-ups of sleeping threads are most of it, and how long they take drifts within seconds on a virtual machine. So all
contenders are up at once, idle, and take turns in short blocks; each is a process of its own. The libraries that need
milliseconds (and whose background work would disturb the others) are not asked here.
"""

import time

from benchmarks.answer import WrongResult, main, running
from benchmarks.peers import Peer
from benchmarks.question import BEST, Check, Question, Values
from benchmarks.tasks import noop

__all__ = ["QUESTION", "block", "measure"]

# The first of a block find cold caches that the turn-taking, not the library, made.
UNCOUNTED = 20

QUESTION = Question(
    name="roundtrip",
    asks="one no-op round trip, median and p99",
    checks=(
        Check("round trip, median", "median_us", "µs", more=False, bound=1, against=("executor",)),
        Check("round trip, p99", "p99_us", "µs", more=False, bound=1, against=("executor",)),
        Check(
            "median against bare pyzmq", "median_us", "µs", more=False, bound=1.3,
            against=("pyzmq-thread", "pyzmq-process"),
        ),
        Check("median, all peers", "median_us", "µs", more=False, bound=None, against=(BEST,)),
        Check("p99, all peers", "p99_us", "µs", more=False, bound=None, against=(BEST,)),
    ),
    peers=("executor", "pyzmq-thread", "pyzmq-process", "pool", "loky", "mpire"),
    together=True,
)  # fmt: skip


def block(peer: Peer, count: int) -> list[float]:
    """So many round trips, one after the other, in seconds."""
    submit, result, clock = peer.submit, peer.result, time.perf_counter
    samples = []
    for item in range(count + UNCOUNTED):
        start = clock()
        value = result(submit(noop, item))
        samples.append(clock() - start)
        if value != item:
            raise WrongResult(f"round trip {item} came back as {value!r}")
    return samples[UNCOUNTED:]


def percentiles(samples: list[float]) -> Values:
    """In µs."""
    ranked = sorted(samples)
    return {
        "median_us": 1e6 * ranked[len(ranked) // 2],
        "p99_us": 1e6 * ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))],
        "samples": len(ranked),
    }


def measure(peer: Peer, quick: bool) -> Values:
    """Alone, without anybody to take turns with."""
    with running(peer, "submit"):
        return percentiles(block(peer, 500 if quick else 2000))


if __name__ == "__main__":
    main(QUESTION, measure, block)
