# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C at any moment: everything stops within a second, and nothing is left."""

import os
import textwrap

import pytest

from scripts import Running
from waiting import wait_until

HEAD = """
import covey

def spin(x):
    print("spinning", flush=True)
    while True:
        pass

"""

MOMENTS = {
    "in result()": """
        client = covey.Client(max_cpu=2)
        print(client.folder)
        client.submit(spin, 0).result()
    """,
    "in a with block": """
        with covey.Client(max_cpu=2) as client:
            print(client.folder)
            futures = [client.submit(spin, i) for i in range(10)]
            futures[0].result()
    """,
    "at the end of a with block": """
        with covey.Client(max_cpu=2) as client:
            print(client.folder)
            futures = [client.submit(spin, i) for i in range(10)]
    """,
    "in map": """
        client = covey.Client(max_cpu=2)
        print(client.folder)
        list(client.map(spin, range(1000)))
    """,
    "in map over bundles": """
        client = covey.Client(max_cpu=2)
        print(client.folder)
        list(client.map(spin, iter(range(1000)), chunksize=10))
    """,
    "in unordered map": """
        client = covey.Client(max_cpu=2)
        print(client.folder)
        list(client.imap_unordered(spin, range(1000)))
    """,
    "in distribute": """
        dspin = covey.distribute(spin, max_cpu=2)
        print(dspin._flock().folder)
        dspin(range(100))
    """,
    "in distribute over every slot": """
        dspin = covey.distribute(spin, max_cpu=2)
        print(dspin._flock().folder)
        dspin(None)
    """,
    "in the program's own code": """
        client = covey.Client(max_cpu=2)
        print(client.folder)
        future = client.submit(spin, 0)
        while True:
            pass
    """,
    "in shutdown": """
        client = covey.Client(max_cpu=2)
        print(client.folder)
        future = client.submit(spin, 0)
        client.shutdown()
    """,
    "at exit": """
        client = covey.Client(max_cpu=2)
        print(client.folder)
        future = client.submit(spin, 0)
    """,
    "in wait": """
        from concurrent.futures import wait
        client = covey.Client(max_cpu=2)
        print(client.folder)
        wait([client.submit(spin, i) for i in range(10)])
    """,
    "in asyncio": """
        import asyncio
        client = covey.Client(max_cpu=2)
        print(client.folder)
        async def main():
            await asyncio.wrap_future(client.submit(spin, 0))
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("spinning", [True, False], ids=["while it runs", "while slots start"])
def test_ctrl_c(tmp_path, moment, spinning):
    with Running(tmp_path, HEAD + textwrap.dedent(MOMENTS[moment])) as program:
        folder = program.wait_line()
        if spinning:
            assert program.wait_line() == "spinning"
        slots = _processes_of(folder)
        seconds, errors = program.interrupt()
    assert "KeyboardInterrupt" in errors
    # at its exit a program has already succeeded; the interpreter itself says 0 then
    assert program.process.returncode != 0 or moment == "at exit"
    # a second is the promise on a machine that does nothing else; this one may be busy
    assert seconds < 3.0
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in slots))
    assert not _processes_of(folder)
    assert not os.path.exists(folder)


def _processes_of(folder):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if folder.encode() in file.read():
                        found.append(int(name))
            except OSError:
                continue
    return found
