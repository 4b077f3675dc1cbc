# SPDX-License-Identifier: BSD-3-Clause
"""The node in the client's own process: a run directory, a broker's loop in a thread, and the keeper of its slots.

Why here: on one machine the broker needs no process of its own. It is native and holds no GIL, so the user's
code and the broker do not stop each other; and it ends with the user's process, whatever ends that.

May not know: clients, futures, what a task is. Guarantees: `start` returns at once; after `close` no thread,
process, descriptor or file of the node is left; a forked child holds nothing of it and closes nothing of it.
"""

import functools
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Protocol

from covey import settings as settings_module
from covey.errors import CoveyError
from covey.node.descriptors import make_room
from covey.node.keeper import Keeper, SlotLoop
from covey.node.launch import Launcher
from covey.node.limits import NO_LIMITS, SlotLimits
from covey.node.machines import Machines
from covey.node.memory import resident_memory
from covey.node.nvml import memory_held
from covey.node.offer import Offer, detect_offer
from covey.node.outfit import Outfit, slot_environment
from covey.node.rundir import RunDir, sweep
from covey.node.seats import Seat, seats_of
from covey.node.spilling import BoundLoop
from covey.node.watch import MemoryWatch, in_mib
from covey.settings import Settings

if TYPE_CHECKING:
    from covey.broker.loop import Loop

__all__ = ["BrokerLoop", "LocalNode", "tell_leftovers"]

_log = logging.getLogger("covey.node")


class BrokerLoop(SlotLoop, Protocol):
    """What a node needs of the broker's loop, native or not."""

    name: str
    shared: bool

    def run(self) -> None: ...
    def stop(self) -> None: ...
    def stop_slots(self) -> None: ...
    def settle(self, seconds: float) -> None: ...
    def say_bye(self) -> None: ...
    def stop_nodes(self) -> None: ...
    def totals(self) -> Mapping[str, int]: ...
    def slots(self) -> list[dict[str, object]]: ...
    def nodes(self) -> list[dict[str, Any]]: ...
    def leave(self) -> int: ...
    def drain(self, name: str) -> bool: ...
    def ask(self, handle: int, text: str) -> int: ...
    def answer(self, handle: int, text: str) -> None: ...


MakeLoop = Callable[..., BrokerLoop]


