# SPDX-License-Identifier: BSD-3-Clause
"""Starting one slot process, and reaping it: all that touches the operating system's processes.

Why exec and not fork: the caller has threads (ours, numpy's, its own), and a forked copy of a process with
threads may hang at its first lock. Each slot is a process group of its own, so that what a task started dies with it
and Ctrl-C at a terminal reaches only the caller; what has left the group is known by its environment. Not a session:
the kernel shares the cores out between sessions first, and those who wait by turns would wait longer.

May not know: when to start, whom to tell. Guarantees: no descriptor of ours but the four meant gets into a
slot; a process is reaped only by `reap`, and until then its pid and its group mean no other process.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from covey.link.kin import kill_kin
from covey.node.cgroups import lines_of
from covey.node.ending import Ending
from covey.node.memory import available_memory
from covey.node.seats import Seat
from covey.node.starvation import KillCounter
from covey.node.stderr import SlotStderr, StderrThread
from covey.node.watch import Worker, in_mib
from covey.slot import KIN
from covey.slot.bootstrap import SOURCE

__all__ = ["Child", "Launcher"]

# One uint64_t, and behind it the name of a function; see Runner.
_MARK_SIZE = 128
_TOKEN_SIZE = 8
# What the system counts the most memory of a process in.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(slots=True)
class Child:
    """A slot process that was started and not yet reaped.

    Descriptors: `death` becomes readable when it has ended; in `log` it writes what it has to say about itself, and
    in `mark` the token of the task that runs in it and the name of its function, so that nobody has to ask it when it
    is dead. `kin` stands in the environment of all that it starts. `kills`: what the kernel had counted by its start
    (KillCounter). `inherited`: bytes; its most memory counts from there, because a process begins as a copy of its
    parent.
    """

    number: int
    pid: int
    death: int
    log: int
    mark: int
    stderr: SlotStderr
    kin: bytes
    kills: Mapping[str, int] = field(default_factory=dict)
    inherited: int = 0
    why: str | None = None
    starved: bool = False
    started: float = field(default_factory=time.monotonic)

    def kill(self, why: str | None, *, starved: bool = False) -> None:
        """Kills it and what it started. The first reason given is the one that is told."""
        if self.why is None:
            self.why, self.starved = why, starved
        _kill_group(self.pid)

    def token(self) -> int:
        """Of the task that runs in it; 0: none."""
        return int.from_bytes(os.pread(self.mark, _TOKEN_SIZE, 0), sys.byteorder)

    def worker(self) -> Worker | None:
        """It, if a task runs in it."""
        token = self.token()
        if not token:
            return None
        name = os.pread(self.mark, _MARK_SIZE - _TOKEN_SIZE, _TOKEN_SIZE).partition(b"\0")[0]
        return Worker(self.pid, token, self.number, name.decode(errors="replace"))

    def is_up(self) -> bool:
        return os.pread(self.log, 1, 0) == b"u"

    def reap(self, host: str, kills: KillCounter | None = None, *, sweep: bool = True) -> Ending:
        """Takes the exit status of an ended process, and with it everything that it left behind.

        `sweep=False`: but for what has left its group, because the node as a whole is swept.
        """
        # Before the pid is given back to the kernel: afterwards it may name another group.
        _kill_group(self.pid)
        if sweep:
            kill_kin(self.kin, (self.pid,))
        code, peak = None, 0
        # ChildProcessError: SIGCHLD is ignored here, or somebody waits for every child of the process.
        with contextlib.suppress(ChildProcessError):
            _, status, usage = os.wait4(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            peak = usage.ru_maxrss * _RSS_UNIT
        said, _, sealed_error = os.pread(self.log, os.fstat(self.log).st_size, 0).partition(b"\0")
        token = self.token()
        self.forget()
        starved: bool | None = self.starved
        if code == -signal.SIGKILL and self.why is None:
            starved = None if kills is None else kills.explains(self.kills)
        return Ending(
            self.number, self.pid, host, code, said.decode(errors="replace"), sealed_error, token, self.why,
            starved=starved,
            peak=peak if peak > self.inherited else 0,
            limit=_limit() if starved else "",
            stderr=self.stderr.finish(),
        )

    def forget(self) -> None:
        os.close(self.death)
        os.close(self.log)
        os.close(self.mark)


class Launcher:
    """Starts slots with one outfit, and one environment but for what their seats add.

    The thread that starts them must outlive them: PR_SET_PDEATHSIG, by which a slot dies with its parent, means the
    parent's *thread*.
    """

    def __init__(self, outfit: str, environment: dict[str, str], folder: str) -> None:
        self._outfit = outfit
        self._environment = environment
        self._folder = folder
        # Of this node: the slot in which it runs itself, if it does, and a name that nobody else has.
        self.kin = f"{environment.get(KIN, '')}{os.urandom(8).hex()}."
        self._started = 0
        # The slots hold the reading end. No one ever writes: the kernel closes the other end with this process.
        self._lifeline, self._held = os.pipe()
        self._stderr = StderrThread()
        self.command = [_interpreter(), *subprocess._args_from_interpreter_flags(), "-c", SOURCE, outfit]  # type: ignore[attr-defined]

    def start(self, seat: Seat, kills: Mapping[str, int] | None = None) -> Child:
        """Starts the slot of a seat; returns when its interpreter runs, long before it is ready for tasks."""
        log = self._open_file(seat.number, "log")
        mark = self._open_file(seat.number, "mark")
        os.ftruncate(mark, _MARK_SIZE)
        # What an interpreter that does not start has to say goes to the log; one that starts puts this in
        # its place, for what C code prints.
        said, stderr = self._stderr.open()
        self._started += 1
        kin = f"{self.kin}{self._started};"
        inherited = _peak_of_us()
        numbers = (seat.number, seat.kind, seat.device, os.getpid(), self._lifeline, stderr, mark)
        try:
            process = subprocess.Popen(
                [*self.command, *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                stdout=None if _is_open(1) else subprocess.DEVNULL,
                stderr=log,
                env={**self._environment, **seat.environment(), KIN: kin},
                process_group=0,
                pass_fds=(self._lifeline, stderr, mark),
            )
        except BaseException:
            os.close(log)
            os.close(mark)
            said.finish()
            raise
        finally:
            os.close(stderr)
        # We reap it ourselves; a Popen that believes its process to run would wait for it too, in a finalizer.
        process.returncode = 0
        try:
            return Child(
                seat.number, process.pid, _open_death(process.pid), log, mark, said, kin.encode(), kills or {},
                inherited,
            )
        except BaseException:
            _kill_group(process.pid)
            os.waitpid(process.pid, 0)
            os.close(log)
            os.close(mark)
            said.finish()
            raise

    def sweep(self, pids: Sequence[int]) -> None:
        """Kills what the slots that this started have left running, wherever it has gone. `pids`: of slots reaped
        without a sweep."""
        kill_kin(self.kin.encode(), pids)

    def close(self) -> None:
        """Lets go of the lifeline, so that a slot that still lives exits, and passes on what they wrote last."""
        self._stderr.close()
        if self._held >= 0:
            os.close(self._held)
            os.close(self._lifeline)
            self._held = self._lifeline = -1

    def _open_file(self, number: int, kind: str) -> int:
        path = os.path.join(self._folder, f"slot-{number}-{os.urandom(4).hex()}.{kind}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Its name has done its service: what has none need not be removed.
        os.unlink(path)
        return descriptor


def _limit() -> str:
    memory = available_memory()
    return f"{memory.because} is {in_mib(memory.total)}" if memory.total else ""


def _peak_of_us() -> int:
    # What getrusage says of us may be what we have from our own parent, and a child gets nothing of that.
    for line in lines_of("/proc/self", "status"):
        name, _, size = line.partition(":")
        if name == "VmHWM":
            return int(size.split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


def _interpreter() -> str:
    if not sys.executable:
        raise RuntimeError("covey starts its slots with the Python that runs here, and sys.executable does not name it")
    return sys.executable


def _kill_group(pid: int) -> None:
    # These mean: gone, or (macOS) nothing but zombies in it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _open_death(pid: int) -> int:
    """A descriptor that becomes readable when the process ends, and leaves the reaping to us."""
    if hasattr(os, "pidfd_open"):
        # OSError: a kernel before 5.3, or a sandbox that does not know the call.
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    readable, writable = os.pipe()
    threading.Thread(target=_close_at_death, args=(pid, writable), name=f"covey-wait-{pid}", daemon=True).start()
    return readable


def _close_at_death(pid: int, writable: int) -> None:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        pass
    finally:
        os.close(writable)
