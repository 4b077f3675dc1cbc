# SPDX-License-Identifier: BSD-3-Clause
"""What is known of a GPU, as plain records.

Why apart from who finds them: NVML, PyCUDA and tests all fill the same two records, and everybody else reads them.

May not know: how anything is found. Guarantees: a record does not change.
"""

from dataclasses import dataclass

__all__ = ["Card", "Gpu"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device that one slot can be given: a GPU, or an instance of one that is split by MIG.

    `uuid` is what CUDA_VISIBLE_DEVICES calls it (where nobody tells a uuid, its index in the order of the PCI bus).
    Memory in bytes; `free` is None where nobody could say. `index` is NVML's, for an instance that of its GPU.
    """

    uuid: str
    name: str
    total: int
    free: int | None
    index: int
    is_mig: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as it sits in the machine. `instances` is None unless it is split, and then it is no device itself."""

    gpu: Gpu
    instances: tuple[Gpu, ...] | None = None

    @property
    def devices(self) -> tuple[Gpu, ...]:
        """What of it can be given to slots."""
        return (self.gpu,) if self.instances is None else self.instances
