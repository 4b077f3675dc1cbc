# SPDX-License-Identifier: BSD-3-Clause
"""Where a client's calls go: how people are told of the places."""

from pathlib import Path

import pytest

from covey.client.where import elsewhere
from covey.settings import Settings


@pytest.mark.parametrize(
    ("named_pipe", "called"), [("fits", "the named pipe 'fits'"), (True, "the named pipe 'covey'")]
)
def test_a_named_pipe_is_called_one(
    named_pipe: bool | str, called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covey.node.pipes._folder", lambda: str(tmp_path))
    machine, = elsewhere(None, ["localhost"], None, named_pipe, None, Settings()).machines
    assert machine.written == called
