# SPDX-License-Identifier: BSD-3-Clause
"""The GPUs of this machine, as NVML tells them.

Why NVML: it counts and measures devices without making a CUDA context, which would cost memory on each GPU and must
not exist in a process that forks.

May not know: which of them are wanted. `nvml` is the module pynvml (of nvidia-ml-py), or what stands for it.
Guarantees: NVML is shut down again; a GPU that does not answer is left out with a note, the others keep their numbers.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from covey.node.devices import Card, Gpu

__all__ = ["memory_held", "read_cards"]


def read_cards(nvml: Any, notes: list[str]) -> list[Card]:
    """Every GPU here, by index; raises NVML's own error if it does not start (no driver, another version)."""
    nvml.nvmlInit()
    try:
        return list(_cards(nvml, notes))
    finally:
        nvml.nvmlShutdown()


def memory_held(nvml: Any, uuid: str, pid: int) -> int | None:
    """The bytes that a process holds on the device, 0 where it is not told how many; None: nothing, or nobody tells."""
    # Not every device tells; and what has just killed a slot may have taken the driver along, from its start on.
    with contextlib.suppress(nvml.NVMLError):
        nvml.nvmlInit()
        try:
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(nvml.nvmlDeviceGetHandleByUUID(uuid)):
                if process.pid == pid:
                    return int(process.usedGpuMemory or 0)
        finally:
            nvml.nvmlShutdown()
    return None


def _cards(nvml: Any, notes: list[str]) -> Iterator[Card]:
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            gpu = _gpu(nvml, handle, index, is_mig=False)
            yield Card(gpu, tuple(_instances(nvml, handle, index)) if _is_split(nvml, handle) else None)
        except nvml.NVMLError as error:
            # It has fallen off the bus, or another user's container has it.
            notes.append(f"GPU {index} is left out: NVML says {error}")


def _is_split(nvml: Any, handle: Any) -> bool:
    try:
        now, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:
        # Most GPUs cannot be split, and say so by an error.
        return False
    return bool(now)


def _instances(nvml: Any, handle: Any, index: int) -> Iterator[Gpu]:
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield _gpu(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number), index, is_mig=True)
        except nvml.NVMLError:
            # The numbers have gaps: an instance that was taken away leaves its own.
            continue


def _gpu(nvml: Any, handle: Any, index: int, *, is_mig: bool) -> Gpu:
    total, free = 0, None
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        total, free = int(memory.total), int(memory.free)
    except nvml.NVMLError:
        # Machines whose GPU shares the memory of the CPUs do not tell.
        pass
    return Gpu(_text(nvml.nvmlDeviceGetUUID(handle)), _text(nvml.nvmlDeviceGetName(handle)), total, free, index, is_mig)


def _text(said: Any) -> str:
    # Bytes from versions before 11.5.
    return said.decode() if isinstance(said, bytes) else str(said)
