# SPDX-License-Identifier: BSD-3-Clause
"""`python -m benchmarks`: puts every question to covey and to its peers, and prints one table.

Why so: each measurement is a fresh process with a time limit; covey and the peers take turns (A B C, B C A, …), several
rounds, so that a drift of the machine meets all of them; whatever a measurement leaves behind is ended before the next.
May not know: how a question is measured.
Guarantees: a figure in the table is the median of its rounds; what failed, and who is not installed, is said.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.bench_roundtrip import percentiles
from benchmarks.peers import PEERS
from benchmarks.process import Measurement, adopt_orphans, clear
from benchmarks.question import BEST, SLOTS, Question, Values
from benchmarks.table import HEAD, Row, best_peer, layout, rows, samples

__all__ = ["main"]

# In the order of the table.
QUESTIONS = (
    "submit", "arguments", "window", "map", "roundtrip", "uneven", "import", "queue", "memory", "scheduler", "tree",
    "machines", "spin", "closure",
)  # fmt: skip

ROUNDS = 5
# After so many rounds a peer that no check names goes on only if it may still turn out to be the best.
ROUNDS_FOR_ALL = 2
MAY_STILL_WIN = 1.5
BLOCKS, BLOCK_SIZE = 10, 250
QUICK_BLOCKS = 4


@dataclass(slots=True)
class Session:
    """What one run of the benchmark has found so far."""

    quick: bool
    rounds: int
    only_peers: frozenset[str] | None
    log: IO[bytes]
    answers: dict[str, dict[str, list[Values]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def contenders(self, question: Question) -> list[str]:
        peers: Iterable[str] = question.peers
        if self.only_peers is not None:
            peers = [name for name in peers if name in self.only_peers]
        elif self.quick:
            peers = [name for name in peers if name in question.named or name in question.quick]
        return ["covey", *(name for name in peers if name not in self.missing)]

    def ask(self, question: Question) -> None:
        answers = self.answers.setdefault(question.name, {})
        racing = self.contenders(question)
        for turn in range(self.rounds):
            if turn == ROUNDS_FOR_ALL:
                racing = [name for name in racing if _still_racing(question, answers, name)]
            order = racing[turn % len(racing) :] + racing[: turn % len(racing)]
            say(f"{question.name}, round {turn + 1} of {self.rounds}: {', '.join(order)}")
            lost = self._together(question, order) if question.together else self._one_by_one(question, order)
            racing = [name for name in racing if name not in lost]

    def _one_by_one(self, question: Question, order: list[str]) -> set[str]:
        """Who need not be asked again."""
        lost = set()
        for name in order:
            flags = ["--quick"] if self.quick else []
            measurement = Measurement(question.name, name, flags, self.log)
            answer = measurement.answer(question.limit)
            wrong = measurement.end(question.limit if "values" in answer else 1.0)
            if self._note(question, name, answer, wrong):
                self.answers[question.name].setdefault(name, []).append(answer["values"])
            else:
                lost.add(name)
        return lost

    def _together(self, question: Question, order: list[str]) -> set[str]:
        flags = ["--quick", "--blocks"] if self.quick else ["--blocks"]
        lost: set[str] = set()
        up: dict[str, Measurement] = {}
        taken: dict[str, list[float]] = {}
        for name in order:
            measurement = Measurement(question.name, name, flags, self.log)
            answer = measurement.answer(question.limit)
            if answer.get("ready"):
                up[name] = measurement
                taken[name] = []
            else:
                self._note(question, name, answer, measurement.end(1.0), cleared=False)
                lost.add(name)
        # the first turn warms up
        for block in range(1 + (QUICK_BLOCKS if self.quick else BLOCKS)):
            for name in [name for name in order if name in up]:
                up[name].ask(str(BLOCK_SIZE))
                answer = up[name].answer(question.limit)
                if isinstance(answer, list):
                    taken[name].extend(answer if block else [])
                else:
                    self._note(question, name, answer, up.pop(name).end(1.0), cleared=False)
                    lost.add(name)
        for name, measurement in up.items():
            self.answers[question.name].setdefault(name, []).append(percentiles(taken[name]))
            if wrong := measurement.end(10.0):
                self.failures.append(f"{question.name}, {name}: {wrong}")
        clear()
        return lost

    def _note(
        self, question: Question, name: str, answer: dict[str, Any], wrong: str | None, cleared: bool = True
    ) -> bool:
        """True if there is a figure."""
        left = clear() if cleared else 0
        if "missing" in answer:
            self.missing[name] = answer["missing"]
            return False
        if "failed" in answer:
            self.failures.append(f"{question.name}, {name}: {answer['failed']}")
            return False
        if wrong:
            self.failures.append(f"{question.name}, {name}: measured, but {wrong}")
        elif left:
            self.failures.append(f"{question.name}, {name}: measured, but left {left} processes behind")
        return True


def _still_racing(question: Question, answers: dict[str, list[Values]], name: str) -> bool:
    if name == "covey" or name in question.named:
        return True
    for check in question.checks:
        best = best_peer(check, question, answers) if check.against == (BEST,) else None
        if best is None or name in check.besides:
            continue
        mine, top = samples(answers, name, check.metric), samples(answers, best, check.metric)
        if mine and (max(mine) * MAY_STILL_WIN >= min(top) if check.more else min(mine) <= max(top) * MAY_STILL_WIN):
            return True
    return False


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """What a reader must know to believe a figure."""
    cpuinfo = Path("/proc/cpuinfo")
    model = platform.processor() or platform.machine()
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "slots": SLOTS,
        "versions": {name: found for name in ("covey", *_DISTRIBUTIONS) if (found := _version(name))},
    }


_DISTRIBUTIONS = ("pyzmq", "loky", "joblib", "mpire", "pathos", "distributed", "ray", "ipyparallel", "mpi4py", "numpy")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="covey and its peers, side by side")
    parser.add_argument("--quick", action="store_true", help="one rough round, only the peers that targets name")
    parser.add_argument("--only", action="append", metavar="QUESTION", choices=QUESTIONS, help=", ".join(QUESTIONS))
    parser.add_argument("--peers", help="only these, with commas between: " + ", ".join(PEERS))
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, 1 with --quick")
    parser.add_argument("--json", metavar="FILE", help="everything that was measured")
    options = parser.parse_args()
    if options.peers and (unknown := set(options.peers.split(",")) - PEERS.keys()):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    here = machine()
    print(f"{here['cpu']}, {here['cpus']} CPUs, {here['system']}, Python {here['python']}, {SLOTS} slots for everybody")
    print(", ".join(f"{name} {version}" for name, version in here["versions"].items()), flush=True)
    if here["load"] > 0.3:
        print(f"NOTE: load average {here['load']:.2f} before the start: something else runs here", flush=True)
    adopt_orphans()
    table: list[Row] = []
    with tempfile.TemporaryFile("a+b") as log:
        session = Session(
            quick=options.quick,
            rounds=max(1, options.rounds or (1 if options.quick else ROUNDS)),
            only_peers=frozenset(options.peers.split(",")) if options.peers else None,
            log=log,
        )
        try:
            for name in options.only or QUESTIONS:
                try:
                    question: Question = importlib.import_module(f"benchmarks.bench_{name}").QUESTION
                except (ImportError, AttributeError) as error:
                    session.failures.append(f"{name}: {error}")
                    continue
                session.ask(question)
                table.extend(rows(question, session.answers[name]))
        except KeyboardInterrupt:
            say("interrupted: what was measured so far follows")
        finally:
            clear()
    for name, why in session.missing.items():
        table.append(Row(f"peer {name}", "-", why, "-", "-", "not installed"))
    print()
    print(layout(HEAD, [tuple(asdict(row).values()) for row in table]))
    for failure in session.failures:
        print(f"! {failure}")
    if options.json:
        report = {
            "machine": here,
            "quick": options.quick,
            "answers": session.answers,
            "rows": [asdict(row) for row in table],
            "missing": session.missing,
            "failures": session.failures,
        }
        Path(options.json).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
