# SPDX-License-Identifier: BSD-3-Clause
"""How many no-ops a second through each library's map, with the chunks that it chooses itself?

Those that choose chunks map a million items. Those that send one by one would need minutes for that; there
each item costs the same, so they map as many as fit into the time (`items` in the JSON). Scaling up a short
run of the former would be wrong: their chunks grow with the number of items.
"""

import time

from benchmarks.answer import check_results, check_speed, main, repeat, running, sized
from benchmarks.peers import Peer
from benchmarks.question import BEST, SLOTS, Check, Question, Values
from benchmarks.tasks import noop

__all__ = ["QUESTION", "measure"]

ITEMS = 1_000_000

QUESTION = Question(
    name="map",
    asks="map of no-ops, default chunking",
    checks=(
        Check("map of no-ops, default chunks", "rate", "items/s", more=True, bound=1, against=("pool",)),
        Check("map against the others", "rate", "items/s", more=True, bound=10, against=(BEST,), besides=("pool",)),
        Check("the same through distribute()", "distribute", "items/s", more=True, bound=None),
    ),
    quick=("joblib",),
    peers=("pool", "executor", "loky", "joblib", "mpire", "pathos", "dask", "ray", "ipyparallel", "mpi4py"),
)


def measure(peer: Peer, quick: bool) -> Values:
    values: dict[str, float] = {}
    with running(peer, "map"):

        def run(calls: int) -> float:
            items = range(calls)
            start = time.perf_counter()
            results = peer.map(noop, items)
            seconds = time.perf_counter() - start
            check_results(results, items)
            check_speed(seconds, noop, items)
            return seconds

        calls = ITEMS if peer.chunks else sized(run, quick)
        if peer.chunks:
            run(calls)
        values["rate"] = calls / repeat(lambda: run(calls), quick, 3)
        values["items"] = calls
    if hasattr(peer, "distribute"):
        values["distribute"] = ITEMS / _through_distribute(peer, quick)
    return values


def _through_distribute(peer: Peer, quick: bool) -> float:
    """covey's front door with a list, as one would type it."""
    call = peer.distribute(noop, SLOTS)  # type: ignore[attr-defined]
    items = list(range(ITEMS))

    def run() -> float:
        start = time.perf_counter()
        results = call(items)
        seconds = time.perf_counter() - start
        check_results(results, items)
        check_speed(seconds, noop, items)
        return seconds

    run()
    return repeat(run, quick, 3)


if __name__ == "__main__":
    main(QUESTION, measure)
