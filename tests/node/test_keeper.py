# SPDX-License-Identifier: BSD-3-Clause
"""The keeper, with a recorded loop and real processes that die in every way."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from covey import slot
from covey.errors import CoveyError, SlotsWillNotStart
from covey.node import launch
from covey.node.devices import Gpu
from covey.node.keeper import Keeper
from covey.node.seats import Seat, seats_of
from fakes import FakeLoop, fake_launcher
from waiting import wait_until

HOLD = "up(); hold()"
Keep = Callable[..., Keeper]


@pytest.fixture
def loop() -> Iterator[FakeLoop]:
    loop = FakeLoop()
    yield loop
    loop.close()


@pytest.fixture
def broken() -> list[CoveyError]:
    return []


@pytest.fixture
def keep(tmp_path: Path, loop: FakeLoop, broken: list[CoveyError]) -> Iterator[Keep]:
    keepers: list[Keeper] = []

    def keep(program: str, count: int = 1, seats: list[Seat] | None = None) -> Keeper:
        launcher = fake_launcher(tmp_path, program)
        keeper = Keeper(seats or seats_of(count), launcher, loop, broken.append, slots_per_gpu=3)
        keepers.append(keeper)
        keeper.start()
        return keeper

    yield keep
    for keeper in keepers:
        keeper.close(kill=True)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_up(tmp_path: Path, name: str = "ready") -> None:
    wait_until((tmp_path / name).exists)


def ready(tmp_path: Path) -> str:
    """A program's line that says that it has come so far."""
    return f"open({str(tmp_path / 'ready')!r}, 'w').close()\n"


