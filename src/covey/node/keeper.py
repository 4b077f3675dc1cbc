# SPDX-License-Identifier: BSD-3-Clause
"""The keeper of a node's slots: starts them, notices their deaths, replaces them, kills them.

    start()  ──►  ┌─ keeper thread ────────────────┐  expect_slot, slot_died  ┌────────┐
    close()  ──►  │ poll(wake, orders, deaths …)   │ ───────────────────────► │ broker │
                  │ start · reap · replace · kill  │ ◄─────────────────────── │  loop  │
                  └────────────────────────────────┘  orders: kill, share    └────────┘

Why one thread for all of it: a slot dies with the thread that started it (see `launch`), so this thread
lives exactly as long as the slots; and what only one thread touches needs no lock.

May not know: tasks, clients, the wire. It says who died and how; whom that blames is the broker's business.

Guarantees: it sleeps while no task runs and nothing happens; a slot that dies is replaced at once; slots that cannot be
started are not started for ever (`on_broken` is told why, once); when `close` has returned, no slot
and nothing that a slot's tasks have started is left, and every process is reaped.
"""

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from covey.errors import CoveyError, InitializerFailed, SlotsWillNotStart
from covey.link.kin import adopt_orphans
from covey.node.ending import Ending
from covey.node.launch import Child, Launcher
from covey.node.seats import Seat, further_seats
from covey.node.starvation import KillCounter
from covey.node.watch import MemoryWatch

__all__ = ["Keeper", "SlotLoop"]

# So many starts in a row may fail while no other slot is up; then it is not bad luck.
_FAILURES = 3
# More patience where somebody kills them: most likely the kernel, as long as memory is short.
_KILLS = 10
# While others work, a slot that does not start is tried again ever more rarely, up to this many seconds.
_LONGEST_PAUSE = 30.0
# A driver may need so long to take back what a dead process had.
_DRIVERS_TIME = 1.0

_log = logging.getLogger("covey.node")


class SlotLoop(Protocol):
    """What the keeper needs of the broker's loop."""

    @property
    def orders_fd(self) -> int: ...
    def expect_slot(self, number: int, pid: int) -> None: ...
    def slot_died(
        self, pid: int, planned: bool, report: str, token: int, starved: bool, peak: int
    ) -> None: ...
    def await_work(self) -> bool: ...
    def may_starve(self, token: int) -> bool: ...
    def take_orders(self) -> list[tuple[str, int, bytes]]: ...


