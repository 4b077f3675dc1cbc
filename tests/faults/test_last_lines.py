# SPDX-License-Identifier: BSD-3-Clause
"""What C code writes to descriptor 2: passed on to the node's stderr while it is said, and told by the error where it
was the last."""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import covey
from covey.testing import Flock
from waiting import DEADLINE, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(params=["1", "0"], ids=["native", "on pyzmq"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[covey.Client]:
    monkeypatch.setenv("COVEY_NATIVE", request.param)
    with covey.Client(max_cpu=2) as client:
        yield client


def say_in_c(text: bytes) -> None:
    assert ctypes.CDLL(None).write(2, text, len(text)) == len(text)


def break_an_assertion() -> None:
    say_in_c(b"model.c:12: step: Assertion `n > 0' failed.\n")
    os.abort()


def follow_a_null_pointer() -> None:
    os.write(2, b"reading the weights\nof layer 7 \xff\x1b[31m!\x1b[0m")
    ctypes.string_at(0)


def free_what_was_not_allocated() -> None:
    block = ctypes.create_string_buffer(64)
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    free(ctypes.addressof(block) + 8)


def let_a_child_complain() -> None:
    subprocess.run(["sh", "-c", "echo the child was here >&2"], check=True)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        (break_an_assertion, ["model.c:12: step: Assertion `n > 0' failed."]),
        (follow_a_null_pointer, ["reading the weights", "of layer 7 \N{REPLACEMENT CHARACTER}!"]),
        (free_what_was_not_allocated, ["free(): invalid pointer"]),
        (let_a_child_complain, ["the child was here"]),
    ],
    ids=["assertion", "null pointer", "free", "child"],
)
def test_the_error_has_the_last_lines(client: covey.Client, how: Callable[[], None], lines: list[str]) -> None:
    if how is free_what_was_not_allocated and not sys.platform.startswith("linux"):
        pytest.skip("what the C library says differs")
    with pytest.raises(covey.PoisonTask) as caught:
        client.submit(how).result(DEADLINE)
    assert len(caught.value.attempts) == 3
    for attempt in caught.value.attempts:
        report, *told = attempt.split("\n")
        assert re.search(r"was killed by SIG\w+.*; the last lines of its stderr:$", report)
        assert told == lines
    shown = str(caught.value).splitlines()
    assert len(shown) == 1 + 3 * (1 + len(lines))
    assert shown[1].startswith("  1. slot ")
    assert shown[2] == f"       {lines[0]}"
    assert caught.value.peak_rss is None or caught.value.peak_rss > 0


def test_a_bundle_and_a_call_that_must_not_run_twice_tell_it_too(client: covey.Client) -> None:
    def step(item: int) -> int:
        if item == 7:
            break_an_assertion()
        return item

    with pytest.raises(covey.PoisonTask) as caught:
        list(client.map(step, range(20), chunksize=10))
    assert all("\nmodel.c:12" in attempt for attempt in caught.value.attempts)
    with pytest.raises(covey.MaybeRan, match=r"\n       model\.c:12: step"):
        client.options(on_lost="fail").submit(step, 7).result(DEADLINE)


def test_who_says_nothing_has_no_lines_and_nobody_elses(client: covey.Client) -> None:
    with pytest.raises(covey.PoisonTask) as caught:
        client.submit(os._exit, 3).result(DEADLINE)
    assert all(attempt.endswith("exited with code 3") for attempt in caught.value.attempts)


def test_a_slot_that_puts_something_else_in_its_place_goes_on(client: covey.Client, tmp_path: Path) -> None:
    def reopen(path: Path) -> None:
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), 2)
        os.write(2, b"elsewhere\n")

    client.submit(reopen, tmp_path / "log").result(DEADLINE)
    assert (tmp_path / "log").read_bytes() == b"elsewhere\n"
    assert [client.submit(abs, -1).result(DEADLINE) for _ in range(20)] == [1] * 20


def test_an_initializer_that_aborts() -> None:
    said = r"model\.c:12: step: Assertion"
    with (
        covey.Client(max_cpu=1, initializer=break_an_assertion) as client,
        pytest.raises(covey.SlotsWillNotStart, match=said),
    ):
        client.submit(abs, -1).result(DEADLINE)


class Script:
    """A user's program, whose stderr is a file, or whatever it is given."""

    def __init__(self, folder: Path, source: str, stderr: int | None = None) -> None:
        (folder / "program.py").write_text(f"import json, os, resource, sys, time, covey\n{source}")
        self.folder = folder
        with open(folder / "said", "wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "program.py"], cwd=folder, env=_environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=said if stderr is None else stderr,
            )

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text(errors="replace")

    def wait_said(self, text: str) -> None:
        wait_until(lambda: text in self.said, lambda: f"it did not say {text!r}: {self.said}")

    def result(self) -> object:
        """What it printed, as JSON, once it has ended well."""
        printed, _ = self.process.communicate(timeout=DEADLINE)
        assert self.process.returncode == 0, self.said
        return json.loads(printed)

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(covey.__file__)))}


