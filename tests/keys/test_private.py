# SPDX-License-Identifier: BSD-3-Clause
"""Files that nobody else may read: refused when somebody could, whole or not there, 0600 from the first byte."""
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.errors import KeyRefused
from covey.keys.private import create_private, fault_of, read_private, replace_private

WHAT = "the key file"
USER = os.geteuid()


def status(mode: int, user: int = USER, size: int = 65) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, user, user, size, 0, 0, 0))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_the_user_alone_is_private(mode: int) -> None:
    assert fault_of("k", WHAT, status(stat.S_IFREG | mode), USER) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_what_others_can_touch_is_refused_with_the_command_that_helps(mode: int) -> None:
    fault = fault_of("k", WHAT, status(stat.S_IFREG | mode), USER)
    assert fault == (f"the key file k can be read or changed by others (mode {mode:04o}): chmod 600 k, and make a new "
                     "one if others may have it")


def test_the_file_of_another_user_is_refused() -> None:
    fault = fault_of("k", WHAT, status(stat.S_IFREG | 0o600, user=7), 8)
    assert fault == ("the key file k belongs to user 7, and this process runs as user 8: chown 8 k, if you trust what "
                     "is in it")


def test_what_is_too_large_is_refused() -> None:
    fault = fault_of("k", WHAT, status(stat.S_IFREG | 0o600, size=1 << 20), USER)
    assert fault == "the key file k is too large for one (1,048,576 bytes): name the right file"


def test_reading_looks_at_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "k"
    assert create_private(str(path), lambda: b"x", WHAT)
    assert read_private(str(path), WHAT) == b"x"
    path.chmod(0o644)
    with pytest.raises(KeyRefused, match=r"mode 0644\): chmod 600"):
        read_private(str(path), WHAT)


def test_a_link_is_as_private_as_what_it_leads_to(tmp_path: Path) -> None:
    """Mounted secrets are links."""
    path = tmp_path / "k"
    create_private(str(path), lambda: b"x", WHAT)
    (tmp_path / "link").symlink_to(path)
    assert read_private(str(tmp_path / "link"), WHAT) == b"x"
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match="mode 0640"):
        read_private(str(tmp_path / "link"), WHAT)


def test_directories_and_pipes_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match="is a directory: name a file"):
        read_private(str(tmp_path), WHAT)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyRefused, match="is a pipe or a device: name a file"):
        read_private(str(tmp_path / "pipe"), WHAT)


def test_what_is_missing_or_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_private(str(tmp_path / "none"), WHAT)
    (tmp_path / "file").touch()
    with pytest.raises(KeyRefused, match=r"cannot be read \(Not a directory\): see that this user may read it"):
        read_private(str(tmp_path / "file" / "k"), WHAT)
    with pytest.raises(KeyRefused, match=r"cannot be read \(embedded null byte\)"):
        read_private("a\0b", WHAT)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_a_new_file_and_its_new_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "k"
    seen: list[int] = []

    def content() -> bytes:
        seen.extend(mode_of(part) for part in path.parent.iterdir())
        return b"x"

    assert create_private(str(path), content, WHAT)
    assert seen == [0o600], "it is private before anything stands in it"
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
    assert list(path.parent.iterdir()) == [path]


def test_creating_never_replaces(tmp_path: Path) -> None:
    path = tmp_path / "k"
    assert create_private(str(path), lambda: b"first", WHAT)
    assert not create_private(str(path), lambda: b"second", WHAT)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_makes_private_what_was_not(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(b"old")
    path.chmod(0o644)
    replace_private(str(path), lambda: b"new", WHAT)
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(b"old")

    def content() -> bytes:
        raise OSError(28, "No space left on device")

    for write in (replace_private, create_private):
        with pytest.raises(KeyRefused, match=r"k cannot be written \(No space left on device\): name a place"):
            write(str(path), content, WHAT)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyRefused, match=r"cannot be written \((Not a directory|File exists)\): name a place"):
        create_private(str(tmp_path / "file" / "k"), lambda: b"x", WHAT)
    with pytest.raises(KeyRefused, match=r"cannot be written \(Is a directory\)"):
        replace_private(str(tmp_path), lambda: b"x", WHAT)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
