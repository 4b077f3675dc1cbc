# SPDX-License-Identifier: BSD-3-Clause
"""Every error that covey itself raises, on one screen.

Why: a user who catches `CoveyError` catches whatever is covey's fault or covey's finding, and never
an error of the user's own function: those keep their own type. Where Python has a type for the same
thing (TypeError, TimeoutError, ImportError …) ours is one of it too.

May not know: anything else of covey. Guarantees: each can be pickled and comes back equal, because
`args` holds exactly what the constructor took; the sentence is made when it is read.
"""
from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from pickle import PicklingError


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size >= 2**17 else f"{size:,} bytes"


def _listed(lines: tuple[str, ...]) -> str:
    # What a line has below it, the last lines of a slot's stderr, stays below it.
    shown = (line.replace("\n", "\n       ") for line in lines)
    return "".join(f"\n  {number}. {line}" for number, line in enumerate(shown, 1))


class CoveyError(Exception):
    """Whatever covey raises on its own account.

    >>> issubclass(PoisonTask, CoveyError)
    True
    """


class NotPicklable(CoveyError, PicklingError, TypeError):
    """A function or an argument cannot be sent; the sentence says which, of what type, and why."""


class ResultNotPicklable(NotPicklable):
    """A function returned something that cannot be sent back."""


class ResultNotLoadable(CoveyError):
    """A result arrived, but rebuilding the object from its bytes failed here."""


class RemoteError(CoveyError):
    """Stands for a user's exception that could not travel as itself.

    >>> print(RemoteError("pkg.Odd", "no luck", "", "its __init__ wants more arguments"))
    pkg.Odd: no luck (the exception itself could not be rebuilt: its __init__ wants more arguments)
    """

    def __init__(self, type_name: str, message: str, traceback: str = "", reason: str = "") -> None:
        super().__init__(type_name, message, traceback, reason)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback
        self.reason = reason

    def __str__(self) -> str:
        text = f"{self.type_name}: {self.message}" if self.message else self.type_name
        if self.reason:
            text += f" (the exception itself could not be rebuilt: {self.reason})"
        return f"{text}\n\n{self.traceback.rstrip()}" if self.traceback else text


class _TooLarge(ValueError):
    remedy = ""

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(what, size, limit)
        self.what = what
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.what} takes {_megabytes(self.size)}, over the limit of {_megabytes(self.limit)}; {self.remedy}"


class ResultTooLarge(_TooLarge, CoveyError):
    """A result is over the size limit: `ResultTooLarge("the result of f()", size, limit)`."""

    remedy = "return less, write it to a file, or raise result_limit"


class ParcelTooLarge(_TooLarge, CoveyError):
    """A call is over the size limit: `ParcelTooLarge("the call of f()", size, limit)`."""

    remedy = "pass less, let the slot read it from a file, or give it as shared_data"


class ModuleTooLarge(_TooLarge, CoveyError):
    """A module of the user's own is too large to be sent along: `ModuleTooLarge("the module 'lab',", size, limit)`."""

    remedy = "keep data out of it, install it on the machines, or raise ship_limit (COVEY_SHIP_LIMIT)"


class _WithAttempts(Exception):
    def __init__(self, what: str, attempts: tuple[str, ...] = ()) -> None:
        super().__init__(what, tuple(attempts))
        self.what = what
        self.attempts = tuple(attempts)


class WorkerDied(_WithAttempts, CoveyError):
    """Slots died under a task as often as it may be tried; `oom` says whether because memory ran out.

    Caught by itself it means every such end: those by crashes, in which `oom` is False, are `PoisonTask`, one kind of
    it. `peak_rss` is the most memory, in bytes, that any of these slots had; None: not known. `attempts` says how each
    slot died: in a line, and below it the last lines that it wrote to stderr at the level of C, if there are any.

    >>> print(WorkerDied("f()", ("slot 1 (pid 12 on here) was killed because memory ran out",), True, 300 << 20))
    f() was given up: memory ran out under it; its slot had up to 300.0 MiB. Cut the call into smaller pieces, ...
      1. slot 1 (pid 12 on here) was killed because memory ran out
    """

    def __init__(
        self, what: str, attempts: tuple[str, ...] = (), oom: bool = False, peak_rss: int | None = None
    ) -> None:
        super().__init__(what, attempts)
        self.args = (what, self.attempts, oom, peak_rss)
        self.oom = oom
        self.peak_rss = peak_rss

    def _why(self) -> str:
        had = f"; its slot had up to {_megabytes(self.peak_rss)}" if self.peak_rss else ""
        return (f"memory ran out under it{had}. Cut the call into smaller pieces, give the machine fewer slots "
                f"(max_cpu=), or take one with more memory")

    def __str__(self) -> str:
        times = f"{len(self.attempts)} time{'s' * (len(self.attempts) != 1)}"
        return f"{self.what} was given up: {self._why()}. It was tried {times}:{_listed(self.attempts)}"


