# SPDX-License-Identifier: BSD-3-Clause
"""The client: a `concurrent.futures.Executor` over a flock of slots.

    submit    compiled, in Exchange: one call, one future
    map       client/mapping: bundles of calls, lazy and ordered
    options   client/options: a view whose tasks carry settings
    the end   here and in client/closing

Why: the Executor is the one protocol that asyncio, joblib, dask and most programs share; a client is
one, and everything else of covey is built on what it offers.

May not know: frames, sockets, how slots are started and watched.
Guarantees: thread-safe; after `shutdown` nothing of the flock is left; what was taken is completed unless
it was cancelled or the user pressed Ctrl-C; a forked copy refuses by name and touches nothing.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from covey import settings as settings_module
from covey.client import closing
from covey.client.bundles import Sizer
from covey.client.demands import require_map, require_setup
from covey.client.exchange import Exchange
from covey.client.footing import Footing
from covey.client.inline import InlineRunner
from covey.client.mapping import Feeder, ordered, unordered, zipped
from covey.client.options import NEEDS_CPU, NEEDS_GPU, Options, TaskSettings
from covey.client.progress import maybe_progress
from covey.client.results import Results
from covey.client.statistics import Statistics, statistics_of
from covey.client.where import Elsewhere, elsewhere
from covey.codec.functions import Setup, callable_name
from covey.errors import ClientClosed, CoveyError, ForkedClient
from covey.keys.connection import find_connection
from covey.node.limits import NO_LIMITS, SlotLimits
from covey.node.local import LocalNode
from covey.slot import WHOLE_SHARE

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from covey.client.job import Job
    from covey.client.options import Given

__all__ = ["Client"]

PLAIN = TaskSettings()


class Client(Exchange, Executor):
    """Runs functions over every core: an Executor whose tasks cost a microsecond.

    Parameters:
        where: a connection file uses the broker that wrote it; another client's `address` shares that client's
            flock. None starts a flock on this machine, or uses the broker of COVEY_CONNECTION, where that is set
            and nothing below speaks of machines, CPUs, GPUs or slots.
        machines: other machines that compute too, each running `covey node --listen` or `funworker()`: 'host',
            'host:port' or 'ipc://…'. One that is not there is named, and joins when it comes.
        port: where they listen, if not 2718. named_pipe: they are on this machine, at a named pipe.
        authkey: the secret shared with them; None: the key file (`covey keys`).
        max_cpu: how many slots: None all CPUs, n at most n, -n all but n.
        max_gpu: as `max_cpu`, for GPUs: a slot each, for tasks that ask for one. 0 touches no driver.
        gpus: which GPUs, as indices or uuids; None those that CUDA_VISIBLE_DEVICES shows, else all.
        min_gpu_memory: leave out GPUs that have fewer bytes free.
        inline: run everything in this process, so that a debugger works.
        initializer, initargs: called once in every slot before this client's first task there, on other machines too.
        max_tasks_per_slot: replace a slot after so many tasks.
        slot_max_rss: bytes a slot may have: over 80 % it is replaced after its task, over 95 % ended at once.
        progress: the default of `map(progress=)`: True a bar, False none, None where somebody looks.

    >>> import covey
    >>> with covey.Client(inline=True) as client:
    ...     client.submit(pow, 2, 10).result()
    ...     list(client.map(abs, [-1, 2, -3]))
    1024
    [1, 2, 3]
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | None = None,
        *,
        machines: Sequence[str] = (),
        port: int | None = None,
        named_pipe: bool | str | None = None,
        authkey: str | bytes | None = None,
        max_cpu: int | None = None,
        max_gpu: int | None = None,
        gpus: Sequence[int | str] | None = None,
        min_gpu_memory: int = 0,
        inline: bool = False,
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[Any] = (),
        max_tasks_per_slot: int | None = None,
        slot_max_rss: int | None = None,
        progress: bool | None = None,
    ) -> None:
        require_setup(where, machines, max_cpu, max_gpu, initializer)
        limits = SlotLimits.checked("Client", max_tasks_per_slot, slot_max_rss)
        own = machines or max_gpu or gpus or min_gpu_memory or inline or initializer or limits != NO_LIMITS
        if where is None and max_cpu is None and not own:
            where = find_connection()
        self._progress = progress
        self._maps: weakref.WeakSet[Feeder] = weakref.WeakSet()
        self._gate = threading.Lock()
        self._end_lock = threading.Lock()
        self._taking = True
        # Until there is something to close: what raises below leaves nothing for __del__ to do.
        self._closed = True
        self._abandoned = False
        self._owner = os.getpid()
        # None for somebody else's flock, and once it is closed; the address stays for messages.
        self._node: LocalNode | None = None
        self._address = ""
        self._gpu_slots = 0
        self._slots_per_gpu = 1
        self._last_totals: Mapping[str, int] | None = None
        self._runner: InlineRunner | None = None
        self.footing = Footing()
        if inline:
            if initializer is not None:
                initializer(*initargs)
            self._runner = InlineRunner()
            # In front of the compiled submit, which has nobody to send to.
            self.submit = self._runner.submit  # type: ignore[method-assign, assignment]
            self._closed = False
            return
        self.footing.setup = setup = None if initializer is None else Setup(initializer, initargs)
        if isinstance(where, str) and where.startswith(("ipc://", "inproc://")):
            super().__init__(where, settings_module.read())
            if setup is not None:
                self.book.bring(setup)
        else:
            self._start_node(
                elsewhere(where, machines, port, named_pipe, authkey, settings_module.read()),
                max_cpu=max_cpu,
                max_gpu=max_gpu,
                gpus=gpus,
                min_gpu_memory=min_gpu_memory,
                setup=setup,
                limits=limits,
            )
        self._closed = False
        closing.enrol(self)

    def _start_node(self, far: Elsewhere, *, setup: Setup | None, **wishes: Any) -> None:
        myself = weakref.ref(self)

        def on_broken(error: CoveyError) -> None:
            client = myself()
            if client is not None:
                client.fail(error)

        if far.all_of_it:
            wishes |= {"max_cpu": 0, "max_gpu": 0}
            self.footing.file = far.machines[0].file
        sealed = None if setup is None else (setup.data, setup.buffers, setup.token)
        node = LocalNode(on_broken=on_broken, links=bool(far.machines), setup=sealed, **wishes)
        self._gpu_slots = node.gpu_slots
        self._slots_per_gpu = max(1, node.settings.slots_per_gpu)
        slots = node.count - node.gpu_slots
        self._node, self.footing.machines = node, node.machines
        self._address = node.address
        try:
            for machine in far.machines:
                assert node.machines is not None
                keys = far.keys
                node.machines.dial(
                    machine,
                    asks=True,
                    keys=(keys.broker, keys.own.public, keys.own.secret) if keys else None,
                    authkey=far.authkey,
                )
            node.start()
            super().__init__(node.inproc, node.settings, max(1, slots))
            # Slots on other machines have none of the user's own modules.
            self.book.ship = bool(far.machines)
            if setup is not None and far.machines:
                # Nor have they run it at their start, as our own have.
                self.book.bring(setup)
        except BaseException:
            node.close(kill=True)
            raise

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: bool | None = None,
    ) -> Results[Any]:
        """`map(fn, *iterables)` over the slots: results in order, lazily, over iterables of any length.

        An error is raised where its result would have come, after those before it; the rest is cancelled.

        Parameters:
            timeout: seconds from this call; a result that is not there then raises TimeoutError.
            chunksize: items in a bundle; None measures what a call takes and chooses.
            buffersize: at most so many items are taken from the iterables ahead of the results.
            progress: a bar: True always, False never, None where somebody looks and it takes over a second.

        >>> import covey
        >>> with covey.Client(inline=True) as client:
        ...     list(client.map(pow, [2, 3], [5, 2]))
        [32, 9]
        """
        return self.map_with(
            PLAIN,
            fn,
            iterables,
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            progress=progress,
            in_order=True,
        )

    def imap_unordered(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: bool | None = None,
    ) -> Results[Any]:
        """As `map`, but a result comes as soon as it is there.

        >>> import covey
        >>> with covey.Client(inline=True) as client:
        ...     sorted(client.imap_unordered(abs, [-3, 1, -2]))
        [1, 2, 3]
        """
        return self.map_with(
            PLAIN,
            fn,
            iterables,
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            progress=progress,
            in_order=False,
        )

    @overload
    def options(self, *, detached: Literal[True], **settings: Unpack[Given]) -> Job: ...

    @overload
    def options(self, *, detached: Literal[False] = False, **settings: Unpack[Given]) -> Options: ...

    def options(
        self,
        *,
        priority: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        retry_wait: float | None = None,
        on_lost: str | None = None,
        gpu: float | None = None,
        speculate: bool | None = None,
        detached: bool = False,
    ) -> Options:
        """A view of this client whose tasks carry settings; it has submit, map and imap_unordered.

        Parameters:
            priority: among the tasks of this client a higher one goes first; 0 is the default.
            timeout: seconds that a call may run; then its slot is killed and the call raises TaskTimeout.
            retries: how often a call that raised is tried again.
            retry_on: after which exceptions: a type, or a tuple of types. None: any Exception.
            retry_wait: seconds of rest before the first retry, doubled for each further one, up to a minute; of each
                rest a random part is kept, so that calls which failed together do not come back together. 0: none.
            on_lost: "retry" runs a call again whose slot died or whose machine was lost. "fail" never does: where it
                may have begun, it raises MaybeRan.
            gpu: 1 for a slot that has a GPU, 0.25 for one on a GPU that up to four such calls share.
            speculate: begin what runs far longer than its siblings again, on an idle slot; the first outcome counts.
            detached: open a job at the broker's journal, whose calls outlive this program: see `covey.resume`. The view
                has `job_id` and `flush` besides.

        >>> import covey
        >>> with covey.Client(inline=True) as client:
        ...     client.options(priority=5, retries=2, retry_on=OSError, retry_wait=0.5).submit(pow, 2, 3).result()
        8
        """
        view = Options(self, PLAIN).options(
            priority=priority, timeout=timeout, retries=retries, retry_on=retry_on, retry_wait=retry_wait,
            on_lost=on_lost, gpu=gpu, speculate=speculate,
        )
        if detached is not False:
            from covey.client.job import open_job

            return open_job(self, view.settings, detached)
        return view

    def submit_with(
        self, settings: TaskSettings, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[Any]:
        """One call with settings; what a view of `options` calls."""
        if self._runner is not None:
            return self._runner.submit_with(settings, fn, args, kwargs)
        sender = self.footing.speculator(self, settings) if settings.speculate else self
        return sender.send(fn, args, kwargs, **settings.riders)

    def map_with(
        self,
        settings: TaskSettings,
        fn: Callable[..., Any],
        iterables: Sequence[Iterable[Any]],
        *,
        timeout: float | None,
        chunksize: int | None,
        buffersize: int | None,
        progress: bool | None,
        in_order: bool,
    ) -> Results[Any]:
        """A map with settings; what `map`, `imap_unordered` and a view of `options` call."""
        deadline = None if timeout is None else monotonic() + timeout
        require_map(fn, chunksize, buffersize)
        items, star, length = zipped(fn, iterables)
        bar = maybe_progress(self._progress if progress is None else progress, length, callable_name(fn))
        if self._runner is not None:
            if not self._taking:
                raise ClientClosed
            return Results(self._runner.map(settings, fn, items, star=star, deadline=deadline, progress=bar))
        self.require_taking()
        feeder = Feeder(
            self.footing.speculator(self, settings) if settings.speculate else self,
            self.book.seal_now(fn),
            items,
            star=star,
            sizer=Sizer(self.slots_for(settings), 1 if settings.alone else chunksize, buffersize, length),
            settings=settings,
            progress=bar,
            slots=partial(self.slots_for, settings) if self.footing.machines is not None else None,
        )
        self._maps.add(feeder)
        feeder.feed(ahead=True)
        self.flush()
        return Results(ordered(feeder, deadline) if in_order else unordered(feeder, deadline))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and let the slots go once what was taken is done.

        Safe to call again and from several threads. Ctrl-C while it waits stops everything at once.

        >>> import covey
        >>> client = covey.Client(inline=True)
        >>> client.shutdown()
        >>> client.closed
        True
        """
        if self._owner != os.getpid():
            return
        if self._runner is not None:
            self._runner.closed = self._closed = True
            self._taking = False
            return
        self._stop_taking(feed_maps=not cancel_futures)
        if cancel_futures:
            self.cancel_all()
        if not wait:
            if not self._closed:
                threading.Thread(target=self._close_when_idle, name="covey-closing", daemon=False).start()
            return
        try:
            self._close_when_idle()
        except KeyboardInterrupt:
            self.kill()
            raise

    def kill(self) -> None:
        """Stop everything now: slots are killed, unfinished futures raise ClientClosed. Safe to call twice.

        >>> import covey
        >>> client = covey.Client(inline=True)
        >>> client.kill()
        """
        if self._owner != os.getpid():
            return
        if self._runner is not None:
            self.shutdown()
            return
        # No lock: a thread in shutdown() may hold it while it waits for what is killed here.
        self._taking = False
        node = self._node
        if node is not None:
            node.close(kill=True)
        self.close(ClientClosed("this client was stopped before the call was done"))
        self._ended()

    def disown(self) -> None:
        """This process is a forked copy of the one that made the client: refuse everything, touch nothing."""
        self._taking = False
        self._closed = True
        if self._runner is None:
            self.refuse(ForkedClient())

    def _stop_taking(self, *, feed_maps: bool) -> None:
        with self._gate:
            if not self._taking:
                return
            self._taking = False
            if feed_maps:
                # `with Client() as c: results = c.map(f, xs)`, then list(results): as with any executor
                for feeder in list(self._maps):
                    feeder.feed_all()
            self.refuse(ClientClosed())

    def _close_when_idle(self) -> None:
        with self._end_lock:
            if self._closed:
                return
            self.footing.let_go()
            self.wait_idle()
            node = self._node
            if node is not None:
                self._last_totals = node.totals()
                if node.machines is not None and self._last_totals["accepted"]:
                    node.machines.name_before_the_end()
            self.close(ClientClosed())
            if node is not None:
                node.close()
            self._ended()

    def _ended(self) -> None:
        self._closed = True
        # so that a closed client which somebody still holds holds nothing of the flock
        self._node = None
        closing.discharge(self)

    def statistics(self) -> Statistics:
        """What this client and its flock have done and are doing, as a frozen record.

        >>> import covey
        >>> with covey.Client(inline=True) as client:
        ...     _ = client.submit(pow, 2, 3)
        ...     client.statistics().finished
        1
        """
        if self._runner is not None:
            here = self._runner
            return Statistics(slots=1, slots_up=1, unfinished=0, finished=here.finished, retried=here.retried)
        node = self._node
        totals = self._last_totals if node is None else node.totals()
        return statistics_of(self.slots + self.gpu_slots, self.unfinished, totals, self.footing.speculation)

    @property
    def address(self) -> str:
        """What another client of the same user gives as `where` to share this flock."""
        if not self._address:
            raise ValueError(f"{self!r} has no flock of its own to share")
        return self._address

    @property
    def folder(self) -> str:
        """The private directory of the flock."""
        return os.path.dirname(self.address.removeprefix("ipc://"))

    @property
    def sees_all_callers(self) -> bool:
        """Whether whoever else gives tasks to these slots does so from this machine, through `folder`."""
        return self._node is not None and self._node.machines is None

    @property
    def slots(self) -> int:
        """How many calls run at once, those that ask for a GPU aside."""
        if self._runner is not None:
            return 1
        node = self._node
        if node is None or node.machines is None:
            return super().slots
        cpus, _, beside = node.machines.capacity
        return max(1, node.count - node.gpu_slots + cpus + beside)

    def slots_for(self, settings: TaskSettings) -> int:
        """How many calls with these settings run at once."""
        if self._runner is not None:
            return 1
        cpu = 0
        if settings.needs & NEEDS_CPU:
            cpu = self.slots if settings.needs & NEEDS_CPU == NEEDS_CPU else self._slots_without_gpu()
        if not settings.needs & NEEDS_GPU:
            return max(1, cpu)
        on_one = min(WHOLE_SHARE // settings.share, self._slots_per_gpu) if settings.share else 1
        return max(1, cpu + self.gpu_slots * on_one)

    def _slots_without_gpu(self) -> int:
        """The CPU slots of machines that have no GPU, for calls that prefer one."""
        node = self._node
        if node is None:
            return super().slots
        own = 0 if node.gpu_slots else node.count
        return own + (node.machines.capacity[0] if node.machines is not None else 0)

    def wait_machines(self, timeout: float = 5.0) -> dict[str, str]:
        """Waits until every machine offers its slots or was tried in vain; names and returns those that are not there.

        >>> import covey
        >>> covey.Client(inline=True).wait_machines()
        {}
        """
        machines = self._node.machines if self._node is not None else None
        if machines is None:
            return {}
        machines.wait(lambda: machines.settled, timeout)
        return machines.name_missing()

    def wait_slots(self, timeout: float = 5.0) -> None:
        """Waits until there is a slot, or every machine was tried in vain; not at all where this one has slots.

        >>> import covey
        >>> covey.Client(inline=True).wait_slots()
        """
        node = self._node
        if node is None or node.machines is None or node.count:
            return
        machines = node.machines
        machines.wait(lambda: any(machines.capacity) or machines.settled, timeout)
        if not any(machines.capacity):
            machines.name_missing()

    def stop_machines(self) -> None:
        """Ends the worker scripts and nodes on the other machines, each with exit code 0, once what runs is done."""
        if self._node is not None and self._node.machines is not None:
            self._node.machines.expect_farewells()
            self._node.loop.stop_nodes()

    @property
    def inline(self) -> bool:
        """Whether calls run in this process."""
        return self._runner is not None

    @property
    def gpu_slots(self) -> int:
        """How many GPUs there are for the calls that ask for one, however many share it. 0: another client's flock."""
        node = self._node
        return self._gpu_slots + (node.machines.capacity[1] if node is not None and node.machines is not None else 0)

    def count_gpus(self) -> int:
        """As `gpu_slots`, but where there is none yet, those of other machines are waited for.

        >>> import covey
        >>> covey.Client(inline=True).count_gpus()
        0
        """
        machines = self._node.machines if self._node is not None else None
        if machines is not None:
            # Longer than until they have settled: a machine's first slot may be there before its GPU's is. A broker
            # tells at once what it has; what it has not may come in a day.
            machines.wait(lambda: self.gpu_slots > 0 or (self.gpus_may_come and machines.met), 5.0)
        return self.gpu_slots

    @property
    def gpus_may_come(self) -> bool:
        """Whether a call that asks for a GPU may wait for one that nobody has yet: nodes join a broker at any time."""
        return self.footing.file != ""

    @property
    def closed(self) -> bool:
        """Whether it takes calls no more."""
        return self._abandoned or not self._taking

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.kill()
        else:
            self.shutdown()

    def __del__(self) -> None:
        # getattr: __init__ may have raised before anything was set
        if getattr(self, "_closed", True) or self._runner is not None or self._owner != os.getpid():
            return
        # At once: a table of weak references (distributed/flocks) may find this client until it is gone.
        self._abandoned = True
        closing.abandon(self)

    def __repr__(self) -> str:
        if not getattr(self, "_taking", False):
            return "<covey.Client, closed>"
        if self._runner is not None:
            return "<covey.Client, inline>"
        slots, tasks = self.slots, self.unfinished
        return f"<covey.Client of {slots} slot{'s' * (slots != 1)}, {tasks} task{'s' * (tasks != 1)} unfinished>"
