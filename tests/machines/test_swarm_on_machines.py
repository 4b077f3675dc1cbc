# SPDX-License-Identifier: BSD-3-Clause
"""`optimize(machines=…)`: particles on other machines, and workers that were started with `optworker()`."""

import pytest

from hosts import Host, Lab, Program

pytestmark = pytest.mark.slow

MANAGER = """
import json, os, covey
def fun(x, y):
    return (x - 1) ** 2 + y * y
if __name__ == "__main__":
    box = {"x": [-5, 5], "y": [-5, 5]}
    options = {"seed": 3, "group_size": 30, "iterations": 15, "mode": MODE}
    far = covey.minimize(fun, box, MACHINES, max_cpu=0, inline=False, **options)
    near = covey.minimize(fun, box, inline=True, **options)
    print(json.dumps([far["fitness"].tolist() == near["fitness"].tolist(), far.workers_used]))
"""


@pytest.mark.parametrize("mode", ["rounds", "islands"])
def test_named_pipes(lab: Lab, mode: str) -> None:
    worker(lab.beta, 'named_pipe="lab"')
    manager = MANAGER.replace("MACHINES", 'machines=["localhost"], named_pipe="lab"').replace("MODE", repr(mode))
    assert lab.beta.script(manager).result() == [True, 1]


def test_a_worker_that_is_killed_costs_time_only(lab: Lab) -> None:
    first, _ = worker(lab.beta), worker(lab.gamma)
    manager = MANAGER.replace("MACHINES", f"machines=[{lab.beta.ip!r}, {lab.gamma.ip!r}]").replace("MODE", "'rounds'")
    slow = manager.replace("    return (x", "    __import__('time').sleep(0.02)\n    print('at it')\n    return (x")
    program = lab.alpha.script(slow)
    program.wait_printed("at it")
    first.kill()
    assert program.result()[0] is True


def test_the_users_own_modules_travel_with_the_fitness(lab: Lab) -> None:
    (lab.alpha.folder / "cells.py").write_text(
        "from settings_of_cells import REST\n"
        "class Cell:\n"
        "    def __call__(self, x, y):\n"
        "        return (x - REST) ** 2 + y * y\n"
        "def limit(x, y):\n"
        "    return x - 4\n"
    )
    (lab.alpha.folder / "settings_of_cells.py").write_text("REST = 3.0\n")
    worker(lab.beta)
    program = lab.alpha.script(f"""
        import json, covey, cells
        found = covey.minimize(cells.Cell, {{"x": [-5, 5], "y": [-5, 5]}}, constraints=cells.limit, seed=1, max_cpu=0,
                               machines=[{lab.beta.ip!r}], iterations=30)
        print(json.dumps([abs(found.best["x"] - 3) < 0.1, found.workers_used]))
    """)
    assert program.result() == [True, 1]


def worker(host: Host, words: str = "") -> Program:
    program = host.script(f"import covey\ncovey.optworker(max_cpu=1, name={host.name!r}, {words})\n")
    program.wait_said("slots?, at")
    return program
