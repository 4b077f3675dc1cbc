# SPDX-License-Identifier: BSD-3-Clause
"""The front door: `distribute()`, `finished()`, `shutdown()`.

Why: three lines should be enough to put a function on every core, as Playdoh's documentation promised in 2010.

May not know: anything below a client. It checks what it is given, says what is wrong in one sentence, and
hands over to `covey.distributed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, overload

from covey import settings
from covey.client.options import NEEDS_ANY, NEEDS_CPU, NEEDS_GPU, NEEDS_GPU_FIRST
from covey.distributed import DistributedFunction, Wanted
from covey.node.counts import resolve_count
from covey.node.cpus import available_cpus

__all__ = ["distribute", "finished", "shutdown"]

GPU_POLICIES = ("no_gpu", "prefer_gpu", "require_all")


@overload
def distribute(
    fun: Callable[..., Any],
    *,
    machines: Sequence[str] = ...,
    use_gpu: bool = ...,
    max_cpu: int | None = ...,
    max_gpu: int | None = ...,
    port: int | None = ...,
    named_pipe: bool | str | None = ...,
    shared_data: Mapping[Any, Any] | None = ...,
    gpu_policy: str | None = ...,
    executor: Executor | None = ...,
    progress: bool | None = ...,
    inline: bool = ...,
) -> DistributedFunction: ...
@overload
def distribute(
    fun: None = None,
    *,
    machines: Sequence[str] = ...,
    use_gpu: bool = ...,
    max_cpu: int | None = ...,
    max_gpu: int | None = ...,
    port: int | None = ...,
    named_pipe: bool | str | None = ...,
    shared_data: Mapping[Any, Any] | None = ...,
    gpu_policy: str | None = ...,
    executor: Executor | None = ...,
    progress: bool | None = ...,
    inline: bool = ...,
) -> Callable[[Callable[..., Any]], DistributedFunction]: ...
def distribute(
    fun: Callable[..., Any] | None = None,
    *,
    machines: Sequence[str] = (),
    use_gpu: bool = True,
    max_cpu: int | None = None,
    max_gpu: int | None = None,
    port: int | None = None,
    named_pipe: bool | str | None = None,
    shared_data: Mapping[Any, Any] | None = None,
    gpu_policy: str | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
    inline: bool = False,
) -> DistributedFunction | Callable[[Callable[..., Any]], DistributedFunction]:
    """Make `fun` a function that runs over every core; also usable as a decorator.

    What it returns is called with a list or another iterable (one call per element, results in order),
    with a numpy array (split along the last axis into blocks, results joined along the last axis), or
    with None (one call per slot, those of `machines` too).

    Parameters:
        shared_data: a dict that every call sees: `fun(x, shared_data)`. It travels once per slot.
        use_gpu, gpu_policy: whether GPUs may be used; a function with a parameter `use_gpu` is told.
        max_cpu, max_gpu: None all, n at most n, 0 none, -n all but n.
        machines: other machines that compute too, each running `funworker()`: 'host', 'host:port' or 'ipc://…'.
        port: where they listen, if not 2718. named_pipe: True or a name, for workers on this machine.
        executor: run on this Executor (of any library) instead of a flock of our own.
        progress: a bar: True always, None where somebody looks and it takes more than a second, False never.
        inline: run in this process, one after the other, so that a debugger works.

    >>> import covey
    >>> with covey.distribute(lambda x: x * x, inline=True) as square:
    ...     square([1, 2, 3])
    [1, 4, 9]
    """
    if isinstance(machines, str):
        raise TypeError(f"distribute(machines={machines!r}): a list of host names is needed, such as [{machines!r}]")
    _require_gpu_words(use_gpu, gpu_policy, max_gpu)
    if executor is None and not machines and resolve_count(max_cpu, available_cpus(limit=settings.read().max_cpu)) == 0:
        raise ValueError(
            "distribute(max_cpu=0) leaves nothing that could run a task: give at least 1, or None for all CPUs"
        )
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        raise ValueError(f"distribute(port={port!r}): a port is a number from 1 to 65535")
    if named_pipe is not None and not isinstance(named_pipe, (bool, str)):
        raise TypeError(f"distribute(named_pipe={named_pipe!r}): True or a name is needed")
    if shared_data is not None and not isinstance(shared_data, Mapping):
        raise TypeError(f"distribute(shared_data=…): a dict is needed, not {type(shared_data).__name__}")
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"distribute(executor={executor!r}): an Executor is needed, something with a submit() method")
    wanted = Wanted(
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
    )

    def decorate(function: Callable[..., Any]) -> DistributedFunction:
        if not callable(function):
            raise TypeError(f"distribute({function!r}): a function or another callable is needed")
        return DistributedFunction(function, wanted)

    return decorate if fun is None else decorate(fun)


def finished(dfun: DistributedFunction) -> None:
    """Let the slots of a distributed function go; the next call starts new ones.

    >>> import covey
    >>> dabs = covey.distribute(abs, inline=True)
    >>> dabs([-1])
    [1]
    >>> covey.finished(dabs)
    """
    _require_distributed(dfun, "finished").finish()


def shutdown(dfun: DistributedFunction) -> None:
    """Let the slots of a distributed function go for good; a later call raises ClientClosed.

    >>> import covey
    >>> dabs = covey.distribute(abs, inline=True)
    >>> covey.shutdown(dabs)
    """
    _require_distributed(dfun, "shutdown").shutdown()


def _require_distributed(dfun: object, name: str) -> DistributedFunction:
    if not isinstance(dfun, DistributedFunction):
        raise TypeError(f"{name}() takes what distribute() returned, not {type(dfun).__name__}")
    return dfun


def _needs_of(use_gpu: bool, gpu_policy: str | None) -> int:
    """Which places will do; None: every one there is, so that a machine with a GPU has one slot more."""
    if not use_gpu or gpu_policy == "no_gpu":
        return NEEDS_CPU
    return {None: NEEDS_ANY, "prefer_gpu": NEEDS_GPU_FIRST, "require_all": NEEDS_GPU}[gpu_policy]


def _require_gpu_words(use_gpu: bool, gpu_policy: str | None, max_gpu: int | None) -> None:
    if gpu_policy is not None and gpu_policy not in GPU_POLICIES:
        words = ", ".join(map(repr, GPU_POLICIES))
        raise ValueError(f"distribute(gpu_policy={gpu_policy!r}): one of {words} is needed")
    if max_gpu is not None and (isinstance(max_gpu, bool) or not isinstance(max_gpu, int)):
        raise TypeError(f"distribute(max_gpu={max_gpu!r}): a number is needed, or None for all")
