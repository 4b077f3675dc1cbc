# SPDX-License-Identifier: BSD-3-Clause
"""A closure over a 10 MB array, mapped over 1,000 items: how long, and how often was it shipped?

The array is a fresh one in each run, or a cache by identity would be measured. Beside it the closure holds a
witness, which writes down each time that it is unpickled, and in which process. Peers without closures get
`functools.partial` of a named function. Peers that ship the array with every item map 20 items; their time is
scaled up, which is fair because each item costs the same.
"""

import functools
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.answer import check_results, main, running
from benchmarks.peers import Peer
from benchmarks.question import BEST, Check, Question, Values
from benchmarks.tasks import Witness, pick

__all__ = ["QUESTION", "measure"]

NUMBERS = 10_000_000 // 8
ITEMS = 1000
FEW_ITEMS = 20

QUESTION = Question(
    name="closure",
    asks="a closure over a 10 MB array mapped over 1,000 items",
    checks=(
        Check("closure of 10 MB over 1,000 items", "seconds", "s", more=False, bound=0.1),
        Check("times it reached the same slot, at most", "loads", "×", more=False, bound=1),
        Check("the same time, all peers", "seconds", "s", more=False, bound=None, against=(BEST,)),
    ),
    peers=("pool", "executor", "loky", "joblib", "mpire", "pathos", "dask", "ray", "mpi4py"),
)


def closure(array: Any, witness: Witness) -> Callable[[int], float]:
    def look_up(index: int) -> float:
        return float(array[index]) if witness.path else 0.0

    return look_up


def measure(peer: Peer, quick: bool) -> Values:
    calls = ITEMS if peer.chunks else FEW_ITEMS
    seconds: list[float] = []
    loads: list[int] = []
    with running(peer, "map"), tempfile.TemporaryDirectory(prefix="witness-") as folder:
        for run in range(2 if quick else 5):
            array = numpy.random.default_rng().random(NUMBERS)
            witness = Witness(os.path.join(folder, str(run)))
            function = closure(array, witness) if peer.closures else functools.partial(pick, array, witness)
            expected = [float(number) for number in array[:calls]]
            start = time.perf_counter()
            results = peer.map(function, range(calls))
            seconds.append((time.perf_counter() - start) * ITEMS / calls)
            check_results(results, expected)
            if os.path.exists(witness.path):
                with open(witness.path, encoding="ascii") as file:
                    loads.append(max(Counter(file.read().split()).values()))
    # a peer that forks inherits it and never unpickles
    return {"seconds": statistics.median(seconds), "loads": max(loads, default=0)}


if __name__ == "__main__":
    main(QUESTION, measure)
