# SPDX-License-Identifier: BSD-3-Clause
"""Which GPUs this process may use, and what says so.

    gpus=[…]  ──► else CUDA_VISIBLE_DEVICES ──► else all      the list
    NVML      ──► else PyCUDA               ──► else none     who knows what its entries mean

Why: a batch system, a container or the user has dealt out the GPUs by CUDA_VISIBLE_DEVICES; NVML does not heed
it, and whoever offers a GPU twice makes two jobs fail. An entry becomes a uuid, because an index means another
device as soon as somebody hands on a part of the list.

May not know: slots, counts, settings. Environment, NVML and PyCUDA are arguments.
Guarantees: a list that shows no GPU is believed without touching a driver; what cannot be looked up is not offered.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from covey.node.cudaprobe import ask_pycuda
from covey.node.devices import Card, Gpu
from covey.node.nvml import read_cards

__all__ = ["Gpus", "available_gpus", "import_nvml", "visible"]

LIST = "CUDA_VISIBLE_DEVICES"
AskPycuda = Callable[[Mapping[str, str]], list[tuple[str, int]]]


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs that may be used, what says so, and what else is worth saying, a sentence each."""

    found: tuple[Gpu, ...]
    because: str
    notes: tuple[str, ...] = ()


def import_nvml() -> Any:
    """The module that speaks NVML; ImportError without nvidia-ml-py."""
    import pynvml

    return pynvml


def available_gpus(
    wanted: Sequence[int | str] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    min_memory: int = 0,
    nvml: Callable[[], Any] = import_nvml,
    pycuda: AskPycuda = ask_pycuda,
) -> Gpus:
    """The GPUs that this process may use.

    Parameters:
        wanted: indices (of NVML, in the order of the PCI bus) or uuids, which may be cut short; None: what is shown.
        min_memory: bytes that must be free on a GPU now.

    >>> available_gpus([]).found
    ()
    """
    environment = os.environ if environment is None else environment
    entries, because = _entries(wanted, environment)
    if entries is not None and (not entries or (wanted is None and entries[0] in ("", "-1"))):
        return Gpus((), f"{because} shows none")
    notes: list[str] = []
    cards = _ask_nvml(nvml, notes)
    if cards is not None:
        # A list that was asked for is held to its word; one that was inherited means what CUDA makes of it.
        if entries is None:
            found = _all_of(cards)
        else:
            found = visible(entries, cards) if wanted is None else _chosen(entries, cards)
            if wanted is None and len(found) < len(entries):
                notes.append(
                    f"{LIST}: {entries[len(found)]!r} names no GPU here, or one again, and hides what stands behind it"
                )
        because = f"{because}, NVML" if because else "NVML"
    else:
        found = _ask_cuda(pycuda, entries, environment, notes)
        if wanted is not None and len(found) < len(entries or []):
            missing = (entries or [])[len(found)]
            why = "; ".join(notes) or "CUDA does not show it"
            raise ValueError(f"gpus={list(wanted)!r}: GPU {missing!r} is not to be found here ({why})")
        because = f"{because}, PyCUDA" if because and found else "PyCUDA" if found else "no GPU is found"
    enough = [gpu for gpu in found if _free(gpu) >= min_memory]
    notes += [
        f"GPU {gpu.index} ({gpu.uuid}) is left out: {_free(gpu) / 2**30:.1f} GiB of its memory are free, and "
        f"min_gpu_memory asks for {min_memory / 2**30:.1f}"
        for gpu in found
        if gpu not in enough
    ]
    return Gpus(tuple(enough), because, tuple(notes))


def visible(entries: Sequence[str], cards: Sequence[Card]) -> list[Gpu]:
    """The devices that CUDA shows for a list: the first entry that names none, or one twice, hides all behind it.

    >>> card = Card(Gpu("GPU-12ab", "a GPU", 8, 8, 0))
    >>> [gpu.uuid for gpu in visible(["0", "7", "0"], [card])]
    ['GPU-12ab']
    """
    found: list[Gpu] = []
    for entry in entries:
        named = _named(entry, cards)
        # Of a GPU that is split CUDA shows the first instance.
        if not named or named[0] in found:
            break
        found.append(named[0])
    return found


