# SPDX-License-Identifier: BSD-3-Clause
"""It works where users work: a script without a guard, -c, standard input, the prompt, a notebook, pytest."""

import os
import subprocess
import sys
import textwrap

import pytest

from scripts import DEADLINE, environment, run

PROGRAM = """
import covey

class Point:
    def __init__(self, x):
        self.x = x

def double(point):
    return Point(2 * point.x)

print([point.x for point in covey.distribute(double, max_cpu=2)([Point(1), Point(2)])])
"""


def test_a_script_without_a_guard(tmp_path):
    assert run(tmp_path, PROGRAM) == "[2, 4]\n"


def test_a_command_line(tmp_path):
    assert run(tmp_path, "", "-c", PROGRAM) == "[2, 4]\n"


def test_standard_input(tmp_path):
    assert run(tmp_path, "", "-", stdin=PROGRAM) == "[2, 4]\n"


def test_a_module(tmp_path):
    (tmp_path / "mine.py").write_text(PROGRAM)
    assert run(tmp_path, "", "-m", "mine") == "[2, 4]\n"


def test_the_prompt(tmp_path):
    lines = """
    import covey
    def double(x): return 2 * x

    d = covey.distribute(double, max_cpu=2)
    print(d([1, 2]))
    def double(x): return 3 * x

    print(covey.distribute(double, max_cpu=2)([1, 2]))
    """
    assert run(tmp_path, "", "-i", "-q", stdin=textwrap.dedent(lines)) == "[2, 4]\n[3, 6]\n"


def test_a_notebook(tmp_path):
    pytest.importorskip("IPython")
    source = f"""
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell.instance()
    shell.run_cell({PROGRAM!r})
    shell.run_cell("client = covey.Client(max_cpu=1); print(client.submit(double, Point(4)).result().x)")
    """
    assert run(tmp_path, source) == "[2, 4]\n8\n"


def test_under_pytest(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent(
            """
            import covey

            def double(x):
                return 2 * x

            def test_it():
                assert covey.distribute(double, max_cpu=2)([1, 2]) == [2, 4]
            """
        )
    )
    assert "1 passed" in run(tmp_path, "", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py")


def test_slots_see_the_callers_path_and_directory(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper.py").write_text("def triple(x):\n    return 3 * x\n")
    (tmp_path / "data.txt").write_text("5")
    source = """
    import sys
    sys.path.append("lib")
    import covey, helper

    def work(x):
        return helper.triple(int(open("data.txt").read()) + x)

    print(covey.distribute(work, max_cpu=2)([0, 1]), covey.distribute(helper.triple, max_cpu=2)([2]))
    """
    assert run(tmp_path, source) == "[15, 18] [6]\n"


def test_prints_and_logs_of_a_task_appear_at_the_caller(tmp_path):
    source = """
    import covey, logging, sys
    logging.basicConfig(level=logging.INFO, format="%(levelname)s:%(name)s:%(message)s", stream=sys.stdout)

    def work(x):
        print("printed", x)
        logging.getLogger("mine").info("logged %d", x)

    with covey.Client(max_cpu=1) as client:
        client.submit(work, 7).result()
    """
    lines = run(tmp_path, source).splitlines()
    assert "printed 7" in lines
    assert "INFO:mine:logged 7" in lines


def test_what_is_pending_at_exit_is_completed(tmp_path):
    source = """
    import covey

    def work(x):
        open(f"done{x}", "w").close()

    client = covey.Client(max_cpu=2)
    for x in range(20):
        client.submit(work, x)
    """
    run(tmp_path, source)
    assert len(list(tmp_path.glob("done*"))) == 20


def test_exit_leaves_nothing(tmp_path):
    source = """
    import covey
    client = covey.Client(max_cpu=2)
    dabs = covey.distribute(abs, max_cpu=1)
    print(dabs([-1]), client.submit(abs, -1).result(), client.folder)
    """
    folder = run(tmp_path, source).split()[-1]
    assert not os.path.exists(folder)


def test_an_unhandled_error_completes_what_is_pending(tmp_path):
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import covey

            def work(x):
                open(f"done{x}", "w").close()

            client = covey.Client(max_cpu=1)
            for x in range(5):
                client.submit(work, x)
            raise LookupError("the program's own")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=DEADLINE, check=False,
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("LookupError: the program's own")
    assert len(list(tmp_path.glob("done*"))) == 5


def test_the_import_is_light(tmp_path):
    source = """
    import sys, covey
    print(sorted(set(sys.modules) & {"zmq", "numpy", "cloudpickle", "tqdm", "concurrent.futures", "covey.api"}))
    """
    assert run(tmp_path, source) == "[]\n"


def test_the_first_result_needs_no_numpy(tmp_path):
    source = """
    import sys, covey
    covey.distribute(abs, max_cpu=2)([-1])
    print(sorted(set(sys.modules) & {"numpy", "tqdm", "asyncio"}))
    """
    assert run(tmp_path, source) == "[]\n"


def test_nothing_is_drawn_into_a_file(tmp_path):
    source = """
    import covey, os, sys

    def spin(x):
        return sum(range(200_000))

    covey.distribute(spin, max_cpu=2)(range(300))
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(source))
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=DEADLINE, check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
