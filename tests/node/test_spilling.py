# SPDX-License-Identifier: BSD-3-Clause
"""How much memory a shared broker may have, and where what is too much can go."""
from pathlib import Path

import pytest

from covey.errors import BadSetting
from covey.node.spilling import LEAST_MEMORY, Bound, find_place
from covey.settings import Settings

DISK = "/dev/sda1 / ext4 rw 0 0"
GIB = 1 << 30


def test_half_of_what_there_is_unless_it_is_said() -> None:
    bound = Bound.of(Settings(), total=8 * GIB)
    assert bound is not None
    assert bound.memory == 4 * GIB
    bound = Bound.of(Settings(max_memory=GIB), total=8 * GIB)
    assert bound is not None
    assert bound.memory == GIB


def test_where_nobody_knows_there_is_no_bound() -> None:
    assert Bound.of(Settings(), total=0) is None


def test_too_little_is_refused_by_a_sentence() -> None:
    with pytest.raises(BadSetting, match="at least 67108864 bytes"):
        Bound.of(Settings(max_memory=LEAST_MEMORY - 1))


def test_the_chosen_folder_is_the_place_or_there_is_none(tmp_path: Path) -> None:
    assert find_place(str(tmp_path), mounts=[DISK]) == (str(tmp_path), "")
    folder, why = find_place(str(tmp_path / "none"), mounts=[DISK])
    assert folder is None
    assert "no folder that can be written to" in why


def test_memory_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert find_place(mounts=[DISK])[0] == str(tmp_path)
    # Then the next one that is a disk.
    assert find_place(mounts=[DISK, f"tmpfs {tmp_path} tmpfs rw 0 0"])[0] == "/var/tmp"
    folder, why = find_place(mounts=["tmpfs / tmpfs rw 0 0"])
    assert folder is None
    assert "is no disk but memory (tmpfs)" in why


def test_what_is_mounted_last_hides_the_others(tmp_path: Path) -> None:
    mounts = [DISK, f"tmpfs {tmp_path} tmpfs rw 0 0", f"/dev/sdb {tmp_path} xfs rw 0 0"]
    assert find_place(str(tmp_path), mounts=mounts)[0] == str(tmp_path)
