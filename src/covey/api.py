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

from covey.distributed import DistributedFunction, checked_keywords

__all__ = ["distribute", "finished", "shutdown"]


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
    max_tasks_per_slot: int | None = ...,
    slot_max_rss: int | None = ...,
    speculate: bool = ...,
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
    max_tasks_per_slot: int | None = ...,
    slot_max_rss: int | None = ...,
    speculate: bool = ...,
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
    max_tasks_per_slot: int | None = None,
    slot_max_rss: int | None = None,
    speculate: bool = False,
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
            A list does not wait for those that are not there yet.
        port: where they listen, if not 2718. named_pipe: True or a name, for workers on this machine. Not without
            machines.
        executor: run on this Executor (of any library) instead of a flock of our own.
        progress: a bar: True always, None where somebody looks and it takes more than a second, False never.
        inline: run in this process, one after the other, so that a debugger works.
        max_tasks_per_slot: replace a slot of this machine after so many calls, or bundles of them.
        slot_max_rss: bytes a slot may have: over 80 % it is replaced after its call, over 95 % ended at once.
        speculate: begin what runs far longer than its siblings again, on an idle slot; the first outcome counts.

    >>> import covey
    >>> with covey.distribute(lambda x: x * x, inline=True) as square:
    ...     square([1, 2, 3])
    [1, 4, 9]
    """
    wanted = checked_keywords(
        "distribute",
        machines=machines,
        use_gpu=use_gpu,
        max_cpu=max_cpu,
        max_gpu=max_gpu,
        port=port,
        named_pipe=named_pipe,
        shared_data=shared_data,
        gpu_policy=gpu_policy,
        executor=executor,
        progress=progress,
        inline=inline,
        max_tasks_per_slot=max_tasks_per_slot,
        slot_max_rss=slot_max_rss,
        speculate=speculate,
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
