# SPDX-License-Identifier: BSD-3-Clause
"""What a machine offers, and why, as a node uses it and as people and programs are shown it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from covey.node import counts
from covey.node.gpus import Gpus, available_gpus
from covey.node.offer import Offer, detect_offer
from covey.node.seats import Seat, seats_of
from covey.slot import CPU, CPU_BESIDE, GPU
from fakenvml import GIB, Device, FakeNvml

DEVICES = [Device("GPU-a", "Big", 40 * GIB, 39 * GIB), Device("GPU-b", "Small", 8 * GIB, GIB)]
MakeOffer = Callable[..., Offer]


def never(*_: object, **__: object) -> Gpus:
    raise AssertionError("no driver may be touched")


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeOffer:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setattr(counts, "_said", set())
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: {16 * 2**20} kB\nMemAvailable: {4 * 2**20} kB\n")

    def make(devices: Sequence[Device] = DEVICES, **wishes: object) -> Offer:
        nvml = FakeNvml(devices)
        find = partial(available_gpus, nvml=lambda: nvml)
        return detect_offer(**{"root": str(tmp_path), "environment": {}, "find_gpus": find, **wishes})  # type: ignore[arg-type]

    return make


def uuids(offer: Offer) -> list[str]:
    return [gpu.uuid for gpu in offer.gpus]


@pytest.mark.parametrize(
    ("wishes", "cpus", "gpus"),
    [
        ({}, 4, ["GPU-a", "GPU-b"]),
        ({"max_cpu": 2, "max_gpu": 1}, 2, ["GPU-a"]),
        ({"max_cpu": -1, "max_gpu": -1}, 3, ["GPU-a"]),
        ({"max_gpu": -2}, 4, []),
        ({"max_cpu": 0}, 0, ["GPU-a", "GPU-b"]),
        ({"gpus": ["GPU-b"]}, 4, ["GPU-b"]),
        ({"min_gpu_memory": 2 * GIB}, 4, ["GPU-a"]),
        ({"limit": 3}, 3, ["GPU-a", "GPU-b"]),
    ],
)
def test_wishes(offer: MakeOffer, wishes: dict[str, object], cpus: int, gpus: list[str]) -> None:
    made = offer(**wishes)
    assert (made.cpus, uuids(made)) == (cpus, gpus)


@pytest.mark.parametrize("wish", [{"max_gpu": 0}, {"use_gpu": False}, {"use_gpu": False, "max_gpu": 2}])
def test_no_gpu_means_that_nothing_of_one_is_touched(offer: MakeOffer, wish: dict[str, object]) -> None:
    made = offer(find_gpus=never, **wish)
    assert made.gpus == ()


def test_no_gpu_means_that_nothing_of_one_is_imported(tmp_path: Path) -> None:
    """In a fresh interpreter, where pynvml and pycuda are there, and importing them is fatal."""
    for name in ("pynvml", "pycuda"):
        (tmp_path / f"{name}.py").write_text("import os; os._exit(9)")
    code = (
        f"import sys; sys.path[:] = [{str(tmp_path)!r}, *{sys.path!r}]\n"
        "from covey.node.offer import detect_offer\n"
        "detect_offer(max_gpu=0); detect_offer(use_gpu=False)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_all_but_one_gpu_of_none_is_none(offer: MakeOffer) -> None:
    assert offer([], max_gpu=-1).gpus == ()


def test_what_is_clipped_or_ignored_is_a_note(offer: MakeOffer) -> None:
    said: list[str] = []
    made = offer([], max_cpu=1000, limit=0, say=said.append)
    assert said == ["max_cpu=1000 is more than the 1 available (COVEY_MAX_CPU): using those"]
    assert made.lines()[3:] == [
        "note    COVEY_MAX_CPU=0 leaves none of 4 CPUs (the CPUs this process may run on), so one is used",
        f"note    {said[0]}",
    ]


def test_a_refusal_names_the_setting_that_left_so_few(offer: MakeOffer) -> None:
    with pytest.raises(ValueError, match=r"only 1 may be used here \(COVEY_MAX_CPU\)"):
        offer(max_cpu=-1, limit=1)


def test_more_gpus_than_there_are_is_clipped_and_said(offer: MakeOffer) -> None:
    with pytest.warns(UserWarning, match=r"max_gpu=3 is more than the 2 available \(NVML\): using those"):
        assert len(offer(max_gpu=3).gpus) == 2


@pytest.mark.parametrize("asked", ["1", 1.0, False, True])
def test_nonsense(offer: MakeOffer, asked: object) -> None:
    with pytest.raises(TypeError, match="max_gpu counts GPUs"):
        offer(max_gpu=asked)


def test_what_people_are_shown(offer: MakeOffer) -> None:
    assert offer(max_cpu=3, max_gpu=1).lines() == [
        "CPUs    3 of 4 (max_cpu=3, of the CPUs this process may run on)",
        "GPUs    1 (NVML)",
        "        GPU-a  Big, 39.0 of 40.0 GiB free",
        "memory  4.0 of 16.0 GiB free (the memory of this machine)",
        "note    max_gpu=1 leaves 1 of 2 GPUs to others",
    ]
    assert offer([]).lines()[1] == "GPUs    none (NVML)"


def test_what_programs_are_shown(offer: MakeOffer) -> None:
    shown = json.loads(json.dumps(offer().as_dict()))
    assert shown["gpus"][1] == {
        "uuid": "GPU-b",
        "name": "Small",
        "total": 8 * GIB,
        "free": GIB,
        "index": 1,
        "is_mig": False,
    }
    assert (shown["cpus"], shown["memory"]["total"], shown["notes"]) == (4, 16 * GIB, [])


def test_the_seats_of_a_machine_without_gpus() -> None:
    assert seats_of(2) == [Seat(1, CPU), Seat(2, CPU)]


def test_the_seats_of_a_machine_with_gpus(offer: MakeOffer) -> None:
    first, second = offer().gpus
    assert seats_of(1, (first, second)) == [
        Seat(1, CPU_BESIDE),
        Seat(2, GPU, first, 0),
        Seat(3, GPU, second, 1),
    ]


def test_what_a_seat_shows_of_the_gpus(offer: MakeOffer) -> None:
    beside, with_gpu = seats_of(1, offer(max_gpu=1).gpus)
    assert beside.environment() == {"CUDA_VISIBLE_DEVICES": ""}
    assert with_gpu.environment() == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-a"}
