# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's counts of what it has killed for want of memory, in groups of both versions, as fixtures."""
import os
import signal
from pathlib import Path

from covey.node.seats import seats_of
from covey.node.starvation import KillCounter
from fakes import fake_launcher
from waiting import wait_until


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def version_1(root: Path, count: int) -> None:
    write(root, {
        "proc/self/cgroup": "4:memory:/jobs/7\n0::/\n",
        "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        "sys/fs/cgroup/memory/jobs/7/memory.oom_control": f"oom_kill_disable 0\nunder_oom 0\noom_kill {count}\n",
        "sys/fs/cgroup/memory/jobs/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    })


def version_2(root: Path, count: int, above: int) -> None:
    write(root, {
        "proc/self/cgroup": "0::/user.slice/job.scope\n",
        "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/user.slice/job.scope/memory.events": f"low 0\nhigh 2\nmax 4\noom 1\noom_kill {count}\n",
        "sys/fs/cgroup/user.slice/memory.events": f"low 0\nhigh 0\nmax 0\noom 0\noom_kill {above}\n",
    })


def test_a_step_of_the_counter_is_evidence_in_version_1(tmp_path: Path) -> None:
    version_1(tmp_path, 3)
    counter = KillCounter(root=str(tmp_path))
    before = counter.now()
    assert counter.explains(before) is False, "what it had counted before the slot was started is not about it"
    version_1(tmp_path, 4)
    assert counter.explains(before) is True


def test_a_step_explains_one_death(tmp_path: Path) -> None:
    version_1(tmp_path, 0)
    counter = KillCounter(root=str(tmp_path))
    before = counter.now()
    version_1(tmp_path, 1)
    assert [counter.explains(before), counter.explains(before)] == [True, False]
    version_1(tmp_path, 3)
    assert [counter.explains(before) for _ in range(3)] == [True, True, False]


def test_a_group_above_counts_too_in_version_2(tmp_path: Path) -> None:
    version_2(tmp_path, 0, 5)
    counter = KillCounter(root=str(tmp_path))
    before = counter.now()
    version_2(tmp_path, 0, 6)
    assert counter.explains(before) is True
    version_2(tmp_path, 1, 7)
    assert [counter.explains(before), counter.explains(before)] == [True, False], "both count the same death"


def test_in_no_group_the_machine_counts(tmp_path: Path) -> None:
    write(tmp_path, {"proc/vmstat": "pgfault 12\noom_kill 1\n", "proc/self/cgroup": "0::/\n"})
    counter = KillCounter(root=str(tmp_path))
    before = counter.now()
    assert counter.explains(before) is False
    write(tmp_path, {"proc/vmstat": "pgfault 14\noom_kill 2\n"})
    assert counter.explains(before) is True


def test_where_nothing_counts_nobody_knows(tmp_path: Path) -> None:
    version_1(tmp_path, 0)
    write(tmp_path, {f"sys/fs/cgroup/memory/jobs{part}/memory.oom_control": "under_oom 0\n" for part in ("", "/7")})
    counter = KillCounter(root=str(tmp_path))
    assert counter.now() == {}
    assert counter.explains({}) is None


def test_who_we_killed_ourselves_is_explained_and_takes_no_step_from_another(tmp_path: Path) -> None:
    version_1(tmp_path, 0)
    counter = KillCounter(root=str(tmp_path))
    launcher = fake_launcher(tmp_path, "up(); hold()")
    seats = seats_of(2)
    try:
        ours, theirs = (launcher.start(seat, counter.now()) for seat in seats)
        wait_until(lambda: ours.is_up() and theirs.is_up())
        # The kernel ends one while the other is to end at once.
        version_1(tmp_path, 1)
        ours.kill("its task was to end at once")
        os.kill(theirs.pid, signal.SIGKILL)
        endings = [child.reap("here", counter) for child in (ours, theirs)]
    finally:
        launcher.close()
    assert [ending.starved for ending in endings] == [False, True]
    assert endings[0].report().endswith("was stopped: its task was to end at once")
