# SPDX-License-Identifier: BSD-3-Clause
"""What a task is told of where it is, and the CUDA context that it gets there; runner and PyCUDA pretend."""

import atexit
import os
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

import covey
from covey import gpu, slot
from covey.distributed.call import adapted
from covey.slot.current import Current, current


@pytest.fixture
def in_slot(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A slot 3 on no GPU, in the second attempt at a task; what it returns is its runner."""
    runner = SimpleNamespace(attempt=2, share=0)
    monkeypatch.setattr(slot, "number", 3)
    monkeypatch.setattr(slot, "running", runner)
    return runner


@pytest.fixture
def in_gpu_slot(in_slot: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "kind", slot.GPU)
    monkeypatch.setattr(slot, "gpus", ("GPU-a",))


def test_outside_a_slot_there_is_nothing_to_tell() -> None:
    assert covey.current() is None


def test_between_tasks_there_is_nothing_to_tell(in_slot: SimpleNamespace) -> None:
    in_slot.attempt = 0
    assert current() is None


def test_in_a_task(in_slot: SimpleNamespace) -> None:
    here = current()
    assert here == Current(os.uname().nodename, 3, 2, (), None)
    assert not here.is_gpu


def test_in_a_task_with_a_gpu(in_gpu_slot: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "node", "desk")
    here = current()
    assert here is not None
    assert (here.gpus, here.is_gpu, here.node, here.gpu_share) == (("GPU-a",), True, "desk", 1.0)


def test_in_a_task_with_a_part_of_a_gpu(
    in_slot: SimpleNamespace, in_gpu_slot: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_slot.share = 2500
    here = current()
    assert here is not None
    assert here.gpu_share == 0.25
    monkeypatch.setattr(slot, "gpus", ())
    assert current() == Current(os.uname().nodename, 3, 2, (), None, 0.0)


def test_use_gpu_is_decided_where_the_call_runs(in_slot: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    call = adapted(lambda x, use_gpu: (x, use_gpu), None)
    assert call(1) == (1, False)
    monkeypatch.setattr(slot, "gpus", ("GPU-a",))
    assert call(1) == (1, True)


class FakeCuda:
    """PyCUDA's driver, as far as a context needs it: a stack for each thread."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stacks = threading.local()
        fake = self

        class Context:
            def push(self) -> None:
                fake.stack.append(self)

            def detach(self) -> None:
                fake.said.append("detached")

            @staticmethod
            def pop() -> None:
                fake.stack.pop()

            @staticmethod
            def get_current() -> object:
                return fake.stack[-1] if fake.stack else None

        class Device:
            def __init__(self, number: int) -> None:
                fake.said.append(f"device {number}")

            def retain_primary_context(self) -> Context:
                fake.said.append("made")
                return Context()

        self.module = ModuleType("pycuda.driver")
        vars(self.module).update(Context=Context, Device=Device, init=lambda: self.said.append("init"))

    @property
    def stack(self) -> list[object]:
        if not hasattr(self.stacks, "own"):
            self.stacks.own = []
        return self.stacks.own  # type: ignore[no-any-return]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    package, tools = ModuleType("pycuda"), ModuleType("pycuda.tools")
    vars(package).update(driver=fake.module)
    vars(tools).update(clear_context_caches=lambda: fake.said.append("cleared"))
    for module in (package, fake.module, tools):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(gpu, "_context", None)
    return fake


@pytest.fixture
def at_exit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    registered: list[tuple[object, ...]] = []
    monkeypatch.setattr(atexit, "register", lambda *what: registered.append(what))
    return registered


def test_the_context_is_made_once_and_pushed_where_it_is_asked_for(
    in_gpu_slot: None, cuda: FakeCuda, at_exit: list[tuple[object, ...]]
) -> None:
    context = covey.gpu.context()
    assert covey.gpu.context() is context
    assert cuda.stack == [context]
    thread = threading.Thread(target=lambda: cuda.said.append(str(gpu.context() is context and len(cuda.stack))))
    thread.start()
    thread.join()
    assert cuda.said == ["init", "device 0", "made", "1"]
    cuda.stack.clear()
    covey.gpu.context()
    assert cuda.stack == [context], "a task had popped it; the next one finds it pushed"
    ((detach, module),) = at_exit
    assert callable(detach)
    detach(module)
    assert cuda.said[-2:] == ["cleared", "detached"]
    assert cuda.stack == []


def test_outside_a_gpu_slot_there_is_no_context(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        covey.CoveyError, match=r"called outside a task: send the call to a GPU slot, by options\(gpu=1"
    ):
        covey.gpu.context()
    monkeypatch.setattr(slot, "number", 3)
    monkeypatch.setattr(slot, "running", SimpleNamespace(attempt=1))
    with pytest.raises(covey.CoveyError, match="called in CPU slot 3 on "):
        covey.gpu.context()
    assert cuda.said == []


def test_without_pycuda_it_says_what_to_install(in_gpu_slot: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(covey.CoveyError, match=r"pip install 'covey\[gpu\]'"):
        covey.gpu.context()
