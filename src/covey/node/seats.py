# SPDX-License-Identifier: BSD-3-Clause
"""The seats of a node: which slots it keeps, and what each has besides a CPU.

Why a seat and not a process: a slot that dies is replaced by another process in the same seat, with the same
number, kind and GPU.

May not know: processes, the wire. Guarantees: each GPU is given to one seat, CPU seats see none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from covey.node.devices import Gpu
from covey.slot import CPU, CPU_BESIDE, GPU

__all__ = ["Seat", "seats_of"]


@dataclass(frozen=True, slots=True)
class Seat:
    """A slot's place. `kind` is a Resource of the protocol, `device` the node's number for the GPU, or -1."""

    number: int
    kind: int = CPU
    gpu: Gpu | None = None
    device: int = -1

    def environment(self) -> dict[str, str]:
        """What its process must be given before its interpreter starts: CUDA reads it once, with the first import.

        >>> Seat(1).environment()
        {'CUDA_VISIBLE_DEVICES': ''}
        """
        if self.gpu is None:
            # A library that sees a GPU takes some hundred megabytes of it for each process that imports it.
            return {"CUDA_VISIBLE_DEVICES": ""}
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": self.gpu.uuid}


def seats_of(cpus: int, gpus: Sequence[Gpu] = ()) -> list[Seat]:
    """The seats for so many CPUs and these GPUs, numbered from 1.

    >>> [seat.kind for seat in seats_of(2)]
    [0, 0]
    """
    kind = CPU_BESIDE if gpus else CPU
    seats = [Seat(number, kind) for number in range(1, cpus + 1)]
    return seats + [Seat(cpus + 1 + device, GPU, gpu, device) for device, gpu in enumerate(gpus)]
