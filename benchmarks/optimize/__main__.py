# SPDX-License-Identifier: BSD-3-Clause
"""`python -m benchmarks.optimize bbob | cost | real`: which question, with which contestants."""

import argparse
import os
import sys
from pathlib import Path

from benchmarks.optimize import bbob
from benchmarks.optimize.contestants import PEERS


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimize", description=__doc__)
    questions = parser.add_subparsers(dest="question", required=True)
    ecdf = questions.add_parser("bbob", help="area under the ECDF on the 24 noiseless functions")
    ecdf.add_argument("--dims", type=numbers, default=[5, 10, 20])
    ecdf.add_argument("--budget", type=int, default=2000, help="evaluations for each dimension")
    ecdf.add_argument("--instances", type=numbers, default=[3, 4])
    ecdf.add_argument("--covey", default="pso,cma,de,ga,auto", help="covey's; the first is compared with all")
    ecdf.add_argument("--peers", default=",".join(PEERS), help="'' for none")
    ecdf.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    ecdf.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    names = [f"covey {x}" for x in chosen.covey.split(",") if x] + [x for x in chosen.peers.split(",") if x]
    print(bbob.run(names, chosen.dims, chosen.budget, chosen.instances, chosen.jobs, chosen.json))
    return 0


sys.exit(main())
