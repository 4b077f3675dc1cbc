# SPDX-License-Identifier: BSD-3-Clause
"""Starting one slot process, and reaping it: all that touches the operating system's processes.

Why exec and not fork: the caller has threads (ours, numpy's, its own), and a forked copy of a process with
threads may hang at its first lock. Each slot is a process group of its own, so that what a task started
dies with it and Ctrl-C at a terminal reaches only the caller.

May not know: when to start, whom to tell. Guarantees: no descriptor of ours but the four meant gets into a
slot; a process is reaped only by `reap`, and until then its pid and its group mean no other process.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from covey.node.ending import Ending
from covey.node.seats import Seat
from covey.slot.bootstrap import SOURCE

__all__ = ["Child", "Launcher"]

# One uint64_t, see Runner.
_MARK_SIZE = 8


@dataclass(slots=True)
class Child:
    """A slot process that was started and not yet reaped.

    Descriptors: `death` becomes readable when it has ended; in `log` it writes what it has to say about itself, and
    in the eight bytes of `mark` the token of the task that runs in it, so that nobody has to ask it when it is dead.
    """

    number: int
    pid: int
    death: int
    log: int
    mark: int
    why: str | None = None
    started: float = field(default_factory=time.monotonic)

    def kill(self, why: str | None) -> None:
        """Kills it and what it started. The first reason given is the one that is told."""
        self.why = self.why or why
        _kill_group(self.pid)

    def is_up(self) -> bool:
        return os.pread(self.log, 1, 0) == b"u"

    def reap(self, host: str) -> Ending:
        """Takes the exit status of an ended process, and with it everything that it left behind."""
        # Before the pid is given back to the kernel: afterwards it may name another group.
        _kill_group(self.pid)
        try:
            status = os.waitid(os.P_PID, self.pid, os.WEXITED)
        except ChildProcessError:
            # SIGCHLD is ignored here, or somebody waits for every child of the process.
            status = None
        code = None
        if status is not None:
            code = status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
        said, _, sealed_error = os.pread(self.log, os.fstat(self.log).st_size, 0).partition(b"\0")
        token = int.from_bytes(os.pread(self.mark, _MARK_SIZE, 0), sys.byteorder)
        self.forget()
        return Ending(self.number, self.pid, host, code, said.decode(errors="replace"), sealed_error, token, self.why)

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
        # The slots hold the reading end. No one ever writes: the kernel closes the other end with this process.
        self._lifeline, self._held = os.pipe()
        self.command = [_interpreter(), *subprocess._args_from_interpreter_flags(), "-c", SOURCE, outfit]  # type: ignore[attr-defined]

    def start(self, seat: Seat) -> Child:
        """Starts the slot of a seat; returns when its interpreter runs, long before it is ready for tasks."""
        log = self._open_file(seat.number, "log")
        mark = self._open_file(seat.number, "mark")
        os.ftruncate(mark, _MARK_SIZE)
        # What an interpreter that does not start has to say goes to the log; one that starts puts the
        # caller's stderr back in its place, for what C code prints.
        stderr = _copy_or_null(2)
        numbers = (seat.number, seat.kind, seat.device, os.getpid(), self._lifeline, stderr, mark)
        try:
            process = subprocess.Popen(
                [*self.command, *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                stdout=None if _is_open(1) else subprocess.DEVNULL,
                stderr=log,
                env={**self._environment, **seat.environment()},
                process_group=0,
                pass_fds=(self._lifeline, stderr, mark),
            )
        except BaseException:
            os.close(log)
            os.close(mark)
            raise
        finally:
            os.close(stderr)
        # We reap it ourselves; a Popen that believes its process to run would wait for it too, in a finalizer.
        process.returncode = 0
        try:
            return Child(seat.number, process.pid, _open_death(process.pid), log, mark)
        except BaseException:
            _kill_group(process.pid)
            os.waitpid(process.pid, 0)
            os.close(log)
            os.close(mark)
            raise

    def close(self) -> None:
        """Lets go of the lifeline: a slot that still lives exits."""
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


def _copy_or_null(descriptor: int) -> int:
    return os.dup(descriptor) if _is_open(descriptor) else os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


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
