# SPDX-License-Identifier: BSD-3-Clause
"""What tasks printed, shown at the caller: where its streams are now, and whatever they are."""

import io
import sys

import pytest
from tqdm import tqdm

from covey.client.output import prefix_of, show


class Broken(io.StringIO):
    def write(self, text: str, /) -> int:
        raise BrokenPipeError(text)


def test_each_stream_goes_to_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    show(1, "ü\n".encode())
    show(2, memoryview(b"warning\n"))
    assert capsys.readouterr() == ("ü\n", "warning\n")


def test_bytes_that_are_no_text_are_shown_as_well_as_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    show(1, b"\xff!\n")
    assert capsys.readouterr().out == "\N{REPLACEMENT CHARACTER}!\n"


def test_a_stream_of_a_smaller_alphabet(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", newline=""))
    show(1, "ü\n".encode())
    assert raw.getvalue() == b"\\xfc\n"


def test_lines_of_another_machine_say_whose_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show(1, b"one\n\ntwo\n", "square#3", "lab7")
    show(2, b"outside a task\n", "", "lab7")
    assert capsys.readouterr() == (
        "[lab7: square#3] one\n[lab7: square#3] \n[lab7: square#3] two\n", "[lab7] outside a task\n",
    )


def test_a_name_may_be_long_or_odd() -> None:
    assert prefix_of("lab\n\x1b7", "square#3") == "[lab??7: square#3] "
    long = prefix_of("lab7", "outer.<locals>." * 20 + "square#123456")
    assert len(long) < 80
    assert long.endswith("square#123456] ")


def test_a_line_with_a_prefix_begins_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(1, b"half of an own line")
    show(1, b"far\n", "square#3", "lab7")
    show(1, b"far\n", "square#4", "lab8")
    assert capsys.readouterr().out == "half of an own line\n[lab7: square#3] far\n[lab8: square#4] far\n"
    show(1, b"own", "", "")
    show(1, b"s\n", "", "")
    show(1, b"far\n", "square#3", "lab7")
    assert capsys.readouterr().out == "owns\n[lab7: square#3] far\n"


def test_another_stream_begins_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", before)
    show(1, b"half")
    monkeypatch.setattr(sys, "stdout", after)
    show(1, b"far\n", "square#3", "lab7")
    assert after.getvalue() == "[lab7: square#3] far\n"


@pytest.mark.parametrize("stream", [None, Broken(), object()])
def test_it_never_raises(monkeypatch: pytest.MonkeyPatch, stream: object) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    show(1, b"text")
    show(3, b"no record")
    show(99, b"")


def test_a_progress_bar_is_taken_away_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # else a thread of it stays for ever
    with tqdm(total=3, file=screen, mininterval=0) as bar:
        bar.update()
        show(2, b"from a task\n")
    lines = screen.getvalue().replace("\r", "\n").splitlines()
    assert "from a task" in lines
