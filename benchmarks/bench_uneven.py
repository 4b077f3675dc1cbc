# SPDX-License-Identifier: BSD-3-Clause
"""200 tasks of 1 to 100 ms, few of them long: how much longer than ideal does it take until all are done?

Ideal is the sum of the nominal durations over the number of slots. The durations come from a bounded Pareto
distribution (exponent 0.5); of its draws the first is taken that a perfect dispatcher without overhead and
without foresight would finish within 0.2 % of ideal, so that the question is what the dispatcher adds, not
whether the last task happens to be long. All peers get the same list. Twice: sleeping (what `time.sleep`
oversleeps counts against everybody, about 0.6 %), and busy with so much processor time, where what client and
broker burn counts, too.
"""

import functools
import heapq
import random
import time

from benchmarks.answer import WrongResult, main, running
from benchmarks.peers import Peer
from benchmarks.question import SLOTS, Check, Question, Values
from benchmarks.tasks import sleep_for, spin_for

__all__ = ["QUESTION", "durations", "measure"]

TASKS = 200
SHORTEST, LONGEST, EXPONENT = 0.001, 0.1, 0.5

QUESTION = Question(
    name="uneven",
    asks="uneven tasks (200, heavy-tailed 1-100 ms), makespan over ideal",
    checks=(
        Check("uneven, sleeping, submit", "submit_sleep", "× ideal", more=False, bound=1.03),
        Check("uneven, sleeping, map", "map_sleep", "× ideal", more=False, bound=1.03),
        Check("uneven, busy, submit", "submit_busy", "× ideal", more=False, bound=1.03),
        Check("uneven, busy, map", "map_busy", "× ideal", more=False, bound=1.03),
    ),
    peers=("pool", "executor", "loky", "joblib", "mpire", "pathos", "dask", "ray", "mpi4py"),
)


def makespan(durations: list[float]) -> float:
    """In the given order, each task to whichever slot is free first, at no cost."""
    slots = [0.0] * SLOTS
    for seconds in durations:
        heapq.heappush(slots, heapq.heappop(slots) + seconds)
    return max(slots)


@functools.cache
def durations(seed: int = 0) -> list[float]:
    generator = random.Random(seed)
    shrink = 1 - (SHORTEST / LONGEST) ** EXPONENT
    while True:
        drawn = [SHORTEST * (1 - generator.random() * shrink) ** (-1 / EXPONENT) for _ in range(TASKS)]
        if makespan(drawn) <= 1.002 * sum(drawn) / SLOTS:
            return drawn


def measure(peer: Peer, quick: bool) -> Values:
    del quick
    values: dict[str, float] = {}
    ideal = sum(durations()) / SLOTS
    for way in ("submit", "map") if peer.futures else ("map",):
        # its own processes for each way: some libraries cannot do both with one pool
        fresh = type(peer)()
        with running(fresh, way):
            for kind, work in (("sleep", sleep_for), ("busy", spin_for)):
                start = time.perf_counter()
                if way == "map":
                    worked = fresh.map(work, durations())
                else:
                    worked = fresh.collect(fresh.submit_all(work, durations()))
                seconds = time.perf_counter() - start
                if len(worked) != TASKS or any(w < d for w, d in zip(worked, durations(), strict=True)):
                    raise WrongResult("not every task did all its work")
                if seconds < ideal:
                    raise WrongResult(f"done in {seconds:.3f} s, but it is {ideal:.3f} s of work for each slot")
                values[f"{way}_{kind}"] = seconds / ideal
                # how much of it is the machine's own slowness
                values[f"{way}_{kind}_worked"] = sum(worked) / SLOTS / ideal
    return values


if __name__ == "__main__":
    main(QUESTION, measure)