class PoisonTask(WorkerDied):
    """A task under which too many slots died, and not because memory ran out.

    >>> print(PoisonTask("f()", ("slot 1 (pid 12 on here) was killed by SIGSEGV",)))
    f() was given up: each slot that ran it died; Client(inline=True) runs it in a debugger. It was tried 1 time:
      1. slot 1 (pid 12 on here) was killed by SIGSEGV
    """

    def _why(self) -> str:
        return "each slot that ran it died; Client(inline=True) runs it in a debugger"


class TaskLost(_WithAttempts, CoveyError):
    """A task whose machines went away too often."""

    def __str__(self) -> str:
        return (f"{self.what} was given up: the machines that ran it were lost; see that they and the "
                f"network stay up, then submit it again:{_listed(self.attempts)}")


class MaybeRan(_WithAttempts, CoveyError):
    """A task that must not run twice, `options(on_lost="fail")`, whose slot or machine was lost when it may have begun.

    >>> print(MaybeRan("f()", ("slot 1 (pid 12 on here) was killed by SIGKILL",)))
    f() may have run, wholly or in part, and was not started again (on_lost="fail"); see whether it did:
      1. slot 1 (pid 12 on here) was killed by SIGKILL
    """

    def __str__(self) -> str:
        return (f'{self.what} may have run, wholly or in part, and was not started again (on_lost="fail"); see '
                f"whether it did:{_listed(self.attempts)}")


class BundleBroken(CoveyError):
    """A slot died under a bundle of calls; `map` then sends each call alone and never shows this."""

    def __init__(self, reports: tuple[str, ...] = ()) -> None:
        super().__init__(tuple(reports))
        self.reports = tuple(reports)

    def __str__(self) -> str:
        return f"a slot died under a bundle of calls; each call has to be sent alone:{_listed(self.reports)}"


class TaskTimeout(CoveyError, TimeoutError):
    """A task ran longer than `options(timeout=)` allows; its slot was killed and replaced."""


class InitializerFailed(CoveyError, BrokenExecutor):
    """`initializer=` raised in a slot, so that no call of its client can run there; its error is the `__cause__`.

    Where it raises in one of the client's own slots, it would in all of them: that client takes no calls any more.
    """


class SlotsWillNotStart(CoveyError, BrokenExecutor):
    """Slots die before they take their first task."""


class ModuleMissing(CoveyError, ImportError):
    """A slot or the client cannot import a module that a parcel needs; `name` is the module's."""


class ClientClosed(CoveyError, RuntimeError):
    """The client was shut down; make a new one."""

    def __init__(self, message: str = "this client was shut down and takes no calls; make a new one") -> None:
        super().__init__(message)


class ForkedClient(CoveyError, RuntimeError):
    """The process was forked, and the client belongs to the parent."""

    def __init__(self, message: str = "this client belongs to the process that made it, and was closed in the child "
                                      "by os.fork; make a new client after the fork") -> None:
        super().__init__(message)


class LinkRefused(CoveyError, ConnectionError):
    """The other end refused the link; the sentence says why."""


class PlaceTaken(CoveyError, OSError):
    """The port or the named pipe is another process's; the sentence names it."""


class NobodyThere(CoveyError, ConnectionError):
    """None of the machines is there, or not the broker of a connection file, and no slot of this machine was wanted;
    says of each why.

    >>> print(NobodyThere({"the broker of lab.json": "nobody listens there"}, "lab.json"))
    the broker of lab.json is not there: nobody listens there; see that it runs, and that lab.json is the file it wrote
    """

    def __init__(self, missing: Mapping[str, str], file: str = "") -> None:
        super().__init__(dict(missing), file)

    def __str__(self) -> str:
        missing, file = self.args
        if file:
            if all(why.startswith("it turns us away: ") for why in missing.values()):
                return "; ".join(f"{broker} {why.removeprefix('it ')}" for broker, why in missing.items())
            reasons = "; ".join(f"{broker} is not there: {why}" for broker, why in missing.items())
            whence = "what was read from standard input" if file == "-" else file
            return f"{reasons}; see that it runs, and that {whence} is the file it wrote"
        reasons = _listed(tuple(f"{machine}: {why}" for machine, why in missing.items()))
        return f"none of the machines is there, and this one computes nothing (max_cpu=0):{reasons}"


class JournalFull(CoveyError):
    """The broker's disk is full, so its journal cannot keep a call; what it keeps already goes on."""


class JournalRefused(CoveyError):
    """A journal cannot be used: its folder, its lock, its version or its content; the sentence says which and where."""


class NoSuchJob(CoveyError, LookupError):
    """The journal keeps no job of this id, or another program has taken the job over."""


class KeyRefused(CoveyError, ValueError):
    """A key or a connection file cannot be used; the sentence says why, and never what stands in it."""


class BadSetting(CoveyError, ValueError):
    """A variable COVEY_… holds what cannot be read; the sentence names it."""


class BadBlocks(CoveyError, ValueError):
    """An array cannot be cut into blocks, or the results of its blocks do not fit together."""


class BadFitness(CoveyError, ValueError):
    """What a fitness returned is not one real number for each particle, or never was."""


class BadCheckpoint(CoveyError, ValueError):
    """A checkpoint is torn, or was written by another optimisation; the sentence says what differs."""
