# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for Slurm on the hosts of a how-to page: `sbatch` starts the script, `srun` a command on each node.

Why: a batch system is on no machine that runs tests. What covey sees of Slurm are its variables and a shared home.

May not know: covey. Guarantees: `sbatch` returns at once and the job goes on; what `srun` starts sees the variables
of a job step.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import REMAINDER, ArgumentParser
from typing import Any


def main() -> int:
    word, *rest = sys.argv[1:]
    with open(os.environ["FAKE_HOSTS"], encoding="utf-8") as file:
        nodes = {name: host for name, host in json.load(file).items() if name.startswith("node")}
    return sbatch(rest[0], nodes) if word == "sbatch" else srun(rest, nodes)


def sbatch(path: str, nodes: dict[str, Any]) -> int:
    """The script on the first node, with its #SBATCH lines' wishes as variables."""
    with open(path, encoding="utf-8") as file:
        wishes = dict(re.findall(r"--([a-z-]+)=(\S+)", "".join(line for line in file if line.startswith("#SBATCH"))))
    job = {
        "SLURM_JOB_ID": "1", "SLURM_NNODES": wishes["nodes"], "SLURM_CPUS_PER_TASK": wishes["cpus-per-task"],
        "SLURM_JOB_CPUS_PER_NODE": f"{wishes['cpus-per-task']}(x{wishes['nodes']})",
    }
    name, first = next(iter(nodes.items()))
    with open("slurm-1.out", "wb") as out:
        subprocess.Popen(on_node(name, first, ["sh", path]), env={**os.environ, **job}, stdin=subprocess.DEVNULL,
                         stdout=out, stderr=out, start_new_session=True)
    print("Submitted batch job 1")
    return 0


def srun(words: list[str], nodes: dict[str, Any]) -> int:
    """The command once on each node."""
    step = {"SLURM_CPUS_ON_NODE": os.environ["SLURM_CPUS_PER_TASK"]}
    # It takes the count of CPUs from its own option only, as Slurm's own does since 22.05.
    reader = ArgumentParser()
    reader.add_argument("--cpus-per-task")
    reader.add_argument("command", nargs=REMAINDER)
    chosen = reader.parse_args(words)
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_CPUS_PER_TASK"} | step
    if chosen.cpus_per_task:
        environment["SLURM_CPUS_PER_TASK"] = chosen.cpus_per_task
    running = [
        subprocess.Popen(on_node(name, node, chosen.command), env={**environment, "SLURM_NODEID": str(number)})
        for number, (name, node) in enumerate(list(nodes.items())[: int(os.environ["SLURM_NNODES"])])
    ]
    return max(process.wait() for process in running)


def on_node(name: str, node: dict[str, Any], command: list[str]) -> list[str]:
    """The command in that host's network, under its name."""
    enter = ["ip", "netns", "exec", node["space"], "unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]
    return [*enter, *command]


if __name__ == "__main__":
    sys.exit(main())
