# SPDX-License-Identifier: BSD-3-Clause
"""Which GPUs there are for us: from machines that a fake NVML describes, and from what CUDA would show."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from covey.node import cudaprobe
from covey.node.cudaprobe import ask_pycuda
from covey.node.gpus import Gpus, available_gpus
from covey.node.nvml import memory_held
from fakenvml import GIB, Device, FakeNvml, Process

FOUR = [Device(f"GPU-{name}0000000-1111") for name in "abcd"]
SPLIT = Device(
    "GPU-e0000000",
    parts=[Device("MIG-10000000", "1g.5gb", 5 * GIB, 4 * GIB), None, Device("MIG-20000000", "2g.10gb", 10 * GIB)],
)


def no_pycuda(environment: Mapping[str, str]) -> list[tuple[str, int]]:
    raise ImportError("pycuda is not installed")


def no_nvml() -> object:
    raise ImportError("no module named pynvml")


def never(*_: object) -> object:
    raise AssertionError("this must not be touched")


def ask(
    devices: list[Device], shown: str | None = None, wanted: list[int | str] | None = None, min_memory: int = 0
) -> Gpus:
    environment = {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}
    nvml = FakeNvml(devices)
    found = available_gpus(
        wanted,
        environment=environment,
        min_memory=min_memory,
        nvml=lambda: nvml,
        pycuda=never,  # type: ignore[arg-type]
    )
    assert nvml.calls in ([], ["init", "shutdown"])
    return found


def letters(found: Gpus) -> str:
    return "".join(gpu.uuid.partition("-")[2][0] for gpu in found.found)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_all_gpus_without_a_list(count: int) -> None:
    found = ask(FOUR[:count])
    assert letters(found) == "abcd"[:count]
    assert found.because == "NVML"
    assert [gpu.index for gpu in found.found] == list(range(count))
    assert all((gpu.name, gpu.total, gpu.is_mig) == ("NVIDIA Fake", 40 * GIB, False) for gpu in found.found)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("0", "a"),
        ("2,0", "ca"),
        (" 1 , 3 ", "bd"),
        ("GPU-b", "b"),
        ("gpu-B0000000-1111,0", "ba"),
        ("0,9,1", "a"),
        ("0,-1,1", "a"),
        ("0,rubbish,1", "a"),
        ("1,,2", "b"),
        ("0,1,0,2", "ab"),
        ("GPU-", ""),
        ("MIG-1", ""),
        ("NoDevFiles", ""),
    ],
)
def test_an_inherited_list_means_what_cuda_makes_of_it(shown: str, expected: str) -> None:
    found = ask(FOUR, shown)
    assert letters(found) == expected
    assert found.because == "CUDA_VISIBLE_DEVICES, NVML"


def test_what_ends_an_inherited_list_is_said() -> None:
    note, = ask(FOUR, "0,9,1").notes
    assert note == "CUDA_VISIBLE_DEVICES: '9' names no GPU here, or one again, and hides what stands behind it"
    assert ask(FOUR, "1,0").notes == ()


@pytest.mark.parametrize("shown", ["", "-1", "-1,0", " "])
def test_a_list_that_shows_nothing_touches_no_driver(shown: str) -> None:
    found = available_gpus(environment={"CUDA_VISIBLE_DEVICES": shown}, nvml=never, pycuda=never)  # type: ignore[arg-type]
    assert found == Gpus((), "CUDA_VISIBLE_DEVICES shows none")


def test_a_uuid_cut_so_short_that_it_names_two_is_no_entry() -> None:
    twins = [Device("GPU-a1"), Device("GPU-a2")]
    assert letters(ask(twins, "GPU-a")) == ""
    assert letters(ask(twins, "GPU-a2")) == "a"


def test_instances_count_and_the_gpu_that_is_split_does_not() -> None:
    found = ask([FOUR[0], SPLIT, FOUR[1]])
    assert letters(found) == "a12b"
    assert [(gpu.index, gpu.is_mig, gpu.name) for gpu in found.found[1:3]] == [
        (1, True, "1g.5gb"),
        (1, True, "2g.10gb"),
    ]
    assert (found.found[1].total, found.found[1].free) == (5 * GIB, 4 * GIB)


@pytest.mark.parametrize(
    ("shown", "expected"), [("MIG-20000000", "2"), ("MIG-2,MIG-1,0", "21a"), ("1", "1"), ("GPU-e", "1"), ("MIG-", "")]
)
def test_instances_in_an_inherited_list(shown: str, expected: str) -> None:
    assert letters(ask([FOUR[0], SPLIT], shown)) == expected


def test_old_names_of_instances() -> None:
    old = Device("GPU-e", parts=[Device("MIG-GPU-e/1/0"), Device("MIG-GPU-e/11/0"), Device("MIG-GPU-e/1/01")])
    assert [gpu.uuid for gpu in ask([old], "MIG-GPU-e/1/0").found] == ["MIG-GPU-e/1/0"]


def test_a_gpu_that_could_be_split_and_is_not() -> None:
    assert letters(ask([Device("GPU-a", parts=())])) == "a"


@pytest.mark.parametrize(
    ("wanted", "expected"), [([], ""), ([3, 0], "da"), (["GPU-c", 1, 1], "cb"), ([4], "12"), (["MIG-2"], "2")]
)
def test_an_explicit_list_counts_before_the_inherited_one(wanted: list[int | str], expected: str) -> None:
    assert letters(ask([*FOUR, SPLIT], "0", wanted)) == expected


def test_an_explicit_list_is_held_to_its_word() -> None:
    with pytest.raises(ValueError, match=r"'7'.*it must name one GPU here; there is 0 \(GPU-a0000000-1111\)"):
        ask(FOUR[:1], wanted=[0, 7])
    with pytest.raises(ValueError, match="there is none"):
        ask([], wanted=[0])
    with pytest.raises(ValueError, match="'-1'"):
        ask(FOUR, wanted=[-1])
    with pytest.raises(ValueError, match=r"GPU '0' is not to be found here \(nvidia-ml-py is not installed"):
        available_gpus([0], environment={}, nvml=no_nvml, pycuda=no_pycuda)


@pytest.mark.parametrize("wanted", ["0", [1.5], [True], [None]])
def test_nonsense_in_a_list(wanted: list[int | str]) -> None:
    with pytest.raises(TypeError, match=r"gpus="):
        ask(FOUR, wanted=wanted)


def test_busy_gpus_are_left_out_and_it_is_said() -> None:
    devices = [Device("GPU-a", free=GIB), Device("GPU-b", free=11 * GIB), Device("GPU-c", tells_memory=False)]
    found = ask(devices, min_memory=10 * GIB)
    assert letters(found) == "b"
    assert found.notes[0] == (
        "GPU 0 (GPU-a) is left out: 1.0 GiB of its memory are free, and min_gpu_memory asks for 10.0"
    )
    assert letters(ask(devices)) == "abc"


def test_a_gpu_that_has_fallen_off_the_bus_changes_no_other_number() -> None:
    devices = [Device("GPU-a", lost=True), Device("GPU-b")]
    assert [gpu.index for gpu in ask(devices).found] == [1]
    assert letters(ask(devices, "1")) == "b"
    assert letters(ask(devices, "0,1")) == ""
    assert ask(devices).notes == ("GPU 0 is left out: NVML says GPU is lost",)


def test_nvml_that_does_not_start_hands_over_to_pycuda() -> None:
    nvml = FakeNvml(broken="Driver/library version mismatch")
    found = available_gpus(environment={}, nvml=lambda: nvml, pycuda=lambda environment: [("Tegra", 8 * GIB)])
    assert [(gpu.uuid, gpu.name, gpu.total, gpu.free) for gpu in found.found] == [("0", "Tegra", 8 * GIB, None)]
    assert (found.because, found.notes) == ("PyCUDA", ("NVML does not start: Driver/library version mismatch",))


def test_pycuda_sees_the_list_and_its_answer_is_named_by_it() -> None:
    seen: list[Mapping[str, str]] = []

    def two(environment: Mapping[str, str]) -> list[tuple[str, int]]:
        seen.append(environment)
        return [("A", 1), ("B", 2)]

    inherited = {"CUDA_VISIBLE_DEVICES": "3,MIG-1,9", "HOME": "/h"}
    found = available_gpus(environment=inherited, nvml=no_nvml, pycuda=two)
    assert [(gpu.uuid, gpu.index, gpu.is_mig) for gpu in found.found] == [("3", 3, False), ("MIG-1", 1, True)]
    assert seen == [{**inherited, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}]
    assert found.because == "CUDA_VISIBLE_DEVICES, PyCUDA"
    with pytest.raises(ValueError, match="GPU '9' is not to be found here"):
        available_gpus([0, 1, 9], environment=inherited, nvml=no_nvml, pycuda=two)


def test_what_a_dead_process_still_holds() -> None:
    device = Device("GPU-1a", processes=[Process(7, 3 * GIB), Process(8, None)])
    nvml = FakeNvml([device])
    assert [memory_held(nvml, "GPU-1a", pid) for pid in (7, 8, 9)] == [3 * GIB, 0, None]
    assert memory_held(nvml, "GPU-other", 7) is None
    assert nvml.calls == ["init", "shutdown"] * 4


def test_a_driver_that_went_down_with_the_process_tells_nothing() -> None:
    assert memory_held(FakeNvml(broken="Driver Not Loaded"), "GPU-1a", 7) is None


def test_nobody_who_could_look_them_up() -> None:
    found = available_gpus(environment={"CUDA_VISIBLE_DEVICES": "0"}, nvml=no_nvml, pycuda=no_pycuda)
    assert found.found == ()
    assert found.because == "no GPU is found"
    assert found.notes == ("nvidia-ml-py is not installed (pip install 'covey[gpu]')", "pycuda is not installed")


FAKE_PYCUDA = """
import os, sys
class Device:
    def __init__(self, number): pass
    count = staticmethod(lambda: len(os.environ["CUDA_VISIBLE_DEVICES"].split(",")))
    total_memory = lambda self: 8
    name = lambda self: "A name"
def init():
    print("some library says hello")
    PROGRAM
"""


def probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, deadline: float = 20.0
) -> list[tuple[str, int]]:
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda/__init__.py").write_text("")
    (tmp_path / "pycuda/driver.py").write_text(FAKE_PYCUDA.replace("PROGRAM", program))
    monkeypatch.syspath_prepend(str(tmp_path))
    environment = dict(os.environ, PYTHONPATH=str(tmp_path), CUDA_VISIBLE_DEVICES="0,1")
    return ask_pycuda(environment, deadline=deadline)


def test_pycuda_is_asked_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe(tmp_path, monkeypatch, "pass") == [("A name", 8), ("A name", 8)]
    assert "pycuda" not in sys.modules


def test_pycuda_that_finds_nothing_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="PyCUDA finds no GPU: RuntimeError: no CUDA-capable device is detected"):
        probe(tmp_path, monkeypatch, "raise RuntimeError('no CUDA-capable device is detected')")


def test_pycuda_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match=r"PyCUDA did not answer within 0\.05 s"):
        probe(tmp_path, monkeypatch, "import threading; threading.Event().wait()", deadline=0.05)


def test_without_pycuda_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudaprobe.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(ImportError, match="pycuda is not installed"):
        ask_pycuda({})
