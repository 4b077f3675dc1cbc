# SPDX-License-Identifier: BSD-3-Clause
"""From starting the interpreter to the first result printed: what a person waits who runs a three-line script.

Each library's shortest program that computes `abs(-1)` in another process, as its documentation would write
it (the peer's `first_result`), in a fresh interpreter; `first_s` ends with the line printed, `gone_s` with
the process gone.
"""

import statistics
import subprocess
import sys
import time

from benchmarks.answer import WrongResult, main
from benchmarks.peers import Peer
from benchmarks.question import Check, Question, Values

__all__ = ["QUESTION", "measure"]

QUESTION = Question(
    name="import",
    asks="import to first result",
    checks=(
        Check("import to first result", "first_s", "s", more=False, bound=0.35),
        Check("the same until the process is gone", "gone_s", "s", more=False, bound=None),
    ),
    peers=("pool", "executor", "loky", "joblib", "mpire", "pathos", "dask", "ray", "ipyparallel"),
)


def measure(peer: Peer, quick: bool) -> Values:
    _once(peer.first_result)  # compiles what is not compiled yet, fills the file cache
    runs = [_once(peer.first_result) for _ in range(2 if quick else 5)]
    return {
        "first_s": statistics.median(first for first, _ in runs),
        "gone_s": statistics.median(gone for _, gone in runs),
    }


def _once(program: str) -> tuple[float, float]:
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise WrongResult("no pipe")
        # a library may say something first
        line = next((line for line in process.stdout if line.startswith("[")), "nothing")
        first = time.perf_counter() - start
        process.wait()
    gone = time.perf_counter() - start
    if line.strip() != "[1]":
        raise WrongResult(f"printed {line.strip()} instead of [1]")
    return first, gone


if __name__ == "__main__":
    main(QUESTION, measure)
