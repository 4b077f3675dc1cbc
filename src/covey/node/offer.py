# SPDX-License-Identifier: BSD-3-Clause
"""What this machine offers, and why: the one record that a node is started from and that people are shown.

Why one record: what `--detect` prints must be what a node started the same way would offer.

May not know: slots, sockets. Guarantees: `max_gpu=0` and `use_gpu=False` mean that no library and no driver of a
GPU is touched; whatever was clipped or left out is said.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from covey.node.counts import Counted, resolve_count, say_once
from covey.node.cpus import available_cpus
from covey.node.devices import Gpu
from covey.node.gpus import Gpus, available_gpus
from covey.node.memory import Memory, available_memory

__all__ = ["Offer", "detect_offer"]

FindGpus = Callable[..., Gpus]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a machine offers. `present` is how many CPUs may be used here, `cpus` how many of them are offered.

    >>> offer = Offer(2, Counted(4, "an example"), (), "max_gpu=0", Memory(2**30, 2**29, "an example"))
    >>> print(*offer.lines(), sep="\\n")
    CPUs    2 of 4 (an example)
    GPUs    none (max_gpu=0)
    memory  0.5 of 1.0 GiB free (an example)
    """

    cpus: int
    present: Counted
    gpus: tuple[Gpu, ...]
    because: str
    memory: Memory
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For people, a line a thing."""
        count = f"{len(self.gpus)}" if self.gpus else "none"
        gpus = [
            f"        {gpu.uuid}  {gpu.name}, {_gib(gpu.free)} of {_gib(gpu.total)} GiB free" + " (MIG)" * gpu.is_mig
            for gpu in self.gpus
        ]
        memory = f"{_gib(self.memory.available)} of {_gib(self.memory.total)} GiB free"
        return [
            f"CPUs    {self.cpus} of {self.present.count} ({self.present.because})",
            f"GPUs    {count} ({self.because})",
            *gpus,
            f"memory  {memory} ({self.memory.because})",
            *(f"note    {note}" for note in self.notes),
        ]

    def as_dict(self) -> dict[str, object]:
        """For programs: nothing but what JSON has.

        >>> nothing = Memory(0, 0, "an example")
        >>> Offer(1, Counted(1, "an example"), (), "", nothing).as_dict()["cpus"]
        1
        """
        return {
            "cpus": self.cpus,
            "cpus_present": self.present.count,
            "cpus_because": self.present.because,
            "gpus": [asdict(gpu) for gpu in self.gpus],
            "gpus_because": self.because,
            "memory": asdict(self.memory),
            "notes": list(self.notes),
        }


def detect_offer(
    *,
    max_cpu: int | None = None,
    max_gpu: int | None = None,
    use_gpu: bool = True,
    gpus: Sequence[int | str] | None = None,
    min_gpu_memory: int = 0,
    limit: int | None = None,
    root: str = "/",
    environment: Mapping[str, str] | None = None,
    find_gpus: FindGpus = available_gpus,
    say: Callable[[str], object] = say_once,
) -> Offer:
    """What this machine offers under these wishes; `limit` is the setting `max_cpu`. `say` is told of each wish that
    was clipped; the notes have it in any case.

    >>> detect_offer(max_cpu=1, use_gpu=False).cpus
    1
    """
    environment = os.environ if environment is None else environment
    present = available_cpus(root=root, environment=environment, limit=limit)
    notes = list(present.notes)

    def clip(sentence: str) -> None:
        notes.append(sentence)
        say(sentence)

    cpus = resolve_count(max_cpu, present, say=clip)
    if cpus < present.count:
        present = Counted(present.count, f"max_cpu={max_cpu}, of {present.because}")
    memory = available_memory(root=root)
    # 0 of whatever kind of number; what is no number at all is refused below, by its name.
    if not use_gpu or (max_gpu == 0 and not isinstance(max_gpu, bool)):
        return Offer(cpus, present, (), "max_gpu=0" if use_gpu else "use_gpu=False", memory, tuple(notes))
    found = find_gpus(gpus, environment=environment, min_memory=min_gpu_memory)
    notes += found.notes
    there = Counted(len(found.found), found.because)
    count = resolve_count(max_gpu, there, name="max_gpu", what="GPUs", may_be_none=True, say=clip)
    if count < there.count:
        notes.append(f"max_gpu={max_gpu} leaves {there.count - count} of {there.count} GPUs to others")
    return Offer(cpus, present, found.found[:count], found.because, memory, tuple(notes))


def _gib(size: int | None) -> str:
    return "?" if size is None else f"{size / 2**30:.1f}"
