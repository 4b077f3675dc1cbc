# SPDX-License-Identifier: BSD-3-Clause
"""The object that `distribute()` returns: the user's function, called over every core.

Why: Playdoh's promise, kept: what was `fun(x)` becomes `dfun(xs)`, and nothing else changes.

May not know: how a task travels. Guarantees: results in the order of the items; the same object may be
called again and again, from several threads; inside a slot it runs in place instead of starting a flock
in a flock; Ctrl-C during a call stops the flock at once.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from covey import slot
from covey.client.client import Client
from covey.client.options import NEEDS_CPU, NEEDS_GPU, TaskSettings
from covey.client.progress import maybe_progress
from covey.codec.functions import callable_name
from covey.distributed.blocks import is_array, join, split
from covey.distributed.call import adapted
from covey.distributed.flocks import Wishes, join_flock, leave_flock
from covey.distributed.foreign import map_over, workers_of
from covey.distributed.rollcall import call_every_slot
from covey.errors import ClientClosed
from covey.node.limits import NO_LIMITS, SlotLimits

__all__ = ["DistributedFunction", "Wanted"]

_said_in_place = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """The keywords of `distribute()`, checked."""

    max_cpu: int | None = None
    max_gpu: int | None = None
    machines: tuple[str, ...] = ()
    port: int | None = None
    named_pipe: bool | str | None = None
    needs: int = NEEDS_CPU
    shared_data: dict[Any, Any] | None = None
    executor: Executor | None = None
    progress: bool | None = None
    inline: bool = False
    limits: SlotLimits = NO_LIMITS
    speculate: bool = False


class DistributedFunction:
    """A function that runs over every core; made by `distribute()`.

    >>> import covey
    >>> with covey.distribute(abs, inline=True) as dabs:
    ...     dabs([-1, 2, -3])
    [1, 2, 3]
    """

    def __init__(self, fun: Callable[..., Any], wanted: Wanted) -> None:
        # not its __dict__: that of a callable object would overwrite ours
        functools.update_wrapper(self, fun, updated=())
        self.fun = fun
        self.wanted = wanted
        # One object for all calls: as long as it lives the slots keep what was sent of it. What shared_data
        # holds is looked at anew in each call.
        self._call = adapted(fun, wanted.shared_data)
        self._settings = TaskSettings(needs=wanted.needs, speculate=wanted.speculate)
        self._client: Client | None = None
        # Whether each machine was waited for.
        self._met = False
        self._over = False

    def __call__(self, x: Any) -> Any:
        """`[fun(item) for item in x]`; for a numpy array `fun(x)`, by blocks of columns; for None, once per slot."""
        if self._over:
            raise ClientClosed(f"{self!r} was shut down; call distribute() again for a new one")
        call = self._call
        if x is not None and not is_array(x) and not isinstance(x, Iterable) and not hasattr(x, "__getitem__"):
            raise TypeError(
                f"{self!r} takes a list or another iterable (one call per element), a numpy array (split along its "
                f"last axis) or None (one call per slot), not {type(x).__name__}"
            )
        if slot.number is not None:
            return self._in_place(call, x)
        executor = self.wanted.executor
        if executor is not None and not isinstance(executor, Client):
            return self._over_foreign(executor, call, x)
        client = self._flock(every=x is None or is_array(x))
        try:
            return self._over_flock(client, call, x)
        except KeyboardInterrupt:
            if executor is None:
                client.kill()
            raise

    def finish(self) -> None:
        """Let the slots go; the next call starts new ones. Safe to call twice."""
        client, self._client = self._client, None
        if client is not None and self.wanted.executor is None:
            leave_flock(client, self)

    def shutdown(self) -> None:
        """Let the slots go for good, and end the worker scripts of `machines`; a later call raises ClientClosed."""
        if not self._over and self.wanted.machines and self.wanted.executor is None:
            self._flock().stop_machines()
        self._over = True
        self.finish()

    def __enter__(self) -> DistributedFunction:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        client = self._client
        if kind is not None and issubclass(kind, KeyboardInterrupt) and client is not None:
            client.kill()
        self.shutdown()

    def __repr__(self) -> str:
        return f"distribute({callable_name(self.fun)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A function that refers to its own distributed self travels with it. It runs in place there, so
        # neither the flock nor a foreign executor is of use.
        wanted = Wanted(shared_data=self.wanted.shared_data)
        return DistributedFunction, (self.fun, wanted)

    def _flock(self, *, every: bool = True) -> Client:
        """The flock, once somebody is there; `every`: once each machine is, or was tried in vain."""
        executor = self.wanted.executor
        if isinstance(executor, Client):
            return executor
        if self._client is None or self._client.closed:
            wanted = self.wanted
            wishes = Wishes(
                wanted.max_cpu, wanted.max_gpu, wanted.inline, wanted.machines, wanted.port, wanted.named_pipe,
                wanted.limits.max_tasks or None, wanted.limits.max_rss or None,
            )
            self._client = join_flock(wishes, self)
            self._met = False
        if not every:
            self._client.wait_slots()
        elif not self._met:
            # An array is cut for the slots there are: those of machines that are about to come count.
            self._client.wait_machines()
            self._met = True
        if self.wanted.needs == NEEDS_GPU and not self._client.count_gpus():
            raise ValueError(
                f"{self!r} wants GPUs and nothing else (gpu_policy='require_all'), and no machine here offers one: "
                "use 'prefer_gpu', or see `covey node --detect`"
            )
        return self._client

    def _over_flock(self, client: Client, call: Callable[[Any], Any], x: Any) -> Any:
        if x is None:
            if client.inline:
                return [call(None)]
            return call_every_slot(client, call, self._settings)
        if is_array(x):
            blocks = split(x, client.slots_for(self._settings))
            return join(self._map(client, call, blocks, chunksize=1), blocks)
        return self._map(client, call, x, chunksize=None)

    def _map(
        self, client: Client, call: Callable[[Any], Any], items: Iterable[Any], chunksize: int | None
    ) -> list[Any]:
        results = client.map_with(
            self._settings,
            call,
            (items,),
            timeout=None,
            chunksize=chunksize,
            buffersize=None,
            progress=self.wanted.progress,
            in_order=True,
        )
        return list(results)

    def _over_foreign(self, executor: Executor, call: Callable[[Any], Any], x: Any) -> Any:
        count = workers_of(executor)
        blocks = split(x, count) if is_array(x) else []
        items = [None] * count if x is None else blocks or x
        total = len(items) if hasattr(items, "__len__") else None
        results = map_over(executor, call, items, maybe_progress(self.wanted.progress, total, callable_name(self.fun)))
        return join(results, blocks) if blocks else results

    def _in_place(self, call: Callable[[Any], Any], x: Any) -> Any:
        global _said_in_place
        if not _said_in_place:
            _said_in_place = True
            warnings.warn(
                f"{self!r} was called inside slot {slot.number}: it runs in place, on this slot's core only",
                RuntimeWarning,
                stacklevel=3,
            )
        if x is None:
            return [call(None)]
        if is_array(x):
            (whole,) = split(x, 1)
            return join([call(whole)], [whole])
        return [call(item) for item in x]