class LocalNode:
    """A broker and its slots on this machine, for as long as this object is open.

    `offer` is what of the machine it may use; without one it looks for itself, under `max_cpu`, `max_gpu`, `gpus` and
    `min_gpu_memory`. `limits`: how long a slot is kept. `setup` is a client's initializer, as in Outfit. `path` is the
    slots' `sys.path`, where it is not the caller's. `on_broken` is told, from another thread and at most once, why no
    slot will ever run; `on_leave` is told when an asker wants the node to end, `on_word` what others ask or answer (see
    Keeper), `on_news` that somebody came or left. With `links` it may have no slots of its own, because it is going to
    have nodes below it (`machines`). `far`: it serves other programs, so what its tasks print is sent with this
    machine's name. The slots come up while `start` has long returned; what is asked meanwhile waits for them.

    >>> node = LocalNode(max_cpu=2)    # doctest: +SKIP
    >>> node.start()                   # doctest: +SKIP
    >>> node.close()                   # doctest: +SKIP
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        max_cpu: int | None = None,
        max_gpu: int | None = None,
        gpus: Sequence[int | str] | None = None,
        min_gpu_memory: int = 0,
        offer: Offer | None = None,
        name: str | None = None,
        setup: tuple[bytes, Sequence[bytes | bytearray | memoryview | PickleBuffer], bytes] | None = None,
        limits: SlotLimits = NO_LIMITS,
        links: bool = False,
        more_addresses: Sequence[str] = (),
        on_leave: Callable[[], None] | None = None,
        path: Sequence[str] | None = None,
        far: bool = False,
        on_word: Callable[[str, int, str], None] | None = None,
        on_news: Callable[[], None] | None = None,
        on_broken: Callable[[CoveyError], None] | None = None,
        make_loop: MakeLoop | None = None,
    ) -> None:
        self.settings = settings_module.read() if settings is None else settings
        if offer is None:
            offer = detect_offer(
                max_cpu=max_cpu,
                max_gpu=max_gpu,
                gpus=gpus,
                min_gpu_memory=min_gpu_memory,
                limit=self.settings.max_cpu,
            )
        self.offer = offer
        self.name = name
        seats = seats_of(offer.cpus, offer.gpus)
        self._count = len(seats)
        if not seats and not links:
            raise ValueError("max_cpu=0 leaves nothing that could run a task: give at least 1, or None for all CPUs")
        make_room(self._count)
        self._on_broken = on_broken
        self._broken_lock = threading.Lock()
        self._owner = os.getpid()
        self._folder = RunDir()
        loop: BrokerLoop | None = None
        keeper: Keeper | None = None
        try:
            self.address = f"ipc://{self._folder.join('broker')}"
            self.inproc = f"inproc://{os.path.basename(self._folder.path)}"
            native = make_loop is None and self.settings.native and _native_is_possible()
            self._loop = loop = (make_loop or _loop_maker(native))(
                self.settings, self.address, self.inproc, *more_addresses
            )
            # Among other programs' nodes each is known by a name, given or not.
            known_as = self._loop.name if far and name is None else name
            kept = limits.under(self.settings)
            outfit = Outfit(
                self.address, setup, kept.max_tasks, kept.recycle_rss, self.settings.result_limit, native,
                self.settings.beat_every, known_as, path, far,
            )
            launcher = Launcher(
                self._folder.write("outfit", outfit.pack()),
                slot_environment(offer.present.count, self.count),
                self._folder.path,
            )
            self._keeper = keeper = Keeper(
                seats, launcher, self._loop, self._tell_broken, on_leave, on_word, self.settings.slots_per_gpu,
                MemoryWatch(kept.max_rss), _leftovers_teller(),
            )
            on_alone = None if seats else self._tell_broken
            self.machines = Machines(self._native_loop(), on_alone, on_news) if links else None
        except BaseException:
            if keeper is not None:
                keeper.close()
            if loop is not None:
                _end_unused(loop)
            self._folder.remove()
            raise
        self._thread = threading.Thread(target=self._serve, name="covey-broker", daemon=True)
        self._closed = False
        _nodes.add(self)

    def __repr__(self) -> str:
        count = f"{self.count} slot{'s' * (self.count != 1)}"
        return f"<LocalNode of {count} at {self.address}{', closed' if self._closed else ''}>"

    @property
    def count(self) -> int:
        """How many slots it keeps, of all kinds; those that share a GPU count as one."""
        return self._count

    @property
    def gpu_slots(self) -> int:
        """How many of them have a GPU."""
        return len(self.offer.gpus)

    @property
    def loop(self) -> BrokerLoop:
        return self._loop

    def open_gate(self, addresses: Sequence[str], secret: bytes, allowed: Mapping[bytes, str]) -> list[str]:
        """Lets other machines in, before `start`: TCP addresses, our secret key, and what each key opens."""
        return self._native_loop().open_gate(addresses, secret, allowed)

    def strangers(self) -> tuple[int, str, int]:
        """Who was kept out at the gate: keys refused, from where the last of all, handshakes without a key."""
        return self._native_loop().strangers()

    def turned_away(self) -> tuple[int, str]:
        """How many came with the right key and were refused nevertheless; who was the last, and why."""
        return self._native_loop().turned_away()

    @property
    def bound_loop(self) -> BoundLoop:
        """The loop as one whose memory can be bounded."""
        return self._native_loop()

    def _native_loop(self) -> "Loop":
        from covey.broker.loop import Loop

        if not isinstance(self._loop, Loop):
            raise CoveyError(
                "machines need covey's native loop, and it cannot be had here (COVEY_NATIVE=0, or a pyzmq whose "
                "functions cannot be called from C): this process can use its own machine only"
            )
        return self._loop

    @property
    def closed(self) -> bool:
        return self._closed

    def start(self) -> None:
        """Starts the broker's thread and the slots; does not wait for them."""
        self._thread.start()
        self._keeper.start()
        if self.machines is not None:
            self.machines.start()

    def adopt(self, wanted: bool) -> None:
        """Whether this process reaps what its slots' tasks leave behind: not in a user's program, which may do that."""
        self._keeper.adopt(wanted)

    def pids(self) -> list[int]:
        """The slot processes that run now."""
        return self._keeper.pids()

    def totals(self) -> Mapping[str, int]:
        """The scheduler's counts, see `struct Totals` in `scheduler.pxd`."""
        return self._loop.totals()

    def slots(self) -> list[dict[str, object]]:
        """What is known of each slot: what the broker says, its GPU (a uuid, or None), and its memory in bytes."""
        return [row | self._of_this_machine(row) for row in self._loop.slots()]

    def _of_this_machine(self, row: Mapping[str, object]) -> dict[str, object]:
        number, pid = row.get("number"), row.get("pid")
        seat = self._keeper.find_seat(number) if isinstance(number, int) else None
        return {
            "gpu": seat.gpu.uuid if seat is not None and seat.gpu is not None else None,
            "memory": resident_memory(pid) if isinstance(pid, int) else None,
        }

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
        if self.machines is not None:
            self.machines.close()
        self._loop.say_bye()
        # Only now: a slot that says BYE, or an outcome that is nearly there, needs somebody to listen.
        if self._thread.ident is not None:
            self._loop.stop()
            self._thread.join()
        else:
            _end_unused(self._loop)
        if self.machines is not None:
            self.machines.close_bridges()
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


def _leftovers_teller() -> Callable[[Seat, int], None] | None:
    # Only where NVML was asked for the GPUs when the node was made: nobody's driver is woken for this.
    nvml = sys.modules.get("pynvml")
    return None if nvml is None else functools.partial(tell_leftovers, nvml)


def tell_leftovers(nvml: Any, seat: Seat, pid: int) -> None:
    """Tells the log if a slot that is dead still holds memory of its GPU."""
    assert seat.gpu is not None
    held = memory_held(nvml, seat.gpu.uuid, pid)
    if held is not None:
        how_much = in_mib(held) if held else "some"
        _log.warning(
            "slot %d (pid %d) has died, and GPU %d (%s) still holds %s of its memory: the driver may need a reset",
            seat.number, pid, seat.gpu.index, seat.gpu.uuid, how_much,
        )


def _end_unused(loop: BrokerLoop) -> None:
    """A loop gives back its sockets, and pyzmq's its context, as `run` ends."""
    loop.stop()
    loop.run()


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
