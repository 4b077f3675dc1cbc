# SPDX-License-Identifier: BSD-3-Clause
"""What tasks on other machines print and log: it reaches the caller, says whose it is, and is never too much."""

import os
import re

import pytest

from hosts import Lab

pytestmark = pytest.mark.slow

MANAGER = """
import json, logging, covey
logging.basicConfig()
logging.root.handlers[0].setFormatter(logging.Formatter(
    "%(covey_host)s|%(covey_slot)s|%(covey_attempt)s|%(covey_task)s|%(message)s",
    defaults=dict.fromkeys(("covey_host", "covey_slot", "covey_attempt", "covey_task"), "-"),
))
def speak(x):
    import logging, time
    node = covey.current().node
    print("number", end=" ", flush=node is not None)
    time.sleep(0.02)        # work
    print(x, "of", node)
    logging.getLogger("lab").warning("logged %d of %s", x, node)
    return node
if __name__ == "__main__":
    logging.warning("my own")
    dfun = covey.distribute(speak, machines={machines}, max_cpu=1)
    nodes = dfun(range(60))
    covey.finished(dfun)
    print(json.dumps(nodes))
"""

CHATTER = """
import covey
def chatter(x):
    import sys
    for stream in (sys.stdout, sys.stderr):
        for number in range(100_000):
            stream.write("%099d\\n" % number)
if __name__ == "__main__":
    with covey.Client(machines=["ipc://" + {pipe!r}], max_cpu=0) as client:
        client.submit(chatter, 1).result()
"""

HOST = re.escape(os.uname().nodename)
LIMIT = 64 * 1024


def test_lines_and_records_say_whose_they_are_but_on_the_callers_own_machine(lab: Lab) -> None:
    lab.beta.worker()
    lab.gamma.worker()
    manager = lab.alpha.script(MANAGER.format(machines=[lab.beta.ip, lab.gamma.ip]))
    nodes = manager.result()
    assert set(nodes) == {None, "beta", "gamma"}
    printed = manager.printed.splitlines()[:-1]
    logged = [line for line in manager.said.splitlines() if "logged " in line]
    assert len(printed) == len(logged) == 60
    for number, node in enumerate(nodes):
        prefix = rf"\[{HOST}: speak#\d+\] " if node else ""
        assert any(re.fullmatch(rf"{prefix}number {number} of {node}", line) for line in printed), printed
        words = rf"{HOST}\|1\|\d+\|speak#\d+\|{prefix}logged {number} of {node}"
        assert any(re.fullmatch(words, line) for line in logged), logged
    assert "-|-|-|-|my own" in manager.said


def test_of_ten_megabytes_two_limits_are_shown(lab: Lab) -> None:
    lab.beta.worker("max_cpu=1, named_pipe='lab'")
    manager = lab.beta.script(CHATTER.format(pipe=str(lab.beta.folder / "run/covey/lab.pipe")))
    assert manager.wait_end() == 0, manager.said
    for text in (manager.printed, manager.said):
        lines = text.splitlines()
        assert all(re.match(rf"\[{HOST}: chatter#\d+\] ", line) for line in lines), lines[:3]
        assert LIMIT < len(text) < 2.5 * LIMIT
        assert lines[0].endswith("0" * 99)
        assert lines[-1].endswith("0" * 94 + "99999")
        assert sum("bytes left out here]" in line for line in lines) == 1
