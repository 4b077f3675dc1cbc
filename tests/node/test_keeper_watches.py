# SPDX-License-Identifier: BSD-3-Clause
"""The keeper looks at the memory of those that work, tells why a slot died, and leaves nothing of it behind."""
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from covey.node import launch
from covey.node.devices import Gpu
from covey.node.keeper import Keeper
from covey.node.memory import Memory
from covey.node.seats import Seat, seats_of
from covey.node.watch import MemoryWatch
from fakes import FakeLoop, fake_launcher
from waiting import wait_until

pytestmark = pytest.mark.faults

WORKS = "up(); os.pwrite(mark, (4000 + number).to_bytes(8, sys.byteorder) + b'f', 0); hold()"
IDLES = "up(); hold()"
Keep = Callable[..., Keeper]


@pytest.fixture
def loop() -> Iterator[FakeLoop]:
    loop = FakeLoop()
    yield loop
    loop.close()


@pytest.fixture
def keep(tmp_path: Path, loop: FakeLoop) -> Iterator[Keep]:
    keepers: list[Keeper] = []

    def keep(program: str, seats: list[Seat], **more: object) -> Keeper:
        keepers.append(Keeper(seats, fake_launcher(tmp_path, program), loop, **more))  # type: ignore[arg-type]
        keepers[-1].start()
        return keepers[-1]

    yield keep
    for keeper in keepers:
        keeper.close(kill=True)


class Looks:
    """A watch over slots that take what a test says; counts how often it looks."""

    def __init__(self, limit: int = 0, left: int = 1000) -> None:
        self.count = 0
        self.taken = 1
        self.left = left
        self.watch = MemoryWatch(limit, resident=lambda pid: self.taken, free=self._free)
        self.watch.pause = 0.01

    def _free(self) -> Memory:
        self.count += 1
        return Memory(1000, self.left, "the memory of this machine")


def test_nobody_looks_before_a_task_runs(keep: Keep, loop: FakeLoop) -> None:
    looks = Looks()
    keep(IDLES, seats_of(1), watch=looks.watch)
    loop.pid_of(1)
    wait_until(lambda: loop.waits_for_work == 1)
    loop.order("work", 0, b"")
    wait_until(lambda: loop.waits_for_work == 2)
    assert looks.count == 0, "it was over when the time to look had come, and the keeper waits for the next"


def test_a_task_that_runs_already_is_looked_at(keep: Keep, loop: FakeLoop) -> None:
    looks = Looks()
    loop.busy = True
    keep(WORKS, seats_of(1), watch=looks.watch)
    wait_until(lambda: looks.count > 0)


def test_a_slot_over_its_limit_is_ended_and_the_broker_told_why(keep: Keep, loop: FakeLoop) -> None:
    looks = Looks(limit=1000)
    loop.busy = True
    keep(WORKS, seats_of(1), watch=looks.watch)
    pid = loop.pid_of(1)
    looks.taken = 960
    ((dead, planned, report), *_) = loop.wait_deaths(1)
    looks.taken = 1
    assert (dead, planned, loop.starved[0], loop.tokens[0]) == (pid, False, True, 4001)
    assert report.endswith(
        "was killed because memory ran out: it had 960 bytes of the 1,000 bytes that a slot may have (slot_max_rss)")


def test_a_machine_that_is_short_ends_what_may_be_tried_again(keep: Keep, loop: FakeLoop) -> None:
    looks = Looks(left=10)
    loop.busy = True
    loop.precious = {4002}
    keep(WORKS, seats_of(2), watch=looks.watch)
    first = loop.pid_of(1)
    loop.pid_of(2)
    ((dead, _, report), *_) = loop.wait_deaths(1)
    looks.left = 1000
    assert dead == first
    assert "of the memory of this machine only 10 bytes of 1,000 bytes were left" in report


def test_one_that_is_killed_by_somebody_is_not_starved(keep: Keep, loop: FakeLoop) -> None:
    keep(WORKS, seats_of(1))
    os.kill(loop.pid_of(1), signal.SIGKILL)
    loop.wait_deaths(1)
    assert loop.starved[0] is False


def test_the_most_that_it_had_is_told(keep: Keep, loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    # A test run is large itself, and a process counts from what its parent had.
    monkeypatch.setattr(launch, "_peak_of_us", lambda: 0)
    keep("up(); block = bytearray(50 << 20); block[::4096] = bytes(len(block) // 4096); os._exit(3)", seats_of(1))
    loop.wait_deaths(1)
    assert loop.peaks[0] > 50 << 20


def test_a_slot_counts_from_what_its_parent_has_and_not_from_what_that_began_with() -> None:
    script = "from covey.node.launch import _peak_of_us; print(_peak_of_us())"
    block = bytearray(200 << 20)
    block[::4096] = bytes(len(block) // 4096)
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))})
    assert 0 < int(said.stdout) < 150 << 20
    assert launch._peak_of_us() > len(block)


def test_each_slot_is_a_group(keep: Keep, loop: FakeLoop) -> None:
    keep(IDLES, seats_of(2))
    for number in (1, 2):
        assert os.getpgid(loop.pid_of(number)) == loop.pid_of(number)


def test_orphans_are_reaped_where_they_are_adopted(keep: Keep, loop: FakeLoop, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = f"""
up()
if not os.path.exists({str(note)!r}):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        with open({str(note)!r} + ".part", "w") as file:
            file.write(str(os.getpid()))
        os.rename({str(note)!r} + ".part", {str(note)!r})
        signal.pause()
    os.wait()
hold()
"""
    keeper = keep(program, seats_of(1))
    keeper.adopt(True)
    try:
        wait_until(note.exists)
        orphan = int(note.read_text())
        os.kill(loop.pid_of(1), signal.SIGKILL)
        loop.wait_deaths(1)
        keeper.close(kill=True)
        wait_until(lambda: not Path(f"/proc/{orphan}").exists(), lambda: Path(f"/proc/{orphan}/status").read_text())
    finally:
        keeper.adopt(False)


def test_after_the_death_of_a_slot_with_a_gpu_somebody_asks_for_leftovers(
    keep: Keep, loop: FakeLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from covey.node import keeper as keeper_module
    from covey.node.local import tell_leftovers
    from fakenvml import Device, FakeNvml, Process

    monkeypatch.setattr(keeper_module, "_DRIVERS_TIME", 0.0)
    caplog.set_level(logging.WARNING, "covey.node")
    gpu = Gpu("GPU-1a", "a GPU", 8 << 30, 8 << 30, 0)
    device = Device("GPU-1a")
    nvml = FakeNvml([device])
    asked: list[int] = []

    def ask(seat: Seat, pid: int) -> None:
        tell_leftovers(nvml, seat, pid)
        asked.append(pid)

    keep(IDLES, seats_of(0, [gpu]), on_gpu_death=ask)
    first = loop.pid_of(1)
    device.processes = [Process(first, 3 << 30), Process(1, 1 << 30)]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: asked == [first])
    assert f"slot 1 (pid {first}) has died, and GPU 0 (GPU-1a) still holds 3,072.0 MiB of its memory" in caplog.text
    caplog.clear()
    second = loop.pid_of(1, 1)
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: asked == [first, second])
    assert "still holds" not in caplog.text
    assert nvml.calls == ["init", "shutdown"] * 2
