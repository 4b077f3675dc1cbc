# SPDX-License-Identifier: BSD-3-Clause
"""The node in the client's own process: a run directory, a broker's loop in a thread, and the keeper of its slots.

Why here: on one machine the broker needs no process of its own. It is native and holds no GIL, so the user's
code and the broker do not stop each other; and it ends with the user's process, whatever ends that.

May not know: clients, futures, what a task is. Guarantees: `start` returns at once; after `close` no thread,
process, descriptor or file of the node is left; a forked child holds nothing of it and closes nothing of it.
"""

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pickle import PickleBuffer
from typing import Protocol

from covey import settings as settings_module
from covey.errors import CoveyError
from covey.node.detect import available_cpus, resolve_count
from covey.node.keeper import Keeper, SlotLoop
from covey.node.launch import Launcher
from covey.node.outfit import Outfit, slot_environment
from covey.node.rundir import RunDir, sweep
from covey.settings import Settings

__all__ = ["BrokerLoop", "LocalNode"]


class BrokerLoop(SlotLoop, Protocol):
    """What a node needs of the broker's loop, native or not."""

    def run(self) -> None: ...
    def stop(self) -> None: ...
    def stop_slots(self) -> None: ...
    def totals(self) -> Mapping[str, int]: ...
    def slots(self) -> list[dict[str, object]]: ...


MakeLoop = Callable[[Settings, str, str], BrokerLoop]


class LocalNode:
    """A broker and its slots on this machine, for as long as this object is open.

    `setup` is the sealed `(initializer, initargs)`. `on_broken` is told, from another thread and at most once, why
    no slot will ever run. The slots come up while `start` has long returned; what is asked meanwhile waits for them.

    >>> node = LocalNode(max_cpu=2)    # doctest: +SKIP
    >>> node.start()                   # doctest: +SKIP
    >>> node.close()                   # doctest: +SKIP
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        max_cpu: int | None = None,
        setup: tuple[bytes, Sequence[bytes | bytearray | memoryview | PickleBuffer]] | None = None,
        max_tasks: int = 0,
        on_broken: Callable[[CoveyError], None] | None = None,
        make_loop: MakeLoop | None = None,
    ) -> None:
        self.settings = settings_module.read() if settings is None else settings
        self.cpus = available_cpus(limit=self.settings.max_cpu)
        self.count = resolve_count(max_cpu, self.cpus)
        if self.count == 0:
            raise ValueError("max_cpu=0 leaves nothing that could run a task: give at least 1, or None for all CPUs")
        self._on_broken = on_broken
        self._broken_lock = threading.Lock()
        self._owner = os.getpid()
        self._folder = RunDir()
        try:
            self.address = f"ipc://{self._folder.join('broker')}"
            self.inproc = f"inproc://{os.path.basename(self._folder.path)}"
            native = make_loop is None and self.settings.native and _native_is_possible()
            outfit = Outfit(
                self.address, setup, max_tasks, self.settings.result_limit, native, self.settings.beat_every
            )
            self._loop = (make_loop or _loop_maker(native))(self.settings, self.address, self.inproc)
            launcher = Launcher(
                self._folder.write("outfit", outfit.pack()),
                slot_environment(self.cpus.count, self.count),
                self._folder.path,
            )
            self._keeper = Keeper(self.count, launcher, self._loop, self._tell_broken)
        except BaseException:
            self._folder.remove()
            raise
        self._thread = threading.Thread(target=self._serve, name="covey-broker", daemon=True)
        self._closed = False
        _nodes.add(self)

    def __repr__(self) -> str:
        return f"<LocalNode of {self.count} slots at {self.address}{', closed' if self._closed else ''}>"

    @property
    def loop(self) -> BrokerLoop:
        return self._loop

    @property
    def closed(self) -> bool:
        return self._closed

    def start(self) -> None:
        """Starts the broker's thread and the slots; does not wait for them."""
        self._thread.start()
        self._keeper.start()

    def pids(self) -> list[int]:
        """The slot processes that run now."""
        return self._keeper.pids()

    def totals(self) -> Mapping[str, int]:
        """The scheduler's counts, see `struct Totals` in `scheduler.pxd`."""
        return self._loop.totals()

    def slots(self) -> list[dict[str, object]]:
        """What the broker knows of each slot."""
        return self._loop.slots()

    def close(self, grace: float | None = None, *, kill: bool = False) -> None:
        """Lets the slots finish what they run for `grace` seconds (default: the settings'), then kills what is left.

        `kill=True` waits for nothing. May be called again and from any thread; a second call may make a first one
        shorter. In a forked child it does nothing.
        """
        if self._closed or os.getpid() != self._owner:
            return
        if not kill:
            grace = self.settings.grace if grace is None else grace
            # First, so that a slot that leaves because it is told to is not replaced.
            self._keeper.retire(grace)
            self._loop.stop_slots()
        self._keeper.close(grace or 0.0, kill=kill)
        # Only now: a slot that says BYE, or an outcome that is nearly there, needs somebody to listen.
        self._loop.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._folder.remove()
        self._closed = True
        if not kill:
            sweep()

    def abandon(self) -> None:
        """For a forked child: lets go of what belongs to its parent."""
        self._closed = True
        self._keeper.abandon()
        self._folder.remove()

    def _serve(self) -> None:
        try:
            self._loop.run()
        except BaseException as error:
            self._tell_broken(CoveyError(f"covey's broker has failed, and every task with it: {error!r}"))
            raise

    def _tell_broken(self, error: CoveyError) -> None:
        with self._broken_lock:
            tell, self._on_broken = self._on_broken, None
        if tell is not None:
            tell(error)


def _native_is_possible() -> bool:
    try:
        from covey.link import libzmq

        libzmq.load()
    except ImportError:
        return False
    return True


def _loop_maker(native: bool) -> MakeLoop:
    if native:
        from covey.broker.loop import Loop

        return Loop
    from covey.broker.pyloop import PythonLoop

    return PythonLoop


_nodes: "weakref.WeakSet[LocalNode]" = weakref.WeakSet()


def _abandon_all() -> None:
    for node in list(_nodes):
        if not node.closed:
            node.abandon()


os.register_at_fork(after_in_child=_abandon_all)
