# SPDX-License-Identifier: BSD-3-Clause
"""The scheduler alone: how many decisions a second, and whether doers or queued tasks make one dearer.

No socket and no Python per task: `Board.spin` plays the doers in C. A decision here is all that a task costs the
scheduler: it is taken in, given to a doer, and its outcome is accepted, while as many others go on waiting.

    python -m benchmarks.bench_scheduler --table     the costs, one line for each number of doers and of queued tasks
"""

import statistics
import sys
import time
from collections.abc import Sequence

from benchmarks.answer import main
from benchmarks.peers import Peer
from benchmarks.question import Check, Question, Values

__all__ = ["QUESTION", "measure"]

DOERS = (2, 10, 100, 1_000, 10_000)
QUEUED = (1_000, 10_000, 100_000, 1_000_000)
USUAL_QUEUED = 100_000
# Milliseconds are the middle between tasks that are queued a hundred deep and tasks that go one by one.
RUN_US = 1_000

QUESTION = Question(
    name="scheduler",
    asks="decisions of the compiled scheduler alone",
    checks=(
        Check("scheduler alone", "rate", "decisions/s", more=True, bound=1_000_000),
        Check("cost of a decision, 10,000 doers over 2", "doers_growth", "×", more=False, bound=1.2),
        Check("cost of a decision, 1,000,000 queued over 1,000", "queued_growth", "×", more=False, bound=1.2),
    ),
)


def decision_ns(doers: int, queued: int, decisions: int) -> float:
    """Nanoseconds a task, with so many doers and so many others waiting."""
    # Here and not above: the table of questions is read where covey need not be built.
    from covey.broker.board import Board
    from covey.settings import Settings

    board = Board(Settings(credit_tasks=1 << 30))
    asker = board.asker_joined(0.0)
    for _ in range(doers):
        board.doer_joined(0.0)
    board.feed(asker, queued, 0.0)
    # Every doer has had its tasks and the function is measured before anything counts.
    now = board.spin(2 * doers + 10_000, 0.0, asker=asker, run_us=RUN_US)
    before = board.totals().accepted
    start = time.perf_counter()
    board.spin(decisions, now, asker=asker, run_us=RUN_US)
    seconds = time.perf_counter() - start
    assert board.totals().accepted - before >= decisions
    return seconds / decisions * 1e9


def costs(quick: bool) -> tuple[list[float], list[float]]:
    """The medians for each of DOERS and of QUEUED. All take turns, so that the machine's moods meet all of them."""
    decisions = 100_000 if quick else 400_000
    settings = [(doers, USUAL_QUEUED) for doers in DOERS] + [(DOERS[0], queued) for queued in QUEUED]
    rounds = [[decision_ns(*setting, decisions) for setting in settings] for _ in range(3 if quick else 9)]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    return medians[: len(DOERS)], medians[len(DOERS) :]


def measure(peer: Peer, quick: bool) -> Values:
    by_doers, by_queued = costs(quick)
    return {
        "rate": 1e9 / by_doers[0],
        "doers_growth": max(by_doers) / by_doers[0],
        "queued_growth": max(by_queued) / by_queued[0],
    }


def print_table() -> None:
    def lines(what: str, numbers: Sequence[int], medians: Sequence[float]) -> None:
        print(f"{what:>10}  ns a decision  million/s  over the first")
        for number, cost in zip(numbers, medians, strict=True):
            print(f"{number:>10,}  {cost:13.1f}  {1e3 / cost:9.2f}  {cost / medians[0]:14.2f}")

    by_doers, by_queued = costs(quick=False)
    lines("doers", DOERS, by_doers)
    print()
    lines("queued", QUEUED, by_queued)


if __name__ == "__main__":
    if "--table" in sys.argv:
        print_table()
    else:
        main(QUESTION, measure)
