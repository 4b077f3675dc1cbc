# SPDX-License-Identifier: BSD-3-Clause
"""The inside of one measurement: a fresh process that starts one peer, measures, checks, answers with one JSON line.

Why a file: how to warm up, how to size a run and what counts as cheating must be the same for everybody.
May not know: which question, who else is measured, targets.
Guarantees: no figure leaves here unless the results were right, came from other processes and took at least as
long as the bare work takes. stdout carries the answer alone; what libraries print goes to stderr.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.peers import PEERS, NotInstalled, Peer, find_peer
from benchmarks.question import SLOTS, Question, Values
from benchmarks.tasks import place

__all__ = ["WrongResult", "check_results", "check_speed", "main", "repeat", "running", "sized"]

# A timed run lasts at least this long, so that starting and stopping it does not count.
LEAST_SECONDS = 0.5
QUICK_SECONDS = 0.15
WARM_UP_LIMIT = 30.0


class WrongResult(Exception):
    """A benchmark that did not do the work measures nothing."""


@contextmanager
def running(peer: Peer, way: str) -> Iterator[Peer]:
    """A started peer whose worker processes have all worked once, reached by `way`: "submit" or "map"."""
    peer.start(SLOTS)
    try:
        deadline = time.monotonic() + WARM_UP_LIMIT
        places: set[int] = set()
        while len(places) < SLOTS:
            if time.monotonic() > deadline:
                raise WrongResult(f"only {len(places)} of {SLOTS} workers did any work in {WARM_UP_LIMIT:g} s")
            items = list(range(4 * SLOTS))
            places.update(peer.map(place, items) if way == "map" else peer.collect(peer.submit_all(place, items)))
        if os.getpid() in places:
            raise WrongResult("tasks ran in the caller's own process")
        yield peer
    finally:
        peer.close()


def check_results(results: Sequence[Any], expected: Sequence[Any]) -> None:
    if len(results) != len(expected):
        raise WrongResult(f"{len(results)} results for {len(expected)} calls")
    for index, (result, wanted) in enumerate(zip(results, expected, strict=True)):
        if result != wanted:
            raise WrongResult(f"result {index} is {result!r}, not {wanted!r}")


def check_speed(seconds: float, function: Callable[..., Any], items: Sequence[Any]) -> None:
    """Two processes cannot be faster than twice a bare loop over the same calls."""
    loops = []
    for _ in range(3):
        start = time.perf_counter()
        list(map(function, items))
        loops.append(time.perf_counter() - start)
    if seconds < min(loops) / SLOTS:
        raise WrongResult(f"{len(items)} calls in {seconds:.4f} s: faster than {SLOTS} processes can call")


def sized(run: Callable[[int], float], quick: bool, first: int = 500, most: int = 2_000_000) -> int:
    """How many calls make `run(calls) -> seconds` last long enough. Finding that out warms up, too."""
    wanted = QUICK_SECONDS if quick else LEAST_SECONDS
    calls = first
    while calls < most:
        seconds = run(calls)
        if seconds >= wanted:
            break
        calls = min(most, int(calls * min(8.0, 1.3 * wanted / seconds)) + 1)
    return calls


def repeat(run: Callable[[], float], quick: bool, times: int = 5) -> float:
    """The median of several runs in this process."""
    return statistics.median(run() for _ in range(1 if quick else times))


def main(
    question: Question,
    measure: Callable[[Peer, bool], Values],
    block: Callable[[Peer, int], list[float]] | None = None,
) -> None:
    """`python -m benchmarks.bench_… --peer NAME`: one measurement; with `--blocks` one block for each line of stdin."""
    parser = argparse.ArgumentParser(description=question.asks)
    parser.add_argument("--peer", default="covey", choices=sorted(PEERS))
    parser.add_argument("--quick", action="store_true", help="a shorter, rougher run")
    parser.add_argument("--blocks", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    # not inheritable: a worker that outlives us must not keep the reader waiting
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        peer = find_peer(options.peer)
    except NotInstalled as error:
        print(json.dumps({"missing": str(error)}), file=answers, flush=True)
        return
    if options.blocks and block is not None:
        with running(peer, "submit"):
            print(json.dumps({"ready": True}), file=answers, flush=True)
            for line in sys.stdin:
                print(json.dumps(block(peer, int(line))), file=answers, flush=True)
    else:
        load = os.getloadavg()[0]
        values = dict(measure(peer, options.quick))
        print(json.dumps({"values": values, "load": load}), file=answers, flush=True)
