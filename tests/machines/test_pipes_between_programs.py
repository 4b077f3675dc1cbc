# SPDX-License-Identifier: BSD-3-Clause
"""Named pipes: a worker and its callers on one machine, without a port."""

import pytest

from hosts import Lab, Program

pytestmark = pytest.mark.slow

MANAGER = """
import json, covey
if __name__ == "__main__":
    dfun = covey.distribute(lambda x: [x, covey.current().node], machines=["localhost"], named_pipe={name!r}, max_cpu=0)
    found = dfun([1, 2, 3])
    covey.shutdown(dfun)
    print(json.dumps(found))
"""


@pytest.mark.parametrize("name", [True, "lab"])
def test_a_worker_is_found_by_its_name_and_ended(lab: Lab, name: bool | str) -> None:
    worker = lab.beta.worker(f"max_cpu=1, named_pipe={name!r}")
    assert lab.beta.script(MANAGER.format(name=name)).result() == [[1, "beta"], [2, "beta"], [3, "beta"]]
    assert worker.wait_end() == 0


def test_a_second_worker_of_a_name_is_told_who_has_it(lab: Lab) -> None:
    first = worker(lab)
    second = lab.beta.worker("max_cpu=1, named_pipe='lab'", ready=False)
    assert second.wait_end() == 1
    assert f"served by process {first.pid}" in second.said
    first.kill()
    # What it left behind is nobody's.
    worker(lab)


def test_a_name_that_is_empty_opens_no_port(lab: Lab) -> None:
    script = lab.beta.worker("max_cpu=1, named_pipe=''", ready=False)
    command = lab.beta.covey("node", "--named-pipe", "", "--max-cpu", "1")
    for program in (script, command):
        assert program.wait_end() == 1
        assert "named_pipe='': True, or a name" in program.said


def test_other_users_of_the_machine_cannot_enter(lab: Lab) -> None:
    worker(lab)
    folder = lab.beta.folder / "run/covey"
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o755)
    second = lab.beta.worker("max_cpu=1, named_pipe='other'", ready=False)
    assert second.wait_end() == 1
    assert "chmod 700" in second.said


def worker(lab: Lab) -> Program:
    return lab.beta.worker("max_cpu=1, named_pipe='lab'")
