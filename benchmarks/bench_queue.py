# SPDX-License-Identifier: BSD-3-Clause
"""What does a task cost when 200,000 or a million wait in the queue, and does it grow?

All slots are held, everything is submitted, the slots are let go, all results are read: the time for the
whole, over the number of tasks, so that nothing can hide between submitting and running. Growth is against
10,000 queued in the same process.
"""

import statistics
import time

from benchmarks.answer import check_results, main, running
from benchmarks.blocked import blocked
from benchmarks.peers import Peer
from benchmarks.question import Check, Question, Values
from benchmarks.tasks import noop

__all__ = ["QUESTION", "measure"]

SMALL, LARGE, HUGE = 10_000, 200_000, 1_000_000

QUESTION = Question(
    name="queue",
    asks="200,000 and 1,000,000 queued tasks: µs a task, growth",
    checks=(
        Check("200,000 queued, a task", "us_200000", "µs", more=False, bound=6),
        Check("1,000,000 queued, a task", "us_1000000", "µs", more=False, bound=6),
        Check("growth, 200,000 over 10,000", "growth_200000", "×", more=False, bound=1.15),
        Check("growth, 1,000,000 over 10,000", "growth_1000000", "×", more=False, bound=1.15),
    ),
    peers=("pool", "executor", "mpire"),
)


def measure(peer: Peer, quick: bool) -> Values:
    # a million would take the peers the best part of a minute
    big = type(peer).__name__ == "Covey" and not quick
    with running(peer, "submit"):

        def run(calls: int) -> float:
            with blocked(peer) as release:
                start = time.perf_counter()
                handles = peer.submit_all(noop, range(calls))
                release()
                results = peer.collect(handles)
                seconds = time.perf_counter() - start
            check_results(results, range(calls))
            return 1e6 * seconds / calls

        run(SMALL)
        values: dict[str, float] = {}
        # the small ones before and after each large one, so that a drift of the machine meets both
        small = [run(SMALL) for _ in range(5)]
        for calls in (LARGE, HUGE) if big else (LARGE,):
            values[f"us_{calls}"] = run(calls)
            small.extend(run(SMALL) for _ in range(5))
        values["us_10000"] = statistics.median(small)
        for calls in (LARGE, HUGE) if big else (LARGE,):
            values[f"growth_{calls}"] = values[f"us_{calls}"] / values["us_10000"]
    return values


if __name__ == "__main__":
    main(QUESTION, measure)