LIVE = """
import subprocess
def task():
    os.write(2, b"C says this\\n")
    subprocess.Popen(["sh", "-c", "echo and its child that >&2"])
    while not os.path.exists("seen"):
        time.sleep(0.01)  # work
    return os.isatty(2)
if __name__ == "__main__":
    with covey.Client(max_cpu=1) as client:
        print(json.dumps(client.submit(task).result()))
"""


def test_lines_are_seen_while_the_task_runs(tmp_path: Path) -> None:
    with Script(tmp_path, LIVE) as script:
        script.wait_said("C says this\n")
        script.wait_said("and its child that\n")
        (tmp_path / "seen").touch()
        assert script.result() is False


LAST = """
def task(number):
    os.write(2, b"line %d of a slot\\n" % number)
if __name__ == "__main__":
    with covey.Client(max_cpu=2, max_tasks_per_slot=1) as client:
        list(client.map(task, range(8), chunksize=1))
    print("null")
"""


def test_of_slots_that_leave_no_line_is_lost(tmp_path: Path) -> None:
    with Script(tmp_path, LAST) as script:
        script.result()
        assert sorted(script.said.splitlines()) == [f"line {number} of a slot" for number in range(8)]


FLOOD = """
def flood(path):
    if os.path.exists(path):
        return
    open(path, "w").close()
    line = b"%099d\\n" % 0
    for _ in range(1000):
        data = line * 1000
        while data:
            data = data[os.write(2, data):]
    os.write(2, b"the last of it\\n")
    os.abort()

if __name__ == "__main__":
    with covey.Client(max_cpu=1) as client:
        client.submit(abs, -1).result()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            client.options(on_lost="fail").submit(flood, "flooded").result()
        except covey.MaybeRan as error:
            said = str(error)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([said, grown]))
"""


def test_a_hundred_megabytes_pass_and_stay_nowhere(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with Script(tmp_path, FLOOD, stderr=writer) as script:
        os.close(writer)
        arrived = 0
        end = b""
        while data := os.read(reader, 1 << 16):
            arrived += len(data)
            end = (end + data)[-4096:]
        os.close(reader)
        said, grown = script.result()  # type: ignore[misc]
    assert arrived > 100_000_000, "nothing was left out on the way"
    assert b"the last of it\n" in end
    assert said.endswith("the last of it")
    assert re.search(r"stderr \([0-9,]{10,} bytes before them are left out\):\n", said)
    assert grown < 16 << 10, "KiB"


ENDLESS = """
import logging, signal
def flood():
    while True:
        os.write(2, b"x" * 65536)

if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # What is logged of the slot that is stopped would wait for room, too.
    logging.getLogger("covey").addHandler(logging.NullHandler())
    with covey.Client(max_cpu=2) as client:
        flooding = client.options(timeout=0.5).submit(flood)
        others = [client.submit(abs, -number) for number in range(100)]
        total = sum(other.result() for other in others)
        ended = type(flooding.exception()).__name__
    print(json.dumps([total, ended]))
"""


def test_a_stderr_that_takes_nothing_holds_up_its_writers_only(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with Script(tmp_path, ENDLESS, stderr=writer) as script:
        os.close(writer)
        assert script.result() == [4950, "TaskTimeout"]
    assert os.read(reader, 1000) == b"x" * 1000
    os.close(reader)


def test_a_reader_of_stderr_that_has_gone_ends_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with Script(tmp_path, ENDLESS, stderr=writer) as script:
        os.close(writer)
        assert script.result() == [4950, "TaskTimeout"]


def test_lines_of_a_node_on_another_machine() -> None:
    with Flock(nodes=1, slots=1) as flock, flock.client() as client:
        gate = flock.folder / "gate"

        def task(gate: Path) -> None:
            import ctypes
            import os
            import time

            ctypes.CDLL(None).write(2, b"the solver: out of range\n", 25)
            while not gate.exists():
                time.sleep(0.01)  # work
            os.abort()

        future = client.submit(task, gate)
        flock.nodes[0].wait_said("the solver: out of range\n")
        gate.touch()
        with pytest.raises(covey.PoisonTask) as caught:
            future.result(DEADLINE)
        assert len(caught.value.attempts) == 3
        assert all(re.search(r"SIGABRT.*\nthe solver: out of range$", attempt) for attempt in caught.value.attempts)
