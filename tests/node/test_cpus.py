# SPDX-License-Identifier: BSD-3-Clause
"""How many CPUs there are for us: from folders that look like a machine's /proc and /sys."""

import os
from pathlib import Path

import pytest

from covey.node.counts import Counted
from covey.node.cpus import available_cpus

V2_MOUNT = "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "31 20 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:5 - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    # So that the fixture files decide, however small the machine is that runs this.
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)


def machine(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def counted(root: Path, files: dict[str, str], **environment: str) -> int:
    return available_cpus(root=machine(root, files), environment=environment).count


def v2(group: str, **quotas: str) -> dict[str, str]:
    """A machine with control groups of version 2; `quotas`: group (with _ for /) → cpu.max."""
    files = {f"sys/fs/cgroup/{name.replace('_', '/')}/cpu.max": text for name, text in quotas.items()}
    return {"proc/self/cgroup": f"0::{group}\n", "proc/self/mountinfo": V2_MOUNT, **files}


def test_without_any_limit_it_is_the_affinity(tmp_path: Path) -> None:
    assert counted(tmp_path, {}) == 64


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("max 100000", 64),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("1000 100000", 1),
        ("nonsense", 64),
        ("", 64),
        ("1 0", 64),
    ],
)
def test_cgroup_v2(tmp_path: Path, quota: str, cpus: int) -> None:
    assert counted(tmp_path, v2("/job", job=quota)) == cpus


def test_cgroup_v2_limits_of_groups_above_count(tmp_path: Path) -> None:
    assert counted(tmp_path, v2("/user/job/step", user="300000 100000", user_job="max 100000")) == 3


def test_cgroup_v2_inside_a_container_that_sees_the_hosts_name(tmp_path: Path) -> None:
    files = v2("/docker/abc")
    files["proc/self/mountinfo"] = V2_MOUNT.replace(" / /sys", " /docker/abc /sys")
    files["sys/fs/cgroup/cpu.max"] = "400000 100000"
    assert counted(tmp_path, files) == 4


def test_cgroup_v2_outside_its_namespace(tmp_path: Path) -> None:
    files = v2("/../other")
    files["sys/fs/cgroup/cpu.max"] = "500000 100000"
    assert counted(tmp_path, files) == 5


@pytest.mark.parametrize(("quota", "cpus"), [("250000", 3), ("-1", 64)])
def test_cgroup_v1(tmp_path: Path, quota: str, cpus: int) -> None:
    files = {
        "proc/self/cgroup": "11:memory:/job\n4:cpu,cpuacct:/job\n0::/\n",
        "proc/self/mountinfo": V2_MOUNT.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified") + V1_MOUNT,
        "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": f"{quota}\n",
        "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
    }
    assert counted(tmp_path, files) == cpus


@pytest.mark.parametrize("name", ["PYTHON_CPU_COUNT", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"])
def test_environment(tmp_path: Path, name: str) -> None:
    assert counted(tmp_path, {}, **{name: "7"}) == 7
    assert counted(tmp_path, {}, **{name: "default"}) == 64
    assert counted(tmp_path, {}, **{name: "0"}) == 64


def test_the_least_of_all_counts_and_is_named(tmp_path: Path) -> None:
    root = machine(tmp_path, v2("/job", job="600000 100000"))
    assert available_cpus(root=root, environment={"SLURM_CPUS_ON_NODE": "8"}) == Counted(
        6, "the CPU quota of this container"
    )
    assert available_cpus(root=root, environment={"SLURM_CPUS_ON_NODE": "4"}) == Counted(4, "SLURM_CPUS_ON_NODE")


@pytest.mark.parametrize(("limit", "cpus"), [(None, 64), (3, 3), (100, 64), (-60, 4), (-100, 1)])
def test_limit_of_the_settings(tmp_path: Path, limit: int | None, cpus: int) -> None:
    assert available_cpus(root=str(tmp_path), environment={}, limit=limit).count == cpus


@pytest.mark.parametrize(
    ("environment", "limit", "note"),
    [
        ({"PYTHON_CPU_COUNT": "many"}, None, "PYTHON_CPU_COUNT=many is no number of CPUs, and is ignored"),
        ({"PYTHON_CPU_COUNT": "default"}, None, ""),
        ({"SLURM_CPUS_PER_TASK": "-2", "SLURM_CPUS_ON_NODE": "8"}, None, "SLURM_CPUS_PER_TASK=-2 is no number of"),
        ({}, 0, "COVEY_MAX_CPU=0 leaves none of 64 CPUs (the CPUs this process may run on), so one is used"),
        ({}, -64, "COVEY_MAX_CPU=-64 leaves none of 64 CPUs"),
        ({}, 100, ""),
    ],
)
def test_what_is_not_followed_is_noted(
    tmp_path: Path, environment: dict[str, str], limit: int | None, note: str
) -> None:
    notes = available_cpus(root=str(tmp_path), environment=environment, limit=limit).notes
    assert len(notes) == bool(note)
    assert "".join(notes).startswith(note)


def test_this_machine_has_a_cpu() -> None:
    assert available_cpus().count >= 1


@pytest.mark.parametrize(
    ("said", "node", "cpus"),
    [
        ("4(x2),3", "", 4),
        ("4(x2),3", "1", 4),
        ("4(x2),3", "2", 3),
        ("4(x2),3", "3", 64),
        ("16", "0", 16),
        ("many", "0", 64),
        ("4(x2),3", "one", 64),
    ],
)
def test_a_batch_job_that_says_what_each_of_its_nodes_has(tmp_path: Path, said: str, node: str, cpus: int) -> None:
    more = {"SLURM_NODEID": node} if node else {}
    assert counted(tmp_path, {}, SLURM_JOB_CPUS_PER_NODE=said, **more) == cpus


def test_what_a_batch_job_gave_to_one_task_counts_before_what_the_node_has(tmp_path: Path) -> None:
    job = {"SLURM_JOB_CPUS_PER_NODE": "32", "SLURM_CPUS_ON_NODE": "16"}
    assert counted(tmp_path, {}, **job) == 16
    assert counted(tmp_path, {}, **job, SLURM_CPUS_PER_TASK="20") == 20
