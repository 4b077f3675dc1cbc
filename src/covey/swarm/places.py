# SPDX-License-Identifier: BSD-3-Clause
"""Where the calls of an optimisation go: a flock of its own, a client, or somebody else's Executor.

Why: the loops should see `submit` and futures, whatever is behind them.

May not know: what is called. Guarantees: nothing is started before the first call; a function and all that it refers to
travels once a slot (on a foreign Executor: once a process, and is opened once there); `leave` lets go of what was
taken, and kills only what nobody else uses.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from covey import slot
from covey.client.client import Client
from covey.client.options import NEEDS_CPU, NEEDS_GPU, NEEDS_GPU_FIRST, TaskSettings
from covey.codec import parcel
from covey.distributed import Wanted
from covey.distributed.flocks import Wishes, join_flock, leave_flock
from covey.distributed.foreign import workers_of

__all__ = ["Place"]

# Functions that a process of a foreign Executor keeps opened.
MOST_OPENED = 8
_opened: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()
_opened_lock = threading.Lock()


class Sealed:
    """A function on its way to a foreign Executor, whose pickle need not know closures and lambdas."""

    __slots__ = ("data", "digest")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.data = parcel.seal_whole(function)
        self.digest = hashlib.sha256(self.data).digest()

    def __call__(self, *args: Any) -> Any:
        with _opened_lock:
            function = _opened.get(self.digest)
        if function is None:
            opened: Callable[..., Any] = parcel.unseal(self.data)
            with _opened_lock:
                function = _opened.setdefault(self.digest, opened)
                while len(_opened) > MOST_OPENED:
                    _opened.popitem(last=False)
        return function(*args)


class Place:
    """Where calls go, as the cluster keywords say."""

    def __init__(self, wanted: Wanted, name: str, label: str) -> None:
        self._wanted = wanted
        # As the call was written: optimize(f).
        self._label = label
        self._name = name
        self._settings = TaskSettings(needs=wanted.needs)
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._left = False
        # In this process: asked for, or because this is a slot already.
        executor = wanted.executor
        self.here = wanted.inline or slot.number is not None or (isinstance(executor, Client) and executor.inline)

    @property
    def is_cold(self) -> bool:
        """Whether the first call would start slots."""
        return self._client is None and self._wanted.executor is None and not self._wanted.machines

    @property
    def asks_for_gpu(self) -> bool:
        """Whether slots with a GPU were asked for, whatever the function declares."""
        return self._wanted.needs in (NEEDS_GPU, NEEDS_GPU_FIRST)

    @property
    def has_gpu(self) -> bool:
        """Whether calls may go to a slot with a GPU; known after the first."""
        client = self._client
        return client is not None and self._wanted.needs != NEEDS_CPU and client.gpu_slots > 0

    @property
    def slots(self) -> int:
        """How many calls run at once."""
        if self.here:
            return 1
        executor = self._wanted.executor
        if executor is not None and not isinstance(executor, Client):
            return workers_of(executor)
        return self._flock().slots_for(self._settings)

    def prepared(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call` in the form in which `submit` sends it once."""
        executor = self._wanted.executor
        if executor is not None and not isinstance(executor, Client):
            return Sealed(call)

        # A plain function, because the state of a callable object would be sealed at each submit (decision 0005).
        def task(*args: Any) -> Any:
            return call(*args)

        task.__name__ = task.__qualname__ = self._name
        return task

    def submit(self, prepared: Callable[..., Any], *args: Any) -> Future[Any]:
        """A future of the call."""
        executor = self._wanted.executor
        if executor is not None and not isinstance(executor, Client):
            return executor.submit(prepared, *args)
        return self._flock().submit_with(self._settings, prepared, args, {})

    def leave(self, *, kill: bool = False) -> None:
        """No more calls. `kill`: what still runs is of no use any more. Safe to call twice."""
        with self._lock:
            client, self._client, self._left = self._client, None, True
        if client is not None and self._wanted.executor is None:
            leave_flock(client, self, kill=kill)

    def stop_all(self) -> None:
        """The user pressed Ctrl-C: the flock ends now, whoever else uses it, as with `distribute`."""
        client = self._client
        if client is not None and self._wanted.executor is None:
            client.kill()

    def _flock(self) -> Client:
        with self._lock:
            if self._client is None:
                if self._left:
                    raise RuntimeError("this optimisation is over")
                self._client = self._joined()
            return self._client

    def _joined(self) -> Client:
        wanted = self._wanted
        client = wanted.executor
        if not isinstance(client, Client):
            client = join_flock(
                Wishes(wanted.max_cpu, wanted.max_gpu, wanted.inline, wanted.machines, wanted.port, wanted.named_pipe),
                self,
            )
            client.wait_machines()
        if wanted.needs == NEEDS_GPU and not client.gpu_slots:
            if wanted.executor is None:
                leave_flock(client, self)
            raise ValueError(
                f"{self._label} wants GPUs and nothing else (gpu_policy='require_all'), and no machine here "
                "offers one: use 'prefer_gpu', or see `covey node --detect`"
            )
        return client
