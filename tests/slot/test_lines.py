# SPDX-License-Identifier: BSD-3-Clause
"""What a task prints for a caller elsewhere: whole lines, and their prefixes count."""

import io
from contextlib import redirect_stdout

import pytest

from covey.client.output import prefix_of, show
from covey.slot.lines import LONGEST, LineRation
from covey.slot.output import LIMIT

PREFIX = prefix_of("lab7", "square#3")
# What slot/output takes for it.
TOLL = len("lab7") + 24


class Caller:
    """Shows what comes as the caller of a task elsewhere."""

    def __init__(self) -> None:
        self.screen = io.StringIO()

    def __call__(self, stream: int, data: bytes) -> None:
        with redirect_stdout(self.screen):
            show(stream, data, "square#3", "lab7")

    @property
    def lines(self) -> list[str]:
        text = self.screen.getvalue()
        assert text == "" or text.endswith("\n")
        found = text.splitlines()
        assert all(line.startswith(PREFIX) and line.count(PREFIX) == 1 for line in found)
        return [line.removeprefix(PREFIX) for line in found]


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.fixture
def ration(caller: Caller) -> LineRation:
    return LineRation(1, caller, toll=TOLL)


def test_a_line_goes_when_it_is_whole(caller: Caller, ration: LineRation) -> None:
    for text in (b"one ", b"line\n\nhalf", b" of one"):
        ration.take(text)
    assert caller.lines == ["one line", ""]
    ration.end()
    assert caller.lines == ["one line", "", "half of one"]
    ration.end()
    assert len(caller.lines) == 3


def test_a_progress_bar_is_the_line_that_is_seen_in_the_end(caller: Caller, ration: LineRation) -> None:
    for percent in range(101):
        ration.take(b"\r%3d%%|%s|" % (percent, b"#" * percent))
    ration.take(b"\r\nin DOS\r\n")
    assert caller.lines == ["100%|" + "#" * 100 + "|", "in DOS"]


def test_a_progress_bar_that_ends_each_step_with_the_return(caller: Caller, ration: LineRation) -> None:
    for percent in range(3000):
        ration.take(b"step %4d\r" % percent)
    ration.end()
    assert caller.lines == ["step 2999"]


@pytest.mark.parametrize("piece", ["x", "ü€", "\u2028"])
def test_a_line_without_end_goes_on_in_the_next(caller: Caller, ration: LineRation, piece: str) -> None:
    text = piece * (2 * LONGEST // len(piece.encode()))
    for at in range(0, len(text), 100):
        ration.take(text[at : at + 100].encode())
    ration.end()
    text_lines = caller.screen.getvalue().removesuffix("\n").split("\n")
    assert "".join(line.removeprefix(PREFIX) for line in text_lines) == text
    assert all(len(line.encode()) <= LONGEST + len(PREFIX) for line in text_lines)


def test_what_is_no_text_is_cut_all_the_same(caller: Caller, ration: LineRation) -> None:
    ration.take(b"\x80" * 3 * LONGEST)
    ration.end()
    assert sum(map(len, caller.lines)) == 3 * LONGEST


@pytest.mark.parametrize("line", [b"\n", b"x" * 99 + b"\n", b"x" * 10_000_000])
def test_of_very_much_two_limits_are_shown_prefixes_included(caller: Caller, ration: LineRation, line: bytes) -> None:
    total = 10_000_000 if len(line) > 1 else 100_000
    for _ in range(total // len(line)):
        ration.take(line)
    ration.end()
    shown = len(caller.screen.getvalue())
    assert LIMIT < shown <= 2 * (LIMIT + LONGEST + TOLL)
    (sentence,) = (line for line in caller.lines if line.startswith("[covey: "))
    assert "bytes left out here]" in sentence


def test_each_task_has_its_own_share(caller: Caller, ration: LineRation) -> None:
    for _ in range(2):
        for _ in range(200):
            ration.take(b"x" * 1000 + b"\n")
        ration.end()
    assert [line[:7] for line in caller.lines].count("[covey:") == 2
