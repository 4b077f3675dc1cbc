# SPDX-License-Identifier: BSD-3-Clause
"""A call for every slot, `dfun(None)`, where the slots are on several machines."""

import os
from collections import Counter

import pytest

from hosts import Lab
from waiting import wait_until

pytestmark = pytest.mark.slow

EVERY_SLOT = """
import json, os, covey
def where(_):
    return covey.current().node or "manager", covey.current().slot
if __name__ == "__main__":
    dfun = covey.distribute(where, machines={machines}, max_cpu={max_cpu})
    found = [dfun(None) for _ in range({times})]
    covey.finished(dfun)
    print(json.dumps(found))
"""

# One slot is kept by another caller, so this one waits in the other slot until it is killed.
HALF_THERE = """
import signal, threading, covey
from covey.testing import wait_until
if __name__ == "__main__":
    with covey.Client(machines={machines}, max_cpu=0) as client:
        client.wait_machines()
        dfun = covey.distribute(lambda _: None, executor=client)
        threading.Thread(target=dfun, args=(None,), daemon=True).start()
        wait_until(lambda: client.statistics().running, client.statistics)
        print("half there", flush=True)
        signal.pause()
"""


def test_each_slot_of_each_machine_is_called_once(lab: Lab) -> None:
    machines = [lab.beta.ip, lab.gamma.ip]
    lab.beta.worker("max_cpu=2")
    lab.gamma.worker("max_cpu=1")
    calls = lab.alpha.script(EVERY_SLOT.format(machines=machines, max_cpu=2, times=5)).result()
    everywhere = {("manager", 1), ("manager", 2), ("beta", 1), ("beta", 2), ("gamma", 1)}
    assert [Counter(map(tuple, called)) for called in calls] == [Counter(everywhere)] * 5


def test_two_callers_who_share_the_slots_do_not_wait_for_each_other(lab: Lab) -> None:
    lab.beta.worker("max_cpu=2")
    # Whoever asks before finds as many slots as there are by then.
    with lab.alpha.client(machines=[lab.beta.ip], max_cpu=0) as client:
        wait_until(lambda: client.slots == 2, lambda: client.slots)
    callers = [
        host.script(EVERY_SLOT.format(machines=[lab.beta.ip], max_cpu=0, times=8)) for host in (lab.alpha, lab.gamma)
    ]
    for caller in callers:
        assert [sorted(map(tuple, called)) for called in caller.result()] == [[("beta", 1), ("beta", 2)]] * 8


def test_slots_are_free_again_when_the_caller_is_killed(lab: Lab) -> None:
    lab.beta.worker("max_cpu=2")
    with lab.gamma.client(machines=[lab.beta.ip], max_cpu=0) as other:
        assert not other.wait_machines()
        pipe = lab.beta.folder / "go"
        os.mkfifo(pipe)

        def hold(path: str) -> None:
            open(path).close()

        held = other.submit(hold, str(pipe))
        wait_until(held.running, lambda: str(other.statistics()))
        caller = lab.alpha.script(HALF_THERE.format(machines=[lab.beta.ip]))
        caller.wait_printed("half there")
        caller.kill()
        assert other.submit(abs, -1).result(20) == 1
        pipe.write_bytes(b"")
        held.result(20)
