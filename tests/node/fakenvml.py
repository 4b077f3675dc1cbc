# SPDX-License-Identifier: BSD-3-Clause
"""A module that stands for pynvml: GPUs as a test describes them, with NVML's ways of saying no."""

from collections.abc import Sequence
from dataclasses import dataclass, field

GIB = 1 << 30


class NVMLError(Exception):
    """What NVML raises for everything."""


@dataclass
class Device:
    """A GPU, or an instance of one. `parts`: None if it cannot be split, () if it is not; None among them is a gap."""

    uuid: str
    name: str = "NVIDIA Fake"
    total: int = 40 * GIB
    free: int = 40 * GIB
    parts: "Sequence[Device | None] | None" = None
    lost: bool = False
    tells_memory: bool = True
    processes: "Sequence[Process]" = ()


@dataclass
class Process:
    """One that holds memory there."""

    pid: int
    usedGpuMemory: int | None  # noqa: N815  NVML's name


@dataclass
class Memory:
    total: int
    free: int


@dataclass
class FakeNvml:
    """Counts how often it is started and shut down."""

    devices: Sequence[Device] = ()
    broken: str = ""
    calls: list[str] = field(default_factory=list)
    NVMLError: type[Exception] = NVMLError

    def nvmlInit(self) -> None:  # noqa: N802  NVML's names
        self.calls.append("init")
        if self.broken:
            raise NVMLError(self.broken)

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.calls.append("shutdown")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:  # noqa: N802
        if self.devices[index].lost:
            raise NVMLError("GPU is lost")
        return self.devices[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Device:  # noqa: N802
        for device in self.devices:
            if device.uuid == uuid:
                return device
        raise NVMLError("Not Found")

    def nvmlDeviceGetComputeRunningProcesses(self, device: Device) -> Sequence[Process]:  # noqa: N802
        return device.processes

    def nvmlDeviceGetUUID(self, device: Device) -> str:  # noqa: N802
        return device.uuid

    def nvmlDeviceGetName(self, device: Device) -> bytes:  # noqa: N802
        return device.name.encode()

    def nvmlDeviceGetMemoryInfo(self, device: Device) -> Memory:  # noqa: N802
        if not device.tells_memory:
            raise NVMLError("Not Supported")
        return Memory(device.total, device.free)

    def nvmlDeviceGetMigMode(self, device: Device) -> list[int]:  # noqa: N802
        if device.parts is None:
            raise NVMLError("Not Supported")
        return [int(bool(device.parts)), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, device: Device) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Device, number: int) -> Device:  # noqa: N802
        parts = device.parts or ()
        part = parts[number] if number < len(parts) else None
        if part is None:
            raise NVMLError("Not Found")
        return part
