# SPDX-License-Identifier: BSD-3-Clause
"""`python -m benchmarks.optimize bbob | cost | real | calls | unequal`: which question, with which contestants."""

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks.optimize import bbob, calls, cost, real, unequal
from benchmarks.optimize.contestants import PEERS


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def words(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimize", description=__doc__)
    questions = parser.add_subparsers(dest="question", required=True)
    ecdf = questions.add_parser("bbob", help="area under the ECDF on the 24 noiseless functions")
    ecdf.add_argument("--dims", type=numbers, default=[5, 10, 20])
    ecdf.add_argument("--instances", type=numbers, default=[3, 4])
    ecdf.add_argument("--json", type=Path, help="keep every run")
    ecdf.add_argument("--known", type=Path, action="append", default=[], help="runs of an earlier --json, not repeated")
    models = questions.add_parser("real", help="how often real problems of many valleys are solved")
    models.add_argument("--seeds", type=int, default=15, help="how many")
    models.add_argument("--first-seed", type=int, default=100)
    stream = questions.add_parser("unequal", help="rounds and stream, where evaluations take unequal times; simulated")
    stream.add_argument("--algorithms", type=words, default=["pso", "cma", "auto"])
    stream.add_argument("--workers", type=numbers, default=[16, 64, 256])
    stream.add_argument("--instances", type=numbers, default=[3, 4])
    for question in (ecdf, models, stream):
        question.add_argument("--budget", type=int, default=2000, help="evaluations for each dimension")
        question.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    overhead = questions.add_parser("cost", help="CPU time for each evaluation, the function's own taken off")
    questions.add_parser("calls", help="what a call costs around its fitness, and what two slots gain")
    for question in (ecdf, models, overhead):
        question.add_argument("--covey", type=words, default=["pso", "cma", "de", "ga", "auto"],
                              help="covey's algorithms; the first is compared with all")
        question.add_argument("--peers", type=words, default=list(PEERS), help="'' for none")
    chosen = parser.parse_args()
    if chosen.question == "calls":
        print(calls.run())
        return 0
    if chosen.question == "unequal":
        print(unequal.run(chosen.algorithms, chosen.workers, chosen.instances, chosen.budget, chosen.jobs))
        return 0
    names = [f"covey {algorithm}" for algorithm in chosen.covey] + chosen.peers
    if chosen.question == "bbob":
        known = [run for path in chosen.known for run in json.loads(path.read_text())]
        print(bbob.run(names, chosen.dims, chosen.budget, chosen.instances, chosen.jobs, known, chosen.json))
    elif chosen.question == "real":
        seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
        print(real.run(names, chosen.budget, seeds, chosen.jobs))
    else:
        print(cost.run(chosen.covey, chosen.peers))
    return 0


sys.exit(main())
