# SPDX-License-Identifier: BSD-3-Clause
"""The node inside the client's process, with a recorded loop and slots that only wait."""

import contextlib
import gc
import os
import signal
import stat
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from covey import slot
from covey.errors import CoveyError
from covey.link.plain import SharedContext
from covey.node import local
from covey.node.local import LocalNode
from covey.node.outfit import slot_environment
from covey.settings import Settings
from fakes import FAKE_SLOT, FakeLoop
from waiting import wait_until

LEAVE_WHEN_TOLD = f"""
signal.signal(signal.SIGUSR1, lambda *_: os._exit({slot.EXIT_PLANNED}))
up()
open(sys.argv[1] + '.ready', 'w').close()
hold()
"""
SETTINGS = Settings(grace=30.0)
MakeNode = Callable[..., LocalNode]


class Loop(FakeLoop):
    """Slots that are told to leave are told so by a signal; what stands for the wire here."""

    def stop_slots(self) -> None:
        super().stop_slots()
        gone = {pid for pid, _, _ in self.deaths}
        for _, pid in self.expected:
            if pid not in gone:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)


@pytest.fixture
def make_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MakeNode]:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    for name in ("PYTHON_CPU_COUNT", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    program = tmp_path / "program"
    nodes: list[tuple[LocalNode, FakeLoop]] = []

    class Launcher(local.Launcher):
        def __init__(self, outfit: str, environment: dict[str, str], folder: str) -> None:
            super().__init__(outfit, environment, folder)
            self.command = [sys.executable, "-S", "-E", "-c", FAKE_SLOT, str(program)]

    monkeypatch.setattr(local, "Launcher", Launcher)

    def make(text: str = LEAVE_WHEN_TOLD, settings: Settings = SETTINGS, **more: object) -> LocalNode:
        program.write_text(text)
        node = LocalNode(settings, make_loop=Loop, **more)  # type: ignore[arg-type]
        assert isinstance(node.loop, Loop)
        nodes.append((node, node.loop))
        return node

    yield make
    for node, loop in nodes:
        node.close(kill=True)
        loop.close()


def loop_of(node: LocalNode) -> FakeLoop:
    assert isinstance(node.loop, FakeLoop)
    return node.loop


def wait_up(node: LocalNode, tmp_path: Path) -> None:
    wait_until(lambda: len(node.pids()) == node.count and (tmp_path / "program.ready").exists())


def test_it_starts_at_once_and_closes_in_order(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node(max_cpu=1)
    folder = Path(node.address.removeprefix("ipc://")).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "outfit").stat().st_mode) == 0o600
    assert len(node.address) < 100
    assert node.inproc.startswith("inproc://covey-")
    assert "of 1 slot at" in repr(node)
    node.start()
    wait_up(node, tmp_path)
    assert node.totals() == {"doers": 1}
    assert [entry["number"] for entry in node.slots()] == [1]
    node.close()
    assert loop_of(node).told_to_leave == 1
    assert [planned for _, planned, _ in loop_of(node).deaths] == [True]
    assert not folder.exists()
    assert node.closed
    assert "closed" in repr(node)
    node.close()


def test_kill_asks_nobody(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node()
    node.start()
    node.close(kill=True)
    assert loop_of(node).told_to_leave == 0
    assert node.pids() == []


def test_a_node_that_was_never_started(make_node: MakeNode) -> None:
    make_node().close()


@pytest.mark.parametrize("kill", [True, False])
@pytest.mark.parametrize("native", [True, False])
def test_one_that_was_never_started_gives_its_context_back(native: bool, kill: bool) -> None:
    node = LocalNode(Settings(native=native), max_cpu=1, max_gpu=0)
    assert native or SharedContext._now is not None
    node.close(kill=kill)
    assert SharedContext._now is None


def test_one_that_cannot_be_leaves_nothing_of_its_loop() -> None:
    with pytest.raises(CoveyError, match="machines need covey's native loop"):
        LocalNode(Settings(native=False), max_cpu=1, max_gpu=0, links=True)
    assert SharedContext._now is None


def test_counts(make_node: MakeNode) -> None:
    assert make_node().count == 3
    assert make_node(max_cpu=-1).count == 2
    assert make_node(settings=Settings(max_cpu=2)).count == 2
    with pytest.raises(ValueError, match="max_cpu=0 leaves nothing that could run a task"):
        make_node(max_cpu=0)
    with pytest.warns(UserWarning, match="max_cpu=77 is more than the 3 available"):
        assert make_node(max_cpu=77).count == 3


def test_a_loop_that_cannot_be_made_leaves_nothing(make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> FakeLoop:
        raise OSError(98, "address in use")

    with pytest.raises(OSError, match="address in use"):
        LocalNode(SETTINGS, make_loop=fail)


@pytest.mark.faults
def test_slots_that_do_not_start_are_told_once(make_node: MakeNode) -> None:
    told: list[CoveyError] = []
    node = make_node("raise SystemExit('no licence')", max_cpu=2, on_broken=told.append)
    node.start()
    wait_until(lambda: told)
    node.close()
    assert len(told) == 1
    assert "no licence" in str(told[0])


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_fails_is_told(make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: FakeLoop) -> None:
        raise MemoryError("tables")

    monkeypatch.setattr(Loop, "run", fail)
    told: list[CoveyError] = []
    node = make_node(on_broken=told.append)
    node.start()
    wait_until(lambda: told)
    assert "MemoryError" in str(told[0])
    node.close(kill=True)


@pytest.mark.faults
def test_a_forked_child_leaves_everything_to_its_parent(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node(max_cpu=1)
    node.start()
    wait_up(node, tmp_path)
    lifeline = node._keeper._launcher._held
    child = os.fork()
    if child == 0:
        code = 1
        try:
            node.close(kill=True)
            node._folder.remove()
            try:
                os.fstat(lifeline)
            except OSError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0, "the child must not hold the lifeline: slots would outlive their node"
    assert os.path.exists(node.address.removeprefix("ipc://").replace("broker", "outfit"))
    assert loop_of(node).deaths == []


def test_a_closed_node_is_garbage(make_node: MakeNode, tmp_path: Path) -> None:
    told: list[CoveyError] = []
    node = LocalNode(SETTINGS, max_cpu=1, on_broken=told.append, make_loop=FakeLoop)
    loop_of(node).close()
    node.close(kill=True)
    reference = weakref.ref(node)
    del node
    gc.collect()
    assert reference() is None


def test_the_environment_of_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    environment = slot_environment(8, 3)
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["MKL_NUM_THREADS"] == "7"
    assert slot_environment(2, 2)["OPENBLAS_NUM_THREADS"] == "1"


def test_no_thread_is_left_and_importing_the_node_starts_none() -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import covey.node.local, threading; "
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("covey")]
