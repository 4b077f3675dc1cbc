# SPDX-License-Identifier: BSD-3-Clause
"""A new secret in place of the old one: whole at each moment, private, and with a word on what to restart."""
import stat
from pathlib import Path

import pytest

from covey.errors import KeyRefused
from covey.keys.rotation import rotate
from covey.keys.secret import Secret
from forms import ROOT, shown


def test_the_old_key_is_kept_until_the_next_rotation(tmp_path: Path) -> None:
    path, kept = tmp_path / "key", tmp_path / "key.old"
    first = Secret.make(path)
    done = rotate(path)
    second = Secret.read(path)
    assert second != first == Secret.read(kept)
    assert (done.old, done.new) == (first.fingerprint, second.fingerprint)
    rotate(path)
    assert Secret.read(kept) == second != Secret.read(path)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["key", "key.old"]


def test_it_says_what_to_do_and_nothing_secret(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = Secret.make(path, lambda size: ROOT)
    done = rotate(path, lambda size: ROOT[::-1])
    assert done.advice.startswith(
        f"{path} holds a new key, fingerprint {done.new}; the old one, {first.fingerprint}, is kept in {path}.old")
    for what in ("brokers", "nodes", "worker scripts", "clients", "connection files"):
        assert what in done.advice
    assert not shown(f"{done.advice} {done!r}", [ROOT, ROOT[::-1]])


def test_only_a_good_key_is_rotated(tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match="is not there: make it with `covey keys new"):
        rotate(tmp_path / "none")
    torn = tmp_path / "torn"
    torn.touch(0o600)
    with pytest.raises(KeyRefused, match="is torn or no key"):
        rotate(torn)
    assert [file.name for file in tmp_path.iterdir()] == ["torn"]


def test_a_rotation_that_fails_leaves_the_key(tmp_path: Path) -> None:
    made = Secret.make(tmp_path / "key")
    (tmp_path / "key.old").mkdir()
    with pytest.raises(KeyRefused, match=r"key\.old cannot be written \(Is a directory\)"):
        rotate(tmp_path / "key")
    assert Secret.read(tmp_path / "key") == made