def test_slots_are_started_and_announced_and_gone_after_close(keep: Keep, loop: FakeLoop, tmp_path: Path) -> None:
    keeper = keep(HOLD, 3)
    pids = [loop.pid_of(number) for number in (1, 2, 3)]
    assert keeper.pids() == pids
    assert [os.getpgid(pid) for pid in pids] == pids, "each is a process group of its own"
    keeper.close(kill=True)
    assert not any(exists(pid) for pid in pids)
    assert sorted(pid for pid, _, _ in loop.deaths) == sorted(pids)
    assert [path.name for path in tmp_path.iterdir()] == ["program"]


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_killed_slot_is_reported_and_replaced(
    keep: Keep, loop: FakeLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    caplog.set_level(logging.WARNING, "covey.node")
    keep("up()\nnumber == 1 and " + ready(tmp_path) + "hold()", 2)
    first, bystander = loop.pid_of(1), loop.pid_of(2)
    wait_up(tmp_path)
    os.kill(first, number)
    second = loop.pid_of(1, 1)
    (death,) = loop.wait_deaths(1)
    assert death[:2] == (first, False)
    assert death[2].startswith(f"slot 1 (pid {first} on {os.uname().nodename}) was killed by {number.name}")
    assert second != first
    assert exists(bystander)
    assert death[2] in caplog.text


@pytest.mark.faults
def test_the_task_that_ran_is_read_from_the_dead(keep: Keep, loop: FakeLoop) -> None:
    keep("up(); os.pwrite(mark, (4711).to_bytes(8, sys.byteorder), 0); os._exit(1)")
    loop.wait_deaths(1)
    assert loop.tokens[0] == 4711


@pytest.mark.faults
def test_exit_codes(keep: Keep, loop: FakeLoop, tmp_path: Path) -> None:
    keep("up(); os._exit(3) if not os.path.exists(program + '2') and [open(program + '2', 'w')] else hold()")
    first = loop.pid_of(1)
    loop.pid_of(1, 1)
    assert loop.deaths == [(first, False, f"slot 1 (pid {first} on {os.uname().nodename}) exited with code 3")]


def test_a_planned_exit_is_no_death_to_complain_about(
    keep: Keep, loop: FakeLoop, broken: list[CoveyError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "covey.node")
    keep(f"up(); os._exit({slot.EXIT_PLANNED})")
    assert [planned for _, planned, _ in loop.wait_deaths(5)[:5]] == [True] * 5
    assert broken == []
    assert caplog.text == ""


@pytest.mark.faults
def test_what_faulthandler_wrote_is_in_the_report(keep: Keep, loop: FakeLoop) -> None:
    program = (
        "import faulthandler\n"
        "def crash(): faulthandler._sigsegv()\n"
        "if not os.path.exists(program + '2'):\n"
        "    open(program + '2', 'w').close(); up(); faulthandler.enable(2); crash()\n"
        "up(); hold()\n"
    )
    keep(program)
    (death,) = loop.wait_deaths(1)
    assert "was killed by SIGSEGV in crash (<string>:2), called from <module> (<string>:4)" in death[2]


@pytest.mark.faults
def test_what_it_wrote_to_stderr_last_is_in_the_report_and_not_in_the_log(
    keep: Keep, loop: FakeLoop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "covey.node")
    keep("up(); os.write(stderr, b'first\\nsecond\\n'); os._exit(3)")
    (death,) = loop.wait_deaths(1)[:1]
    assert death[2].endswith("exited with code 3; the last lines of its stderr:\nfirst\nsecond")
    wait_until(lambda: "exited with code 3; another is started in its place" in caplog.text)


@pytest.mark.faults
def test_slots_that_do_not_start_are_said_to_have_written_it(
    keep: Keep, loop: FakeLoop, broken: list[CoveyError]
) -> None:
    keep("os.write(stderr, b'loading the model\\nno such file\\n'); os._exit(3)")
    wait_until(lambda: broken)
    assert str(broken[0]).endswith("before it was ready for tasks: no such file\nloading the model\nno such file")


@pytest.mark.faults
def test_what_a_slot_started_dies_with_it(keep: Keep, loop: FakeLoop, tmp_path: Path) -> None:
    program = (
        "child = os.fork()\n"
        "if child == 0: signal.pause()\n"
        "open(program + '.child', 'w').write(str(child)); os.rename(program + '.child', program + '.ready')\n"
        "up(); hold()\n"
    )
    keep(program)
    first = loop.pid_of(1)
    wait_up(tmp_path, "program.ready")
    grandchild = int((tmp_path / "program.ready").read_text())
    os.kill(first, signal.SIGKILL)
    loop.wait_deaths(1)
    # It is a zombie until its new parent, whoever that is, has looked.
    wait_until(lambda: not exists(grandchild) or "\nState:\tZ" in Path(f"/proc/{grandchild}/status").read_text())


@pytest.mark.faults
def test_the_loop_may_order_a_slot_killed(keep: Keep, loop: FakeLoop) -> None:
    keep("signal.signal(signal.SIGTERM, signal.SIG_IGN); " + HOLD)
    first = loop.pid_of(1)
    loop.order("setup", first, b"")
    loop.order("kill", 1, b"")
    loop.order("kill", first, b"its task took longer than 5 s")
    (death,) = loop.wait_deaths(1)
    assert death == (
        first,
        False,
        f"slot 1 (pid {first} on {os.uname().nodename}) was stopped: its task took longer than 5 s",
    )
    assert loop.pid_of(1, 1) != first


@pytest.mark.faults
def test_slots_that_never_come_up_are_given_up_with_their_own_words(
    keep: Keep, loop: FakeLoop, broken: list[CoveyError]
) -> None:
    keep("raise ImportError('no module named antigravity2')", 2)
    wait_until(lambda: broken)
    (error,) = broken
    assert isinstance(error, SlotsWillNotStart)
    assert "exited with code 1 before it was ready for tasks: ImportError: no module named antigravity2" in str(error)
    assert "Traceback" in str(error)
    # The one that was starting at that moment may still come and go; no more are started.
    wait_until(lambda: len(loop.deaths) == len(loop.expected))
    assert len(loop.expected) <= 5


@pytest.mark.faults
def test_slots_that_somebody_kills_as_they_start_are_given_more_chances(
    keep: Keep, loop: FakeLoop, broken: list[CoveyError]
) -> None:
    keep("os.kill(os.getpid(), 9)", 3)
    loop.wait_deaths(6)
    assert broken == []


@pytest.mark.faults
def test_one_slot_that_does_not_start_leaves_the_others_alone(
    keep: Keep, loop: FakeLoop, broken: list[CoveyError]
) -> None:
    keeper = keep("number == 2 and (os.read(0, 1), os._exit(1)); " + HOLD, 2)
    loop.pid_of(2, 3)
    assert broken == []
    assert exists(loop.pid_of(1))
    begun = time.monotonic()
    keeper.close(kill=True)
    assert time.monotonic() - begun < 5.0, "a start that is due later is not waited for"


@pytest.mark.faults
def test_a_failing_start_recovers(keep: Keep, loop: FakeLoop, broken: list[CoveyError]) -> None:
    keep("os.path.exists(program + '2') or (open(program + '2', 'w').close(), os._exit(1)); " + HOLD)
    assert exists(loop.pid_of(1, 1))
    assert broken == []


@pytest.mark.faults
def test_a_program_that_cannot_be_executed(tmp_path: Path, loop: FakeLoop, broken: list[CoveyError]) -> None:
    launcher = fake_launcher(tmp_path, HOLD)
    launcher.command[0] = str(tmp_path / "missing")
    keeper = Keeper(seats_of(2), launcher, loop, broken.append)
    keeper.start()
    wait_until(lambda: broken)
    keeper.close()
    assert "slot 1 on" in str(broken[0])
    assert "cannot be started" in str(broken[0])
    assert "missing" in str(broken[0])


def test_slots_that_leave_in_time_are_not_killed(keep: Keep, loop: FakeLoop, tmp_path: Path) -> None:
    leave = f"signal.signal(signal.SIGUSR1, lambda *_: os._exit({slot.EXIT_PLANNED})); up()\n"
    keeper = keep(leave + ready(tmp_path) + "hold()")
    wait_up(tmp_path)
    keeper.retire(30.0)
    os.kill(loop.pid_of(1), signal.SIGUSR1)
    keeper.close(30.0)
    assert [planned for _, planned, _ in loop.deaths] == [True]
    assert len(loop.expected) == 1, "a slot that leaves while the node closes is not replaced"


@pytest.mark.faults
def test_slots_that_do_not_leave_are_killed_when_the_grace_is_over(keep: Keep, loop: FakeLoop) -> None:
    keeper = keep("signal.signal(signal.SIGTERM, signal.SIG_IGN); " + HOLD, 2)
    loop.pid_of(2)
    keeper.close(0.05)
    assert ["was stopped: its node was closed" in report for _, _, report in loop.deaths] == [True, True]


@pytest.mark.faults
def test_a_second_close_makes_the_first_one_shorter(keep: Keep, loop: FakeLoop) -> None:
    keeper = keep(HOLD)
    loop.pid_of(1)
    first = threading.Thread(target=keeper.close, args=(1000.0,))
    first.start()
    wait_until(lambda: "closed" in repr(keeper))
    keeper.close(kill=True)
    first.join(20.0)
    assert not first.is_alive()


def test_close_without_start_and_start_after_close(tmp_path: Path, loop: FakeLoop) -> None:
    keeper = Keeper(seats_of(1), fake_launcher(tmp_path, HOLD), loop)
    assert "new" in repr(keeper)
    keeper.close()
    keeper.start()
    keeper.close()
    assert loop.expected == []


def test_close_during_the_start(keep: Keep, loop: FakeLoop) -> None:
    keep(HOLD, 20).close(kill=True)
    assert len(loop.deaths) == len(loop.expected)


def test_it_may_be_closed_from_its_own_callback(tmp_path: Path, loop: FakeLoop) -> None:
    told = threading.Event()

    def on_broken(error: CoveyError) -> None:
        keeper.close(kill=True)
        told.set()

    keeper = Keeper(seats_of(1), fake_launcher(tmp_path, "os._exit(1)"), loop, on_broken)
    keeper.start()
    assert told.wait(20.0)
    keeper.close()


@pytest.mark.faults
def test_slots_get_none_of_our_descriptors(keep: Keep, loop: FakeLoop, tmp_path: Path) -> None:
    program = (
        "names = sorted(os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if int(n) > 2 "
        "and int(n) not in (lifeline, stderr) and os.path.exists(f'/proc/self/fd/{n}'))\n"
        "with open(f'{program}.{number}', 'w') as file: file.write(chr(10).join(names))\n"
        "os.rename(f'{program}.{number}', f'{program}.{number}.ready')\n"
        "up(); hold()\n"
    )
    leaky, other = os.pipe()
    os.set_inheritable(leaky, True)
    try:
        keep(program, 3)
        for number in (1, 2, 3):
            wait_up(tmp_path, f"program.{number}.ready")
            held = (tmp_path / f"program.{number}.ready").read_text().splitlines()
            assert [name for name in held if "pipe" in name] == []
            assert not [name for name in held if name.endswith(".log") or "anon_inode" in name]
    finally:
        os.close(leaky)
        os.close(other)


@pytest.mark.faults
def test_slots_see_that_their_parent_is_gone(loop: FakeLoop, tmp_path: Path) -> None:
    launcher = fake_launcher(tmp_path, "up(); hold(); os._exit(5)")
    keeper = Keeper(seats_of(1), launcher, loop)
    keeper.start()
    loop.pid_of(1)
    keeper.retire(1000.0)
    # As the kernel does it for a process that ends.
    launcher.close()
    assert "exited with code 5" in loop.wait_deaths(1)[0][2]
    keeper.close(kill=True)


@pytest.mark.faults
def test_without_pidfd(keep: Keep, loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    keeper = keep(HOLD, 2)
    first = loop.pid_of(1)
    os.kill(first, signal.SIGKILL)
    loop.pid_of(1, 1)
    assert "SIGKILL" in loop.wait_deaths(1)[0][2]
    keeper.close(kill=True)


@pytest.mark.faults
def test_where_the_program_ignores_its_children(keep: Keep, loop: FakeLoop) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        keeper = keep(HOLD)
        os.kill(loop.pid_of(1), signal.SIGKILL)
        assert "took its exit status" in loop.wait_deaths(1)[0][2]
        keeper.close(kill=True)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_forked_child_kills_nobody(keep: Keep, loop: FakeLoop) -> None:
    keeper = keep(HOLD)
    pid = loop.pid_of(1)
    child = os.fork()
    if child == 0:
        try:
            keeper.abandon()
            keeper.close(kill=True)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert exists(pid)
    assert loop.deaths == []


def test_without_the_callers_stdout_and_stderr(keep: Keep, loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_is_open", lambda descriptor: False)
    keep("up(); os.write(stderr, b'x'); os.write(1, b'x'); hold()")
    assert exists(loop.pid_of(1))


def test_a_gpu_gets_more_slots_when_a_part_of_it_is_asked_for(keep: Keep, loop: FakeLoop, tmp_path: Path) -> None:
    report = f"open({str(tmp_path)!r} + f'/{{number}}-{{device}}-' + os.environ['CUDA_VISIBLE_DEVICES'], 'w').close(); "
    keeper = keep(report + HOLD, seats=seats_of(1, [Gpu("GPU-a", "Fake", 8, 8, 0)]))
    first = loop.pid_of(2)
    loop.order("share", 5000, b"")
    loop.pid_of(3)
    loop.order("share", 1, b"")
    loop.pid_of(4)
    wait_until(lambda: len(list(tmp_path.glob("*-0-GPU-a"))) == 3, lambda: list(tmp_path.iterdir()))
    assert loop.pid_of(2) == first
    assert keeper.find_seat(4) == Seat(4, slot.GPU, Gpu("GPU-a", "Fake", 8, 8, 0), 0)
    assert keeper.find_seat(5) is None


@pytest.mark.faults
def test_a_slot_beside_others_on_a_gpu_is_replaced_there(keep: Keep, loop: FakeLoop) -> None:
    keep(HOLD, seats=seats_of(0, [Gpu("GPU-a", "Fake", 8, 8, 0), Gpu("GPU-b", "Fake", 8, 8, 1)]))
    loop.order("share", 5000, b"")
    fourth = loop.pid_of(4)
    wait_shown(fourth, "GPU-b")
    wait_shown(loop.pid_of(3), "GPU-a")
    os.kill(fourth, signal.SIGKILL)
    wait_shown(loop.pid_of(4, 1), "GPU-b")


def wait_shown(pid: int, gpu: str) -> None:
    # Not at once: before it becomes a slot it is a copy of this process.
    wanted = f"CUDA_VISIBLE_DEVICES={gpu}".encode()
    wait_until(lambda: wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))


def test_where_there_is_no_gpu_nobody_is_started_for_a_part_of_one(keep: Keep, loop: FakeLoop) -> None:
    keep(HOLD)
    loop.pid_of(1)
    loop.order("share", 5000, b"")
    loop.order("kill", loop.pid_of(1), b"it is over")
    loop.pid_of(1, 1)
    assert {number for number, _ in loop.expected} == {1}
