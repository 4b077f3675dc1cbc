# SPDX-License-Identifier: BSD-3-Clause
"""How many no-ops a second, submitted one by one, each with a future of its own that is read?"""

import time

from benchmarks.answer import check_results, check_speed, main, repeat, running, sized
from benchmarks.peers import Peer
from benchmarks.question import BEST, Check, Question, Values
from benchmarks.tasks import noop

__all__ = ["QUESTION", "measure"]

QUESTION = Question(
    name="submit",
    asks="submit + result of no-ops, one future each",
    checks=(
        Check("submit + result of no-ops", "rate", "tasks/s", more=True, bound=20, against=(BEST,)),
        Check("the same against ProcessPoolExecutor", "rate", "tasks/s", more=True, bound=40, against=("executor",)),
    ),
    peers=("pool", "executor", "loky", "mpire", "pathos", "dask", "ray", "ipyparallel", "mpi4py"),
)


def measure(peer: Peer, quick: bool) -> Values:
    with running(peer, "submit"):

        def run(calls: int) -> float:
            items = range(calls)
            start = time.perf_counter()
            results = peer.collect(peer.submit_all(noop, items))
            seconds = time.perf_counter() - start
            check_results(results, items)
            check_speed(seconds, noop, items)
            return seconds

        calls = sized(run, quick)
        return {"rate": calls / repeat(lambda: run(calls), quick), "calls": calls}


if __name__ == "__main__":
    main(QUESTION, measure)
