# SPDX-License-Identifier: BSD-3-Clause
"""A tree of loops over 10,000 and over 1,000,000 slots: what does a task cost at each of its levels?

Broker over brokers over nodes over slots, one table at each level, with the doers it would have: the topmost one
has brokers, each of which runs as many tasks at once as there are slots below it. One branch of each level is built;
its siblings are plain doers of the right capacity: a table cannot tell the difference, and what a task costs there is
what it would cost in the whole tree. No socket and no Python per task: `Board.spin` plays the doers in C, all of them
busy, with as many tasks under way as there are slots below.
"""

import statistics
import time

from benchmarks.answer import main
from benchmarks.peers import Peer
from benchmarks.question import Check, Question, Values

__all__ = ["QUESTION", "measure"]

# How many are below each of a level, the topmost first; the last ones are slots.
TREES = {10_000: (10, 10, 100), 1_000_000: (100, 100, 100)}
LEVELS = ("broker", "brokers", "nodes")
QUEUED = 100_000
# Long enough that a loop gets little ahead of what it runs: the tasks under way are then the slots.
RUN_US = 50_000

QUESTION = Question(
    name="tree",
    asks="cost of a task at each level of a tree of loops",
    checks=(
        *(
            Check(f"a task at the {level}, 1,000,000 slots over 10,000", f"growth_{level}", "×", more=False, bound=1.2)
            for level in LEVELS
        ),
        Check("a task at all levels, 1,000,000 slots", "whole_ns", "ns", more=False, bound=None),
    ),
)


def decision_ns(fan_out: tuple[int, ...], level: int, decisions: int) -> float:
    """Nanoseconds a task at one level of the branch."""
    # Here and not above: the table of questions is read where covey need not be built.
    from covey.settings import Settings
    from covey.testing.tree import Tree

    # A table of its own: what a measurement leaves behind is no part of the next.
    tree = Tree(fan_out, whole=False, settings=Settings(lease=float("inf")))
    tree.tell_capacities()
    loop = tree.loops[level]
    slots = loop.board.capacity(0)
    loop.board.feed(loop.asker, slots + QUEUED, 0.0)
    now = loop.board.spin(2 * slots + 10_000, 0.0, asker=loop.asker, run_us=RUN_US)
    before = loop.board.totals().accepted
    start = time.perf_counter()
    loop.board.spin(decisions, now, asker=loop.asker, run_us=RUN_US)
    seconds = time.perf_counter() - start
    assert loop.board.totals().accepted - before >= decisions
    return seconds / decisions * 1e9


def measure(peer: Peer, quick: bool) -> Values:
    decisions = 100_000 if quick else 400_000
    small, large = TREES.values()
    columns: dict[str, list[tuple[float, float]]] = {level: [] for level in LEVELS}
    for _ in range(3 if quick else 7):
        for number, level in enumerate(LEVELS):
            columns[level].append((decision_ns(small, number, decisions), decision_ns(large, number, decisions)))
    values: dict[str, float] = {"whole_ns": 0.0}
    for level, pairs in columns.items():
        before, after = (statistics.median(column) for column in zip(*pairs, strict=True))
        values |= {f"growth_{level}": after / before, f"small_ns_{level}": before, f"large_ns_{level}": after}
        values["whole_ns"] += after
    return values


if __name__ == "__main__":
    main(QUESTION, measure)
