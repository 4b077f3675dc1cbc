# SPDX-License-Identifier: BSD-3-Clause
"""How a slot ended, as one line."""

import pytest

from covey import slot
from covey.node.ending import Ending, Tail

CRASH = """up
Fatal Python error: Segmentation fault

Thread 0x00007f3b (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait

Current thread 0x00007f3c (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/home/user/lab/model.py", line 12 in crash
  File "/home/user/lab/model.py", line 20 in step
  File "/venv/lib/python3.11/site-packages/covey/slot/output.py", line 70 in write
  File "/home/user/lab/model.py", line 30 in run
  File "/venv/lib/python3.11/site-packages/covey/slot/main.py", line 70 in main
  File "<string>", line 6 in <module>

Extension modules: numpy.core (total: 1)
"""


def end(code: int | None, said: str = "up\n", why: str | None = None) -> Ending:
    return Ending(2, 123, "here", code, said, why=why)


@pytest.mark.parametrize(
    ("ending", "what"),
    [
        (end(3), "exited with code 3"),
        (end(0), "exited with code 0"),
        (end(-15), "was killed by SIGTERM"),
        (end(-9), "was killed by SIGKILL (the kernel does this when memory runs out)"),
        (end(-35), "was killed by signal 35"),
        (end(None), "ended, and another part of this program took its exit status"),
        (end(-9, why="it took longer than 5 s"), "was stopped: it took longer than 5 s"),
        (end(slot.EXIT_PLANNED), "left as planned"),
        (end(slot.EXIT_SETUP_FAILED, "Traceback…\nValueError: no\n"), "could not run its initializer: ValueError: no"),
        (
            end(1, "Traceback…\nImportError: zmq\n\n"),
            "exited with code 1 before it was ready for tasks: ImportError: zmq",
        ),
        (
            end(slot.EXIT_BROKEN, "up\nLinkRefused: old\n"),
            "exited with code 88 before it was ready for tasks: LinkRefused: old",
        ),
        (
            end(-11, "its initializer was running\n" + CRASH.removeprefix("up\n")),
            (
                "was killed by SIGSEGV before it was ready for tasks in string_at (ctypes/__init__.py:519), "
                "called from crash (lab/model.py:12), called from step (lab/model.py:20)"
            ),
        ),
        (
            end(-9, ""),
            "was killed by SIGKILL (the kernel does this when memory runs out) before it was ready for tasks",
        ),
        (
            end(-11, CRASH),
            (
                "was killed by SIGSEGV in string_at (ctypes/__init__.py:519), called from crash (lab/model.py:12), "
                "called from step (lab/model.py:20)"
            ),
        ),
        (
            end(-6, CRASH.replace("model.py", "covey/slot/main.py")),
            "was killed by SIGABRT in string_at (ctypes/__init__.py:519)",
        ),
        (end(-11, "up\nFatal Python error: …\nCurrent thread"), "was killed by SIGSEGV"),
    ],
)
def test_reports(ending: Ending, what: str) -> None:
    assert ending.report() == f"slot 2 (pid 123 on here) {what}"


def test_a_report_is_one_line_of_bounded_length() -> None:
    ending = end(1, "x" * 100_000 + "\r\n\t")
    assert len(ending.report()) < 500
    assert len(ending.report().splitlines()) == 1


def test_only_our_own_codes_are_planned() -> None:
    assert end(slot.EXIT_PLANNED).planned
    assert not end(0).planned
    assert not end(-9).planned


def test_whether_it_was_up() -> None:
    assert end(1).was_up
    assert not end(1, "Traceback").was_up
    assert not end(slot.EXIT_BROKEN).was_up


def test_the_tail_is_the_last_lines_without_the_mark() -> None:
    assert end(1, "up\na\nb\n").tail() == "a\nb"
    assert len(end(1, "line\n" * 1000).tail().splitlines()) == 20


@pytest.mark.parametrize(
    ("tail", "lines", "left_out"),
    [
        (Tail(), [], 0),
        (Tail(b"\n\n"), [], 0),
        (Tail(b"one\ntwo"), ["one", "two"], 0),
        (Tail(b"half a line\nwhole\n", 1000), ["whole"], 1012),
        (Tail(b"no end", 1000), ["no end"], 1000),
        (Tail(b"a line\n" * 50), ["a line"] * 20, 210),
        (Tail(b"10 %\r90 %\r\n"), ["90 %"], 0),
        (Tail(b"\tC\xc3\xa9\xff\x00\x1b[1;31m!\x1b[0m\x0b"), ["        Cé\N{REPLACEMENT CHARACTER}?!"], 0),
    ],
)
def test_the_last_lines_of_stderr(tail: Tail, lines: list[str], left_out: int) -> None:
    assert tail.lines() == lines
    assert tail.left_out() == left_out


def test_a_death_report_has_them_below_its_line() -> None:
    ending = Ending(2, 123, "here", -6, "up\n", stderr=Tail(b"half\nfree(): invalid pointer\n", 1_000_000, 12.4))
    assert ending.death_report().splitlines() == [
        (
            "slot 2 (pid 123 on here) was killed by SIGABRT; the last lines of its stderr (written 12 s before its "
            "end; 1,000,005 bytes before them are left out):"
        ),
        "free(): invalid pointer",
    ]
    assert ending.report() == "slot 2 (pid 123 on here) was killed by SIGABRT"
    assert end(-6).death_report() == end(-6).report()


def test_who_left_as_planned_has_no_last_lines() -> None:
    ending = Ending(2, 123, "here", slot.EXIT_PLANNED, "up\n", stderr=Tail(b"a warning\n"))
    assert ending.death_report() == ending.report()


def test_what_an_initializer_raised_comes_before_what_a_library_wrote() -> None:
    raised = Ending(2, 123, "here", slot.EXIT_SETUP_FAILED, "ValueError: no\n", stderr=Tail(b"a warning\n"))
    assert raised.report().endswith("could not run its initializer: ValueError: no")
    assert raised.tail() == "ValueError: no\na warning"
    silent = Ending(2, 123, "here", 1, "", stderr=Tail(b"libmodel.so: wrong version\n"))
    assert silent.report().endswith("exited with code 1 before it was ready for tasks: libmodel.so: wrong version")
