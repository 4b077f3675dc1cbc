# SPDX-License-Identifier: BSD-3-Clause
"""How many no-ops a second when only 4, or 64, may be in flight, as in a loop that reacts to each result?"""

import time
from collections import deque
from typing import Any

from benchmarks.answer import check_results, check_speed, main, repeat, running, sized
from benchmarks.peers import Peer
from benchmarks.question import BEST, Check, Question, Values
from benchmarks.tasks import noop

__all__ = ["QUESTION", "measure"]

WINDOWS = (4, 64)

QUESTION = Question(
    name="window",
    asks="sliding window of 4 / 64 no-ops in flight",
    checks=(
        Check("window of 4 in flight", "rate_4", "tasks/s", more=True, bound=2, against=("executor",)),
        Check("window of 64 in flight", "rate_64", "tasks/s", more=True, bound=10, against=("executor",)),
        Check("window of 4, all peers", "rate_4", "tasks/s", more=True, bound=None, against=(BEST,)),
        Check("window of 64, all peers", "rate_64", "tasks/s", more=True, bound=None, against=(BEST,)),
    ),
    peers=("pool", "executor", "loky", "mpire", "pathos", "dask", "ray", "mpi4py"),
)


def measure(peer: Peer, quick: bool) -> Values:
    values: dict[str, float] = {}
    with running(peer, "submit"):
        for window in WINDOWS:

            def run(calls: int, window: int = window) -> float:
                submit, result = peer.submit, peer.result
                flying: deque[Any] = deque()
                results: list[Any] = []
                start = time.perf_counter()
                for item in range(calls):
                    if len(flying) == window:
                        results.append(result(flying.popleft()))
                    flying.append(submit(noop, item))
                results.extend(map(result, flying))
                seconds = time.perf_counter() - start
                check_results(results, range(calls))
                check_speed(seconds, noop, range(calls))
                return seconds

            calls = sized(run, quick)
            values[f"rate_{window}"] = calls / repeat(lambda run=run, calls=calls: run(calls), quick, 3)  # type: ignore[misc]
    return values


if __name__ == "__main__":
    main(QUESTION, measure)
