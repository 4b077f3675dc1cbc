# SPDX-License-Identifier: BSD-3-Clause
"""A real memory control group of the test's own, where this user may make one.

May not know: how covey reads control groups, but for where they are. Guarantees: the group is removed again once it
is empty; where none can be made the test is skipped, with the reason.
"""
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.node.cgroups import group_folders
from waiting import wait_until


@contextlib.contextmanager
def memory_group(size: int) -> Iterator[Path]:
    """The file of a new group to which a process writes 0 to join; all in it together get `size` bytes."""
    version, parent = next(iter(group_folders("/", "memory")), (0, ""))
    if not version:
        pytest.skip("no memory control group is mounted here")
    group = Path(parent) / f"covey-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"this user may make no control group in {parent}: {error.strerror}")
    try:
        _limit(group, version, size)
        yield group / "cgroup.procs"
    finally:
        wait_until(lambda: _removed(group), lambda: f"{group} holds {(group / 'cgroup.procs').read_text()!r}")


def _limit(group: Path, version: int, size: int) -> None:
    try:
        if version == 1:
            (group / "memory.limit_in_bytes").write_text(str(size))
        else:
            (group / "memory.max").write_text(str(size))
            (group / "memory.swap.max").write_text("0")
    except OSError as error:
        pytest.skip(f"the memory of {group} cannot be limited: {error}")


def _removed(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()