def _entries(wanted: Sequence[int | str] | None, environment: Mapping[str, str]) -> tuple[list[str] | None, str]:
    """The entries of the list that counts, None for all; and its name."""
    if wanted is not None:
        if isinstance(wanted, str):
            raise TypeError(f"gpus={wanted!r}: a list of indices or uuids is needed, such as [{wanted!r}]")
        for entry in wanted:
            if isinstance(entry, bool) or not isinstance(entry, (int, str)):
                raise TypeError(f"gpus={list(wanted)!r}: {entry!r} is neither an index nor a uuid of a GPU")
        return [str(entry).strip() for entry in wanted], "gpus=[…]"
    text = environment.get(LIST)
    return (None, "") if text is None else ([entry.strip() for entry in text.split(",")], LIST)


def _ask_nvml(nvml: Callable[[], Any], notes: list[str]) -> list[Card] | None:
    try:
        module = nvml()
    except ImportError:
        notes.append("nvidia-ml-py is not installed (pip install 'covey[gpu]')")
        return None
    try:
        return read_cards(module, notes)
    except module.NVMLError as error:
        notes.append(f"NVML does not start: {error}")
        return None


def _ask_cuda(
    pycuda: AskPycuda, entries: list[str] | None, environment: Mapping[str, str], notes: list[str]
) -> list[Gpu]:
    shown = {name: value for name, value in environment.items() if name != LIST}
    shown["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if entries is not None:
        shown[LIST] = ",".join(entries)
    try:
        answer = pycuda(shown)
    except (ImportError, OSError) as error:
        notes.append(str(error))
        return []
    found = []
    for number, (name, total) in enumerate(answer):
        entry = str(number) if entries is None else entries[number]
        is_mig = entry.upper().startswith("MIG-")
        found.append(Gpu(entry, name, total, None, int(entry) if entry.isdigit() else number, is_mig))
    return found


def _all_of(cards: Sequence[Card]) -> list[Gpu]:
    return [gpu for card in cards for gpu in card.devices]


def _chosen(entries: Sequence[str], cards: Sequence[Card]) -> list[Gpu]:
    """The devices of a list that the user gave: each entry must name some, and a split GPU means all its instances."""
    found: list[Gpu] = []
    for entry in entries:
        named = _named(entry, cards)
        if not named:
            present = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in _all_of(cards)) or "none"
            raise ValueError(f"gpus=[…, {entry!r}, …]: it must name one GPU here; there is {present}")
        found += [gpu for gpu in named if gpu not in found]
    return found


def _named(entry: str, cards: Sequence[Card]) -> Sequence[Gpu]:
    """The devices that an entry names: one, the instances of a split GPU, or none."""
    if entry.isascii() and entry.isdigit():
        return next((card.devices for card in cards if card.gpu.index == int(entry)), ())
    # Uuids may be cut short as long as one device is meant; the bare prefix names nobody.
    wanted = entry.casefold()
    if not wanted.startswith(("gpu-", "mig-")) or len(wanted) == 4:
        return ()
    instances = [gpu for card in cards for gpu in card.instances or ()]
    whole: list[Sequence[Gpu]] = [card.devices for card in cards if card.gpu.uuid.casefold().startswith(wanted)]
    parts: list[Sequence[Gpu]] = [(gpu,) for gpu in instances if gpu.uuid.casefold().startswith(wanted)]
    exact = [(gpu,) for gpu in instances if gpu.uuid.casefold() == wanted]
    matches = exact or whole + parts
    return matches[0] if len(matches) == 1 else ()


def _free(gpu: Gpu) -> int:
    """What is free, or, where nobody could say, what there is."""
    return gpu.total if gpu.free is None else gpu.free
