# SPDX-License-Identifier: BSD-3-Clause
"""The run directory: private, short, and gone afterwards, whoever ends and however."""

import gc
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from covey.node.rundir import RunDir, sweep

HOLD = (
    "import sys; sys.path[:] = {path!r}; from covey.node.rundir import RunDir; "
    "d = RunDir({base!r}); print(d.path, flush=True); "
)


def script(base: Path, rest: str) -> list[str]:
    return [sys.executable, "-c", HOLD.format(path=sys.path, base=str(base)) + rest]


def make_old(path: str) -> None:
    os.utime(path, (0, 0))


def test_only_the_user_can_enter_or_read(tmp_path: Path) -> None:
    with RunDir(str(tmp_path)) as folder:
        file = folder.write("outfit", b"secret")
        assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
        assert Path(file).read_bytes() == b"secret"
        assert "covey-" in repr(folder)


def test_it_is_removed_with_all_in_it_and_only_once(tmp_path: Path) -> None:
    folder = RunDir(str(tmp_path))
    folder.write("outfit", b"")
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []
    assert "removed" in repr(folder)


def test_it_is_removed_with_the_garbage(tmp_path: Path) -> None:
    folder = RunDir(str(tmp_path))
    del folder
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_it_is_removed_at_exit(tmp_path: Path) -> None:
    subprocess.run(script(tmp_path, ""), check=True, stdout=subprocess.PIPE, timeout=20)
    assert list(tmp_path.iterdir()) == []


def test_it_lies_in_the_temporary_directory_unless_that_has_a_long_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with RunDir() as folder:
        assert os.path.dirname(folder.path) == tempfile.gettempdir()
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with RunDir() as folder:
        assert os.path.dirname(folder.path) == "/tmp"
        assert len(folder.join("broker")) < 100


@pytest.mark.parametrize("place", ["{tmp}", "relative", "{tmp}/missing"])
def test_without_tempfile_it_finds_the_same_place(place: str) -> None:
    short = Path(tempfile.mkdtemp())
    (short / "relative").mkdir()
    code = (
        f"import os, sys; sys.path[:] = {sys.path!r}; from covey.node.rundir import RunDir; "
        "assert 'tempfile' not in sys.modules; d = RunDir(); import tempfile; "
        "assert os.path.dirname(d.path) == tempfile.gettempdir(), (d.path, tempfile.gettempdir())"
    )
    environment = {**os.environ, "TMPDIR": place.format(tmp=short)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=short, timeout=20)


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="set TMPDIR to a place"):
        RunDir(str(tmp_path / "missing"))


def test_a_forked_child_does_not_remove_it(tmp_path: Path) -> None:
    with RunDir(str(tmp_path)) as folder:
        child = os.fork()
        if child == 0:
            try:
                folder.remove()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.path.isdir(folder.path)


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    done = subprocess.run(
        script(tmp_path, "import os; d.write('outfit', b''); os.kill(os.getpid(), 9)"),
        stdout=subprocess.PIPE,
        timeout=20,
    )
    left = done.stdout.decode().strip()
    assert os.path.isdir(left)
    assert sweep(str(tmp_path)) == [], "a directory that is young may be one that is being made"
    make_old(left)
    assert sweep(str(tmp_path)) == [left]
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_use_or_not_ours_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / "covey-of-a-user").mkdir()
    (tmp_path / "covey-file").write_bytes(b"")
    (tmp_path / "other").mkdir()
    with RunDir(str(tmp_path)) as folder:
        for path in tmp_path.iterdir():
            make_old(str(path))
        assert sweep(str(tmp_path)) == []
        assert os.path.exists(folder.join("owner"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["covey-file", "covey-of-a-user", "other"]
