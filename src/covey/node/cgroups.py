# SPDX-License-Identifier: BSD-3-Clause
"""The folders of the control groups that this process is in, lowest first.

Why: what a container or a batch job may use stands in files of its group and of every group above it, in two
versions of one file system, mounted wherever it pleased whoever built the container. CPUs and memory ask the same way.

May not know: what the files mean. Guarantees: reads below `root` only, which tests replace by a folder of
fixtures; what is missing or odd is as if it were empty.
"""

import os
from collections.abc import Iterator
from pathlib import PurePosixPath

__all__ = ["group_folders", "lines_of"]


def group_folders(root: str, controller: str) -> Iterator[tuple[int, str]]:
    """(version, folder) of each group that limits this process in what `controller` controls.

    >>> list(group_folders("/nowhere", "cpu"))
    []
    """
    mounts = list(_mounts(root))
    for line in lines_of(root, "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        for kind, options, mount, mount_root in mounts:
            if kind == "cgroup2" and number == "0" and not controllers:
                version = 2
            elif kind == "cgroup" and controller in controllers.split(",") and controller in options:
                version = 1
            else:
                continue
            for folder in _upwards(root, mount, mount_root, group):
                yield version, folder


def lines_of(folder: str, name: str) -> list[str]:
    """The lines of a file; none if it cannot be read.

    >>> lines_of("/nowhere", "nothing")
    []
    """
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _mounts(root: str) -> Iterator[tuple[str, list[str], str, str]]:
    # A line of mountinfo (proc(5)): id parent major:minor ROOT MOUNTPOINT options … - KIND source SUPEROPTIONS
    for line in lines_of(root, "proc/self/mountinfo"):
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if separator and len(fields) >= 5 and len(kind) >= 3 and kind[0] in ("cgroup", "cgroup2"):
            yield kind[0], kind[2].split(","), fields[4], fields[3]


def _upwards(root: str, mount: str, mount_root: str, group: str) -> Iterator[str]:
    # Inside a container the group is named as the host sees it while only a part is mounted; and a group
    # outside the cgroup namespace is shown as /../…: what is not below the mount is looked for at its top.
    path = PurePosixPath(group)
    if mount_root != "/" and path.is_relative_to(mount_root):
        path = "/" / path.relative_to(mount_root)
    parts = () if ".." in path.parts else path.parts[1:]
    for depth in range(len(parts), -1, -1):
        yield os.path.join(root, mount.lstrip("/"), *parts[:depth])
