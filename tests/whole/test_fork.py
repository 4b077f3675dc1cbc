# SPDX-License-Identifier: BSD-3-Clause
"""After os.fork the child's copy of a client is closed, and the parent's goes on."""

import os

import covey
from scripts import run

PROGRAM = """
import covey, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)

client = covey.Client(max_cpu=2)
dabs = covey.distribute(abs, max_cpu=2)
assert dabs([-1]) == [1]
assert client.submit(abs, -1).result() == 1

pid = os.fork()
if pid == 0:
    said = []
    for call in (lambda: client.submit(abs, 1), lambda: list(client.map(abs, [1])),
                 lambda: client.options(priority=1).submit(abs, 1)):
        try:
            call()
        except covey.ForkedClient as error:
            said.append(str(error))
    client.shutdown()
    client.kill()
    assert client.closed
    # the child may have a flock of its own
    assert dabs([-5]) == [5]
    with covey.Client(max_cpu=1) as own:
        assert own.submit(os.getppid).result() == os.getpid()
    print(len(said), set(said), flush=True)
    sys.exit(0)

assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert client.submit(abs, -2).result() == 2
assert list(client.map(abs, range(-100, 0))) == list(range(100, 0, -1))
assert dabs([-3]) == [3]
assert os.path.exists(client.folder)
print("parent", client.statistics().slots_up)
"""


def test_fork(tmp_path):
    lines = run(tmp_path, PROGRAM).splitlines()
    assert lines[0].startswith("3 {")
    assert "os.fork" in lines[0]
    assert lines[1] == "parent 2"


def test_a_child_that_exits_disturbs_nothing():
    with covey.Client(max_cpu=1) as client:
        assert client.submit(abs, -1).result() == 1
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert client.submit(abs, -2).result() == 2
        assert os.path.exists(client.folder)
