# SPDX-License-Identifier: BSD-3-Clause
"""P14, P15: a client that is killed in the middle of a map; another program has the results that it did not see."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import covey
from nightlab import NightLab
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

PROGRAM = """
import sys, time
import covey
def work(number):
    time.sleep(0.01)    # work
    return number * 10
with covey.Client(FILE) as client:
    job = client.options(detached=True)
    results = job.map(work, range(200))
    job.flush()
    print(job.job_id, flush=True)
    for result in results:
        print(result, flush=True)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[NightLab]:
    made = NightLab(tmp_path)
    yield made
    made.close()


def test_the_rest_of_a_map_in_a_new_program(lab: NightLab) -> None:
    lab.open(2)
    program = lab.program(PROGRAM)
    assert program.stdout is not None
    job_id = program.stdout.readline().strip()
    seen = [int(program.stdout.readline()) for _ in range(20)]
    program.kill()
    seen += [int(line) for line in program.stdout.read().split()]
    program.wait()
    assert seen == [number * 10 for number in range(len(seen))]
    rest = list(covey.resume(job_id, lab.file))
    # What was seen last was not acknowledged by asking for the next, and receipts travel in batches.
    assert rest == [number * 10 for number in range(200 - len(rest), 200)]
    assert 200 - len(seen) <= len(rest) <= 200
    assert lab.jobs() == []


def test_resumed_in_a_program_that_is_killed_as_well(lab: NightLab) -> None:
    lab.open(2)
    program = lab.program(PROGRAM)
    assert program.stdout is not None
    job_id = program.stdout.readline().strip()
    program.kill()
    program.wait()
    wait_until(lambda: all(job["unfinished"] == 0 for job in lab.jobs()), lab.jobs)
    left = lab.jobs()[0]["unfetched"]
    second = lab.program(
        f"import covey, threading\nfor result in covey.resume({job_id!r}, FILE):\n    print(result, flush=True)\n"
        "    if result >= 1500: threading.Event().wait()\n")
    assert second.stdout is not None
    seen = [int(second.stdout.readline()) for _ in range(left - 50 + 1)]
    second.kill()
    second.wait()
    assert seen[-1] == 1500
    rest = list(covey.resume(job_id, lab.file))
    # Nothing is lost, nothing behind what was handed out is delivered a second time.
    assert rest == [number * 10 for number in range(200 - len(rest), 200)]
    assert rest[0] <= 1500


def test_without_a_journal_a_client_that_dies_takes_its_calls_along(lab: NightLab) -> None:
    lab.open(1)
    program = lab.program(
        "import sys, threading, covey\n"
        "client = covey.Client(FILE)\n"
        "futures = [client.submit(lambda: threading.Event().wait(0.2)) for _ in range(50)]\n"
        "client.flush(); print('sent', flush=True)\n"
        "threading.Event().wait()\n")
    assert program.stdout is not None
    assert program.stdout.readline() == "sent\n"
    program.kill()
    program.wait()

    def over() -> bool:
        tasks = lab.status()["tasks"]
        return tasks["waiting"] == tasks["running"] == 0

    wait_until(over, lambda: lab.status()["tasks"])
