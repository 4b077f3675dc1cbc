# SPDX-License-Identifier: BSD-3-Clause
"""When a bar is drawn, and when it is not."""

import io
import sys

from covey.client import progress
from covey.client.progress import Progress, maybe_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch):
    # by the test itself: pytest puts its own stderr in place between a fixture and its test
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_nobody_is_shown_a_bar_in_a_file(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert maybe_progress(None, 10, "f") is None


def test_nobody_is_shown_a_bar_without_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert maybe_progress(None, 10, "f") is None


def test_false_means_never(monkeypatch):
    terminal(monkeypatch)
    assert maybe_progress(False, 10, "f") is None


def test_short_work_shows_nothing(monkeypatch):
    stderr = terminal(monkeypatch)
    bar = maybe_progress(None, 10, "f")
    bar.tick(10)
    bar.close()
    assert stderr.getvalue() == ""


def test_long_work_shows_a_bar(monkeypatch):
    stderr = terminal(monkeypatch)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    bar = maybe_progress(None, 10, "fetch")
    bar.tick(4)
    bar.tick(6)
    bar.close()
    assert "fetch" in stderr.getvalue()
    assert "10.0/10.0" in stderr.getvalue()


def test_true_means_at_once_and_anywhere(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    bar = maybe_progress(True, None, "count")
    bar.tick(3)
    bar.close()
    bar.close()
    assert "count" in file.getvalue()


def test_a_bar_that_breaks_disturbs_nobody(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    bar = Progress(10, "f", at_once=True)
    bar.tick(5)
    bar.close()
    assert bar.done == 5
