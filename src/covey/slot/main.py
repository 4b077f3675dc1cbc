# SPDX-License-Identifier: BSD-3-Clause
"""What a slot does from its first import to its end.

Why this order: the client waits for its first result from the moment it asks, so the slot says HELLO before it
imports anything that only a task needs; the broker's first tasks and those imports then meet half-way.

    log and stderr apart · die with the parent · HELLO · imports · output · initializer · "up" · run tasks · leave

May not know: sockets and frames (that is `runner`), how functions are packed (that is the codec).
Guarantees: a slot that leaves as planned says so by its exit code, and no other does; before "up" stands in
its log, whatever went wrong stands there instead; user threads do not keep a finished slot alive.
"""

import _signal  # type: ignore[import-not-found]  # signal itself costs 2.5 ms, for its enums
import faulthandler
import os
import sys

from covey import slot
from covey.slot.runner import Runner, die_with_parent

__all__ = ["main"]

# typing's own would cost an import of typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

# How long a finished slot may spend in its atexit functions before it is killed. Nothing waits for it.
_LAST_RITES = 5


def main(
    outfit: "Mapping[str, Any]",
    number: int,
    kind: int,
    device: int,
    parent: int,
    lifeline: int,
    stderr: int,
    mark: int,
) -> "NoReturn":
    """Runs a slot until its end; does not return. See `bootstrap` and `Launcher` for the arguments."""
    log = _keep_log_apart(stderr)
    try:
        for descriptor in (lifeline, mark):
            os.set_inheritable(descriptor, False)
        die_with_parent(parent)
        # Ctrl-C at a terminal is the caller's to handle; a copy of it here would only kill the wrong one.
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        slot.number = number
        slot.kind = kind
        slot.node = outfit["node"]
        if kind == slot.GPU:
            slot.gpus = tuple(os.environ["CUDA_VISIBLE_DEVICES"].split(","))
        _empty_main_module()
        sys.argv[:] = outfit["argv"]
        runner = Runner(
            outfit["address"],
            number,
            os.getpid(),
            kind=kind,
            device=device,
            result_limit=outfit["result_limit"],
            max_tasks=outfit["max_tasks"],
            native=outfit["native"],
            lifeline=lifeline,
            mark=mark,
            beat_every=outfit["beat_every"],
            far=outfit["far"],
            kin=os.environ.get(slot.KIN, "").encode(),
            max_rss=outfit["recycle_rss"],
        )
        slot.running = runner
        runner.connect()
        from covey.slot import output

        output.install(runner.output, outfit["levels"], os.uname().nodename if outfit["far"] else "")
        if outfit["setup"] is not None:
            _set_up(runner, log, outfit["setup"])
        os.write(log, slot.UP)
        runner.run()
        output.remove()
    except SystemExit as leaving:
        # A task called sys.exit: it has ended its slot, as it would have ended its script. Outcomes of tasks
        # before it are still on their way out.
        runner.close()
        _leave(_exit_code(leaving))
    except BaseException:
        _write_traceback(log)
        _leave(slot.EXIT_BROKEN)
    _leave(slot.EXIT_PLANNED)


def _keep_log_apart(stderr: int) -> int:
    """Puts stderr, a pipe that the node passes on, in its place, and returns the log, which was there until now."""
    log = os.dup(2)
    os.dup2(stderr, 2)
    os.close(stderr)
    faulthandler.enable(log)
    return log


def _empty_main_module() -> None:
    """Takes bootstrap's names away from where functions of the caller's `__main__` may look for theirs."""
    names = vars(sys.modules["__main__"])
    for name in [name for name in names if not name.startswith("__")]:
        del names[name]


def _set_up(runner: Runner, log: int, setup: "tuple[bytes, list[bytes], bytes]") -> None:
    from covey.codec.parcel import unseal
    from covey.slot import setups

    # Should the process die of it, this is what it said last.
    os.write(log, b"its initializer was running\n")
    try:
        body, buffers, token = setup
        initializer, arguments = unseal(body, [bytearray(buffer) for buffer in buffers])
        initializer(*arguments)
    except BaseException as error:
        from covey.codec.outcome import seal_error

        sealed = seal_error(error, "the initializer", "")
        # Told twice: the broker tells every client, and the keeper must not start another slot for this.
        _write_traceback(log)
        os.write(log, b"\0" + sealed)
        runner.fail_setup(sealed)
        _leave(slot.EXIT_SETUP_FAILED)
    setups.note(token)
    os.lseek(log, 0, os.SEEK_SET)
    os.ftruncate(log, 0)


def _write_traceback(descriptor: int) -> None:
    from traceback import format_exc

    os.write(descriptor, format_exc().encode(errors="backslashreplace"))


def _exit_code(leaving: SystemExit) -> int:
    """The code that the interpreter would have left with."""
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    sys.stderr.write(f"{leaving.code}\n")
    return 1


def _leave(code: int) -> "NoReturn":
    """Ends the process: what was printed, atexit functions, and no more.

    The interpreter's own way out waits for user threads, for as long as those please, and takes modules apart
    under native threads that still run.
    """
    _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
    _signal.alarm(_LAST_RITES)
    import atexit

    try:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(code)
