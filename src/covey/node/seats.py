# SPDX-License-Identifier: BSD-3-Clause
"""The seats of a node: which slots it keeps, and what each has besides a CPU.

Why a seat and not a process: a slot that dies is replaced by another process in the same seat, with the same
number, kind and GPU.

A GPU has one seat until tasks ask for a part of it; then it gets as many more as such tasks fit on it. Those stay until
the node ends: an idle slot costs some memory of the machine, a slot that comes and goes a CUDA context each time.

May not know: processes, the wire. Guarantees: each seat has one GPU at most, CPU seats see none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from covey.node.devices import Gpu
from covey.slot import CPU, CPU_BESIDE, GPU, WHOLE_SHARE

__all__ = ["Seat", "further_seats", "seats_of"]


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


def further_seats(seats: Iterable[Seat], share: int, limit: int) -> list[Seat]:
    """The seats that each GPU lacks for as many tasks as fit on it that take `share` of it, at most `limit`.

    >>> [seat.number for seat in further_seats([Seat(1, GPU, None, 0)], WHOLE_SHARE // 4, limit=3)]
    [2, 3]
    """
    present = list(seats)
    wanted = min(WHOLE_SHARE // share, limit)
    number = max((seat.number for seat in present), default=0)
    of_gpus = [seat for seat in present if seat.kind == GPU]
    found: list[Seat] = []
    for device in dict.fromkeys(seat.device for seat in of_gpus):
        beside = [seat for seat in of_gpus if seat.device == device]
        for _ in range(wanted - len(beside)):
            number += 1
            found.append(replace(beside[0], number=number))
    return found
