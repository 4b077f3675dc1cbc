# SPDX-License-Identifier: BSD-3-Clause
"""How much memory there is for us: from folders that look like a machine's /proc and /sys."""

import os
from pathlib import Path

from covey.node.memory import Memory, available_memory, resident_memory

MEMINFO = "MemTotal:       16 kB\nMemFree:  1 kB\nMemAvailable:       12 kB\nHugePages_Total:  x\n"
V2_MOUNT = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1_MOUNT = "31 20 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
KIB = 1024


def memory(root: Path, files: dict[str, str]) -> Memory:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return available_memory(root=str(root))


def v2(group: str, files: dict[str, str]) -> dict[str, str]:
    named = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    return {"proc/self/cgroup": f"0::{group}\n", "proc/self/mountinfo": V2_MOUNT, **named}


def test_a_machine_without_limits(tmp_path: Path) -> None:
    assert memory(tmp_path, {}) == Memory(16 * KIB, 12 * KIB, "the memory of this machine")


def test_a_container_v2(tmp_path: Path) -> None:
    files = {
        "job/memory.max": f"{8 * KIB}\n",
        "job/memory.current": f"{6 * KIB}\n",
        "job/memory.stat": f"anon 5\ninactive_file {2 * KIB}\n",
    }
    assert memory(tmp_path, v2("/job", files)) == Memory(8 * KIB, 4 * KIB, "the memory limit of this container")


def test_a_group_without_a_limit_below_one_that_is_nearly_full(tmp_path: Path) -> None:
    files = {
        "job/step/memory.max": "max\n",
        "job/memory.max": f"{15 * KIB}\n",
        "job/memory.current": f"{14 * KIB}\n",
    }
    found = memory(tmp_path, v2("/job/step", files))
    assert (found.total, found.available) == (15 * KIB, KIB)


def test_a_group_that_is_full_below_one_that_is_not(tmp_path: Path) -> None:
    files = {
        "job/step/memory.max": f"{2 * KIB}\n",
        "job/step/memory.current": f"{2 * KIB}\n",
        "job/memory.max": f"{8 * KIB}\n",
        "job/memory.current": f"{3 * KIB}\n",
    }
    found = memory(tmp_path, v2("/job/step", files))
    assert (found.total, found.available) == (2 * KIB, 0)


def test_a_limit_above_the_machine_is_none(tmp_path: Path) -> None:
    files = {"memory.max": f"{99 * KIB}\n", "memory.current": "0\n"}
    assert memory(tmp_path, v2("/", files)) == Memory(16 * KIB, 12 * KIB, "the memory of this machine")


def test_a_container_v1(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/memory"
    files = {
        "proc/self/cgroup": "9:cpu:/x\n8:memory:/job\n",
        "proc/self/mountinfo": V1_MOUNT,
        f"{folder}/job/memory.limit_in_bytes": f"{4 * KIB}\n",
        f"{folder}/job/memory.usage_in_bytes": f"{3 * KIB}\n",
        f"{folder}/job/memory.stat": f"inactive_file 1\ntotal_inactive_file {KIB}\n",
        f"{folder}/memory.limit_in_bytes": "9223372036854771712\n",
        f"{folder}/memory.usage_in_bytes": f"{9 * KIB}\n",
    }
    assert memory(tmp_path, files) == Memory(4 * KIB, 2 * KIB, "the memory limit of this container")


def test_a_machine_that_does_not_say(tmp_path: Path) -> None:
    assert available_memory(root=str(tmp_path)).total == 0
    assert memory(tmp_path, v2("/", {"memory.max": "5\n", "proc": ""}) | {"proc/meminfo": ""}).total == 5


def test_this_process(tmp_path: Path) -> None:
    mine = resident_memory(os.getpid())
    assert mine is not None
    assert KIB * KIB < mine <= available_memory().total
    assert resident_memory(os.getpid(), root=str(tmp_path)) is None
