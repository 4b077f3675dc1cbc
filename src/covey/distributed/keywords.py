# SPDX-License-Identifier: BSD-3-Clause
"""The cluster keywords that `distribute()` and `optimize()` have in common, checked.

Why: `machines`, `use_gpu`, `max_cpu` and the rest mean the same wherever they are given, so one place says what
they mean, and says it in the name of the call that they were given to.

May not know: what will be run. Guarantees: whatever makes no sense is refused here, by one sentence, before
anything is started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from covey import settings
from covey.client.client import Client
from covey.client.options import NEEDS_ANY, NEEDS_CPU, NEEDS_GPU, NEEDS_GPU_FIRST
from covey.distributed.function import Wanted
from covey.node.counts import resolve_count
from covey.node.cpus import available_cpus
from covey.node.limits import SlotLimits

__all__ = ["checked_keywords"]

GPU_POLICIES = ("no_gpu", "prefer_gpu", "require_all")


def checked_keywords(
    call: str,
    *,
    machines: Sequence[str],
    use_gpu: bool,
    max_cpu: int | None,
    max_gpu: int | None,
    port: int | None,
    named_pipe: bool | str | None,
    shared_data: Mapping[Any, Any] | None,
    gpu_policy: str | None,
    executor: Executor | None,
    progress: bool | None,
    inline: bool,
    max_tasks_per_slot: int | None = None,
    slot_max_rss: int | None = None,
    speculate: bool = False,
) -> Wanted:
    """What was given to `call`, as one record; TypeError or ValueError says what is wrong with it."""
    if isinstance(machines, str):
        raise TypeError(f"{call}(machines={machines!r}): a list of host names is needed, such as [{machines!r}]")
    _require_gpu_words(call, use_gpu, gpu_policy, max_gpu)
    if executor is None and not machines and resolve_count(max_cpu, available_cpus(limit=settings.read().max_cpu)) == 0:
        raise ValueError(
            f"{call}(max_cpu=0) leaves nothing that could run a task: give at least 1, or None for all CPUs"
        )
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        raise ValueError(f"{call}(port={port!r}): a port is a number from 1 to 65535")
    if named_pipe is not None and not isinstance(named_pipe, (bool, str)):
        raise TypeError(f"{call}(named_pipe={named_pipe!r}): True or a name is needed")
    if named_pipe and port is not None:
        raise ValueError(
            f"{call}(port={port!r}, named_pipe={named_pipe!r}): workers listen at a port or at a named pipe: give one"
        )
    if (named_pipe or port is not None) and not machines:
        given = f"named_pipe={named_pipe!r}" if named_pipe else f"port={port}"
        raise ValueError(
            f"{call}({given}) says how machines are reached, and none is named: give machines=[…], or leave it out"
        )
    if shared_data is not None and not isinstance(shared_data, Mapping):
        raise TypeError(f"{call}(shared_data=…): a dict is needed, not {type(shared_data).__name__}")
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"{call}(executor={executor!r}): an Executor is needed, something with a submit() method")
    if isinstance(executor, type):
        raise TypeError(f"{call}(executor={executor.__name__}): an instance is needed, {executor.__name__}(…)")
    if not isinstance(speculate, bool):
        raise TypeError(f"{call}(speculate={speculate!r}): True or False is needed")
    if speculate and executor is not None and not isinstance(executor, Client):
        raise ValueError(
            f"{call}(speculate=True, executor=…): only a covey.Client begins calls again, and "
            f"{type(executor).__name__} is none; leave speculate out"
        )
    return Wanted(
        max_cpu=max_cpu,
        # Whoever wants no GPU does not want to wait for a driver either.
        max_gpu=max_gpu if use_gpu and gpu_policy != "no_gpu" else 0,
        machines=tuple(machines),
        port=port,
        named_pipe=named_pipe,
        needs=_needs_of(use_gpu, gpu_policy),
        shared_data=shared_data if shared_data is None or isinstance(shared_data, dict) else dict(shared_data),
        executor=executor,
        progress=progress,
        inline=inline,
        limits=SlotLimits.checked(call, max_tasks_per_slot, slot_max_rss),
        speculate=speculate,
    )


def _needs_of(use_gpu: bool, gpu_policy: str | None) -> int:
    """Which places will do; None: every one there is, so that a machine with a GPU has one slot more."""
    if not use_gpu or gpu_policy == "no_gpu":
        return NEEDS_CPU
    return {None: NEEDS_ANY, "prefer_gpu": NEEDS_GPU_FIRST, "require_all": NEEDS_GPU}[gpu_policy]


def _require_gpu_words(call: str, use_gpu: bool, gpu_policy: str | None, max_gpu: int | None) -> None:
    if gpu_policy is not None and gpu_policy not in GPU_POLICIES:
        words = ", ".join(map(repr, GPU_POLICIES))
        raise ValueError(f"{call}(gpu_policy={gpu_policy!r}): one of {words} is needed")
    if not use_gpu and gpu_policy not in (None, "no_gpu"):
        raise ValueError(
            f"{call}(use_gpu=False, gpu_policy={gpu_policy!r}) contradict each other: one forbids GPUs and the other "
            "asks for them; leave one of them out"
        )
    if max_gpu is not None and (isinstance(max_gpu, bool) or not isinstance(max_gpu, int)):
        raise TypeError(f"{call}(max_gpu={max_gpu!r}): a number is needed, or None for all")