class Keeper:
    """Keeps a slot running in each of `seats`, from `start` until `close`. Safe to use from any thread.

    Where tasks ask for a part of a GPU it adds seats, up to `slots_per_gpu` on each.

    `on_broken` is called from the keeper's thread, at most once; `on_word` with each "query" or "answer" that the
    loop has, its handle or number, and its text. `on_gpu_death` with the seat and the pid of each slot with a GPU that
    has died, a second later.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        launcher: Launcher,
        loop: SlotLoop,
        on_broken: Callable[[CoveyError], None] | None = None,
        on_leave: Callable[[], None] | None = None,
        on_word: Callable[[str, int, str], None] | None = None,
        slots_per_gpu: int = 1,
        watch: MemoryWatch | None = None,
        on_gpu_death: Callable[[Seat, int], None] | None = None,
    ) -> None:
        # Only the keeper's thread adds to it.
        self._seats = {seat.number: seat for seat in seats}
        self._launcher = launcher
        self._loop = loop
        self._on_broken = on_broken
        self._on_leave = on_leave
        self._on_word = on_word
        self._slots_per_gpu = slots_per_gpu
        self._watch = watch or MemoryWatch()
        self._on_gpu_death = on_gpu_death
        self._kills = KillCounter()
        self._host = os.uname().nodename
        self._owner = os.getpid()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._run, name="covey-keeper", daemon=True)
        self._lock = threading.Lock()
        # Written by any thread under the lock, read by the keeper's:
        self._started = False
        self._deadline: float | None = None  # when closing: at which time what is left is killed
        # Only the keeper's thread touches these. A number is in `_children` (as Child.number) or in `_due`,
        # or it is not wanted any more.
        self._children: dict[int, Child] = {}  # by the descriptor of its death
        self._due: dict[int, float] = dict.fromkeys(self._seats, 0.0)  # number → when to start it
        self._failures: dict[int, int] = {}  # number → starts of it that failed in a row
        self._in_a_row = 0  # starts of any that failed since a slot was last seen up
        self._broken = False
        self._look_at: float | None = None  # when memory is looked at; None: not before somebody works
        self._adopts = False
        self._unswept: list[int] = []  # slots that were reaped while closing, as it is done for all of them at once
        self._dead_with_gpu: list[tuple[float, Seat, int]] = []  # and when it is asked what they have left behind
        self._poll = select.poll()

    def __repr__(self) -> str:
        state = "closed" if self._is_closing() else "open" if self._started else "new"
        return f"<Keeper of {len(self._seats)} slots, {state}: {len(self._children)} running>"

    def start(self) -> None:
        """Starts the slots; returns at once."""
        with self._lock:
            if self._started or self._deadline is not None:
                return
            self._started = True
        self._thread.start()

    def pids(self) -> list[int]:
        """The processes that run now, by slot number."""
        return [child.pid for child in sorted(self._children.values(), key=lambda child: child.number)]

    def find_seat(self, number: int) -> Seat | None:
        """The seat of that number."""
        return self._seats.get(number)

    def close(self, grace: float = 0.0, *, kill: bool = False) -> None:
        """Waits up to `grace` seconds for the slots to leave (somebody else tells them to), and kills the rest.

        May be called again, from any thread, also while another call waits, to make it shorter.
        """
        self.retire(0.0 if kill else grace)
        if os.getpid() == self._owner and self._thread.ident and threading.current_thread() is not self._thread:
            self._thread.join()

    def retire(self, grace: float) -> None:
        """Begins to close: starts and replaces no slot from now on, and kills those left after `grace` seconds."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            deadline = time.monotonic() + grace
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
            if not self._started:
                self._started = True
                self._let_go()
            elif self._wake_write >= 0:
                # Under the lock, because the keeper closes this descriptor under it: its number may be reused.
                # A pipe that is full wakes as well as one more byte would.
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_write, b"w")

    def adopt(self, wanted: bool) -> None:
        """Makes this process the parent of what its slots' tasks leave behind, to reap it; for a process of its own."""
        self._adopts = adopt_orphans(wanted) and wanted

    def abandon(self) -> None:
        """For a forked child: lets go of its copies of our descriptors. The slots are its parent's."""
        self._owner = -1
        for child in list(self._children.values()):
            child.forget()
        self._children.clear()
        self._let_go()

    # From here on: the keeper's thread.

    def _run(self) -> None:
        self._poll.register(self._wake_read, select.POLLIN)
        self._poll.register(self._loop.orders_fd, select.POLLIN)
        try:
            self._await_work()
            while not self._is_closing() or self._children:
                self._start_due()
                self._ask_for_leftovers()
                self._kill_late()
                self._look()
                for descriptor, events in self._poll.poll(self._patience()):
                    if descriptor == self._wake_read:
                        os.read(self._wake_read, 4096)
                    elif descriptor in self._children:
                        self._bury(descriptor)
                    elif events & select.POLLIN:
                        self._obey()
                    else:
                        # The loop has gone before us; it says nothing more.
                        self._poll.unregister(descriptor)
        except BaseException as error:
            # Without this thread nobody looks after the slots, and the kernel kills them as it ends.
            self._break(SlotsWillNotStart(f"covey cannot look after its slots any more: {error!r}"))
            raise
        finally:
            for child in self._children.values():
                child.kill(None)
                child.reap(self._host, sweep=False)
                self._unswept.append(child.pid)
            self._children.clear()
            self._launcher.sweep(self._unswept)
            self._reap_orphans()
            with self._lock:
                self._let_go()

    def _start_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, when in self._due.items() if when <= now]:
            # Looked at before each one: with many slots this loop takes a while.
            if self._is_closing() or self._broken:
                break
            del self._due[number]
            try:
                child = self._launcher.start(self._seats[number], self._kills.now())
            except OSError as error:
                self._on_failure(number, f"slot {number} on {self._host} cannot be started: {error}", str(error))
                continue
            self._children[child.death] = child
            self._poll.register(child.death, select.POLLIN)
            self._loop.expect_slot(number, child.pid)
        if self._is_closing() or self._broken:
            self._due.clear()

    def _bury(self, descriptor: int) -> None:
        child = self._children.pop(descriptor)
        self._poll.unregister(descriptor)
        closing = self._is_closing()
        ending = child.reap(self._host, self._kills, sweep=not closing)
        if closing:
            self._unswept.append(child.pid)
        self._reap_orphans()
        report = ending.report()
        self._loop.slot_died(
            ending.pid, ending.planned, ending.death_report(), ending.token, bool(ending.starved), ending.peak
        )
        seat = self._seats[ending.number]
        if seat.gpu is not None and self._on_gpu_death is not None:
            self._dead_with_gpu.append((time.monotonic() + _DRIVERS_TIME, seat, ending.pid))
        if self._is_closing() or self._broken:
            self._dead_with_gpu.clear()
            return
        if ending.setup_failed:
            self._break(_initializer_failed(ending))
        elif ending.was_up or ending.planned or ending.why is not None:
            self._failures.pop(ending.number, None)
            self._in_a_row = 0
            self._due[ending.number] = 0.0
            if not ending.planned:
                _log.warning("%s; another is started in its place", report)
        else:
            self._on_failure(ending.number, report, ending.tail(), _KILLS if ending.from_outside else _FAILURES)

    def _on_failure(self, number: int, report: str, details: str, limit: int = _FAILURES) -> None:
        failures = self._failures[number] = self._failures.get(number, 0) + 1
        alone = not any(child.is_up() for child in self._children.values())
        self._in_a_row = self._in_a_row + 1 if alone else 0
        if self._in_a_row >= limit:
            # All slots are started alike: what keeps these from starting keeps every other one from it.
            self._break(SlotsWillNotStart(f"covey cannot start its slots: {report}\n{details}".rstrip()))
            return
        pause = 0.0 if failures < _FAILURES else min(_LONGEST_PAUSE, 0.25 * 2 ** (failures - _FAILURES))
        self._due[number] = time.monotonic() + pause
        # Once is no news: either it works the next time, or an error says all this again.
        _log.log(logging.WARNING if pause else logging.INFO, "%s; it is tried again in %.3g s", report, pause)

    def _break(self, error: CoveyError) -> None:
        if self._broken:
            return
        self._broken = True
        self._due.clear()
        if self._on_broken is not None:
            self._on_broken(error)

    def _obey(self) -> None:
        for verb, pid, why in self._loop.take_orders():
            # "setup" says that an initializer failed; the slot's log says the same, whichever comes first.
            if verb == "leave" and self._on_leave is not None:
                self._on_leave()
            elif verb in ("query", "answer") and self._on_word is not None:
                self._on_word(verb, pid, why.decode(errors="replace"))
            elif verb == "share":
                self._add_seats(pid)
            elif verb == "work":
                self._look_at = time.monotonic() + self._watch.pause
            elif verb == "kill":
                for child in self._children.values():
                    if child.pid == pid:
                        child.kill(why.decode() or "its task was to end at once")

    def _add_seats(self, share: int) -> None:
        """For tasks that take so much of a GPU; the slots are started before the next wait."""
        for seat in further_seats(self._seats.values(), share, self._slots_per_gpu):
            self._seats[seat.number] = seat
            self._due[seat.number] = 0.0

    def _await_work(self) -> None:
        idle = not self._watch.sees or self._loop.await_work()
        self._look_at = None if idle else time.monotonic() + self._watch.pause

    def _look(self) -> None:
        """At the memory of those that work, if it is time to."""
        now = time.monotonic()
        if self._look_at is None or now < self._look_at or self._is_closing():
            return
        workers = {child.pid: worker for child in self._children.values() if (worker := child.worker()) is not None}
        self._reap_orphans()
        if not workers:
            self._await_work()
            return
        ends = dict(self._watch.look(workers.values(), self._loop.may_starve))
        for child in self._children.values():
            # Not one that has come to its end, or to another task, while we looked.
            if child.pid in ends and child.token() == workers[child.pid].token:
                child.kill(ends[child.pid], starved=True)
        self._look_at = now + self._watch.pause

    def _reap_orphans(self) -> None:
        """What slots have left behind and what became ours by that, once it has ended; a child of somebody else in this
        process is of our own group, and left alone."""
        while self._adopts:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None or any(child.pid == found.si_pid for child in self._children.values()):
                    return
                if os.getpgid(found.si_pid) == os.getpgid(0):
                    return
                os.waitpid(found.si_pid, 0)
            except (ChildProcessError, ProcessLookupError):
                return

    def _ask_for_leftovers(self) -> None:
        now = time.monotonic()
        for when, seat, pid in [dead for dead in self._dead_with_gpu if dead[0] <= now]:
            self._dead_with_gpu.remove((when, seat, pid))
            if self._on_gpu_death is not None:
                self._on_gpu_death(seat, pid)

    def _kill_late(self) -> None:
        deadline = self._deadline
        if deadline is not None and time.monotonic() >= deadline:
            for child in self._children.values():
                child.kill("its node was closed")

    def _patience(self) -> float | None:
        """Milliseconds until something is due without anything having happened; None: for ever."""
        moments = list(self._due.values())
        if self._deadline is not None:
            moments.append(self._deadline)
        elif self._look_at is not None:
            moments.append(self._look_at)
        moments += [when for when, _, _ in self._dead_with_gpu]
        if not moments:
            return None
        left = min(moments) - time.monotonic()
        # A deadline in the past has been seen to: what it killed shows up as deaths.
        return None if left <= 0 and self._deadline is not None else max(0.0, left * 1000.0 + 1.0)

    def _is_closing(self) -> bool:
        return self._deadline is not None

    def _let_go(self) -> None:
        self._launcher.close()
        for name in ("_wake_read", "_wake_write"):
            descriptor = getattr(self, name)
            setattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)


def _initializer_failed(ending: Ending) -> InitializerFailed:
    from covey.codec.outcome import open_error  # only here, where it is needed once

    error = InitializerFailed(ending.report())
    if ending.sealed_error:
        error.__cause__ = open_error(ending.sealed_error)
    return error
