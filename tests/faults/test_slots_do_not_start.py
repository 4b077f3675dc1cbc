# SPDX-License-Identifier: BSD-3-Clause
"""Slots that never get as far as a task: said once, with their own words, and not tried for ever."""

import os
from pathlib import Path

import pytest

import covey

pytestmark = pytest.mark.faults


def test_an_initializer_that_ends_its_process() -> None:
    client = covey.Client(max_cpu=2, initializer=os._exit, initargs=(9,))
    said = "exited with code 9 before it was ready for tasks: its initializer was running"
    with pytest.raises(covey.SlotsWillNotStart, match=said):
        client.submit(abs, 1).result(30)
    client.shutdown()


def test_an_interpreter_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    client = covey.Client(max_cpu=1)
    with pytest.raises(covey.SlotsWillNotStart, match="init_fs_encoding"):
        client.submit(abs, 1).result(30)
    client.shutdown()


def test_an_interpreter_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    client = covey.Client(max_cpu=2)
    with pytest.raises(covey.SlotsWillNotStart, match=r"cannot be started: .*No such file"):
        client.submit(abs, 1).result(30)
    client.shutdown()
