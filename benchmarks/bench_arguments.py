# SPDX-License-Identifier: BSD-3-Clause
"""The same as bench_submit with an argument worth pickling: a dict, a list and a string, fresh ones for each call."""

import time

from benchmarks.answer import check_results, main, repeat, running, sized
from benchmarks.peers import Peer
from benchmarks.question import BEST, Check, Question, Values
from benchmarks.tasks import index_of

__all__ = ["QUESTION", "measure"]

TEXT = "the quick brown fox jumps over the lazy dog, again and again: "

QUESTION = Question(
    name="arguments",
    asks="submit + result with a dict + list + string argument",
    checks=(
        Check("submit with dict + list + string", "rate", "tasks/s", more=True, bound=5, against=(BEST,)),
        Check("the same against ProcessPoolExecutor", "rate", "tasks/s", more=True, bound=None, against=("executor",)),
    ),
    peers=("pool", "executor", "loky", "mpire", "pathos", "dask", "ray", "ipyparallel", "mpi4py"),
)


def measure(peer: Peer, quick: bool) -> Values:
    with running(peer, "submit"):

        def run(calls: int) -> float:
            rows = [
                ({"index": i, "scale": i / 7, "name": f"task {i}"}, [i, i + 1, i / 2, None], f"{TEXT}{i:08d}")
                for i in range(calls)
            ]
            expected = [index_of(*row) for row in rows]
            start = time.perf_counter()
            results = peer.collect(peer.submit_triples(index_of, rows))
            seconds = time.perf_counter() - start
            check_results(results, expected)
            return seconds

        calls = sized(run, quick)
        return {"rate": calls / repeat(lambda: run(calls), quick), "calls": calls}


if __name__ == "__main__":
    main(QUESTION, measure)
