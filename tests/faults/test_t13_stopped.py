# SPDX-License-Identifier: BSD-3-Clause
"""T13: SIGSTOP to a slot, a node, a broker, a client. What stands still costs time and nothing else.

The short form has a short lease; the long one is that of the figure, thirty seconds under the settings that everybody
has.
"""
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import covey
from covey.terminal.inquiry import Inquiry, Target
from covey.testing import Flock
from figures import Figures
from tally import Tally, square_after
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

LENGTHS = [3.0, pytest.param(30.0, marks=pytest.mark.soak)]


@pytest.fixture
def flock(request: pytest.FixtureRequest) -> Iterator[Flock]:
    short = request.node.get_closest_marker("soak") is None
    settings = {"lease": 1.5, "beat_every": 0.2} if short else {}
    with Flock(nodes=2, slots=1, seed=1, **settings) as found:
        yield found


def stand_still(seconds: float) -> None:
    """So long lasts the fault."""
    threading.Event().wait(seconds)


def test_t13_a_stopped_slot_is_the_business_of_its_timeout(flock: Flock, figures: Figures) -> None:
    client = flock.client()

    def report_and_wait() -> None:
        import os
        import threading
        from pathlib import Path

        Path(os.environ["TMPDIR"], "begun").write_text(str(os.getpid()))
        threading.Event().wait()        # work

    note = Path(flock.folder, "begun")
    future = client.options(timeout=1.0).submit(report_and_wait)
    wait_until(lambda: note.exists() and note.read_text(), flock.picture)
    pid = int(note.read_text())
    with flock.frozen(pid):
        tally = Tally(client.submit, square_after(0.01), 100)
        with pytest.raises(covey.TaskTimeout):
            future.result(10)
        tally.check(state=flock.picture)
        wait_until(lambda: pid not in flock.slots() and len(flock.slots()) == 2, flock.picture)
    figures.say("T13 slot", "TaskTimeout; 100 of 100 others")


@pytest.mark.parametrize("seconds", LENGTHS)
def test_t13_a_stopped_node_is_given_up_and_comes_back(flock: Flock, seconds: float, figures: Figures) -> None:
    client = flock.client()
    tally = Tally(client.submit, square_after(0.02), int(100 * seconds))
    tally.wait_done(20)
    with flock.frozen(flock.nodes[0].pid):
        stand_still(seconds)
    tally.check(deadline=90, state=flock.picture)
    with Inquiry(Target.of_file(flock.connection)) as inquiry:
        assert inquiry.ask("status")["tasks"]["losses"] == 1
    # It serves again.
    wait_until(lambda: _parents(client) == {node.pid for node in flock.nodes}, flock.picture)
    figures.say("T13 node", f"stopped for {seconds:.0f} s: 0 lost, 0 doubled; it serves again")


@pytest.mark.parametrize("seconds", LENGTHS)
def test_t13_a_stopped_broker_blames_nobody(flock: Flock, seconds: float, figures: Figures) -> None:
    client = flock.client()
    tally = Tally(client.submit, square_after(0.02), 200)
    tally.wait_done(20)
    before = set(flock.slots())
    with flock.frozen(flock.broker.pid):
        stand_still(seconds)
    tally.check(state=flock.picture)
    assert set(flock.slots()) == before, "a slot was replaced, though the fault was the broker's"
    assert all(node.running for node in flock.nodes)
    figures.say("T13 broker", f"stopped for {seconds:.0f} s: 0 lost, 0 doubled, no slot replaced")


@pytest.mark.parametrize("seconds", LENGTHS)
def test_t13_a_stopped_client_harms_only_itself(flock: Flock, seconds: float, figures: Figures) -> None:
    program = f"""
        import sys
        sys.path[:] = {sys.path!r}
        import covey
        with covey.Client({flock.connection!r}) as client:
            futures = [client.submit(pow, number, 2) for number in range(2000)]
            print("asked", flush=True)
            print(sum(future.result(120) for future in futures), flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True,
    ) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "asked\n"
        with flock.frozen(caller.pid):
            Tally(flock.client().submit, square_after(0.001), 500).check(state=flock.picture)
            stand_still(seconds)
        assert caller.stdout.readline() == f"{sum(number**2 for number in range(2000))}\n"
    assert caller.returncode == 0
    figures.say("T13 client", f"stopped for {seconds:.0f} s: others were served, it got all of its results")


def _parents(client: covey.Client) -> set[int]:
    def where() -> int:
        import os
        import time

        # Long enough that one node does not take them all.
        time.sleep(0.005)       # work
        return os.getppid()

    return {future.result(30) for future in [client.submit(where) for _ in range(8)]}
