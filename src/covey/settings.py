# SPDX-License-Identifier: BSD-3-Clause
"""Every number that covey could have chosen otherwise, each with its reason.

Why: a default that is hidden in the code that uses it cannot be found, compared or changed. This is one frozen record,
read once when a flock starts and handed down from there.

May not know: who uses what. Guarantees: this is the only reader of environment variables named COVEY_…; each field
answers to COVEY_ and its name in capitals; what cannot be read is a BadSetting, a ValueError, that names the variable.
Seconds and bytes unless the name says otherwise.
"""
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one flock.

    >>> Settings(crash_limit=1).crash_limit
    1
    """

    # The scheduler.

    # Work queued at a slot beside what it runs: longer than the broker ever takes to send more (a busy machine wakes a
    # thread within 1 ms), and short enough that little must be taken back when a slot falls idle.
    quantum: float = 0.002
    # The same for each place of a doer that is a loop itself. Longer than a round trip through a network and two loops,
    # or its slots would wait for us between any two short tasks.
    relay_quantum: float = 0.02
    # A task that takes longer gains nothing from waiting at its slot: sending it costs a thousandth of it.
    lone_above: float = 0.1
    # What waits longer than this at a busy slot may go to an idle one. Asking it back takes two messages, about 0.2 ms.
    retract_after: float = 0.001
    # A doer that is silent for longer is given up. Seven missed beats: shorter would blame a swapping machine.
    lease: float = 15.0
    # A gap in the broker's own clock (a closed lid, SIGSTOP) for which no doer is to blame.
    pause: float = 1.0
    # What a function takes that was never measured. It decides only how deep the very first prefetch is.
    first_guess: float = 0.001
    # Slots that may die under a task. Twice can be bad luck (a neighbour took the memory); three times is the task.
    # Nothing is counted beyond 255, here and in the next: a higher limit is none.
    crash_limit: int = 3
    # Machines that may be lost under a task, and slots that may die before they have begun it. They are lost for
    # reasons of their own, so this is more patient.
    loss_limit: int = 10
    # Times that a task is tried again, alone on its machine, after memory ran out under it.
    # Once: alone it has all that there is, and a second time would only keep the others waiting.
    oom_limit: int = 1
    # What `retry_wait` may grow to, in seconds: a service that is down for an hour is asked once a minute.
    retry_wait_limit: float = 60.0
    # Tasks that an asker may have unfinished: enough for a burst of microsecond tasks.
    credit_tasks: int = 131_072
    # Bytes of parcels that an asker may have unfinished: with the number of askers, a bound on the broker's memory.
    credit_bytes: int = 256 * MIB

    # Results that wait because their asker does not take them: with more, nothing else that it asked for is begun.
    outbox_bytes: int = 256 * MIB
    # An outcome whose asker's link has broken waits so long for it to come back, within the same bytes as credit.
    keep_for: float = 600.0

    # What a shared broker may have of memory: over 70 % it writes bodies to files, over 90 % it gives no more credit.
    # 0: half of what this machine or container has, because others run there, too.
    max_memory: int = 0
    # Where it writes them. None: the first of $TMPDIR, /var/tmp and /tmp that is a disk. No file of it is ever seen.
    spill_dir: str | None = None

    # What a client may hold that the broker has no credit for yet; then submit waits. Twenty million small calls.
    backlog: int = GIB

    # The links.

    # A doer's sign of life. It costs one small message; the lease is a multiple of it.
    beat_every: float = 2.0
    # Arguments above this, pickled, are far more often a mistake than a wish.
    parcel_limit: int = GIB
    # The same of a result; the slot looks before it sends.
    result_limit: int = GIB
    # Source and compiled modules of one of the user's own packages, as they go to other machines. A million lines take
    # 40 MiB: what is over this has data or libraries in it, and belongs installed.
    ship_limit: int = 16 * MIB
    # The loop in C. False: the same scheduler, fed by a loop in Python on pyzmq, as where libzmq cannot be reached.
    native: bool = True

    # The keys.

    # The file of the secret that all machines of one flock share. None: the user's own, ~/.config/covey/key, made on
    # first use. A path and never the key itself: environments are inherited, listed and logged.
    key_file: str | None = None
    # The connection file of the broker to use, where no other is named. None: none.
    connection: str | None = None

    # The journal.

    # Detached jobs that nobody asks for and no outcome comes of are removed after so long: a week, for a holiday.
    journal_keep: float = 604_800.0

    # The slots.

    # At most so many CPUs, for machines whose limits covey cannot see; -1 leaves one. None: as many as there are.
    max_cpu: int | None = None
    # Slots on one GPU, at most, once tasks ask for a part of it: each is a process, and CUDA takes some hundred MiB of
    # the GPU's memory for it. 1: no GPU is shared. Loops above count on as many, so give all machines the same.
    slots_per_gpu: int = 8
    # After so many tasks a slot is replaced by a new one, between two tasks: for libraries that leak. 0: never.
    max_tasks_per_slot: int = 0
    # Bytes that a slot may have. Over 80 % of them it is replaced once its task is done, and while a task runs the log
    # is told once; over 95 % it is ended, as if memory had run out. 0: as many as there are.
    slot_max_rss: int = 0
    # What a stopping slot gets for the task it runs, before it is killed.
    grace: float = 2.0


def read(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings, with the environment's changes.

    >>> read({"COVEY_CRASH_LIMIT": "5", "COVEY_NATIVE": "0"}).native
    False
    """
    environ = os.environ if environ is None else environ
    found: dict[str, object] = {}
    for field in fields(Settings):
        name = "COVEY_" + field.name.upper()
        text = environ.get(name, "").strip()
        if text:
            found[field.name] = text if field.type == str | None else _value(name, text, field.default)
    return Settings(**found)  # type: ignore[arg-type]  # _value made each of its field's own type


def _value(name: str, text: str, default: object) -> object:
    """The text as a value of the default's type; bool first, because a bool is an int."""
    try:
        if isinstance(default, bool):
            return {"0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}[text.lower()]
        number = float(text) if isinstance(default, float) else int(text)
        if number < 0 and default is not None:
            raise ValueError(text)
    except (KeyError, ValueError):
        kinds = {bool: "0 or 1", float: "a number of seconds, not below 0", int: "a whole number, not below 0"}
        kind = kinds.get(type(default), "a whole number")
        # Only here: every slot reads the settings, and the errors bring half of concurrent.futures.
        from covey.errors import BadSetting

        raise BadSetting(f"{name}={text} cannot be read: it must be {kind}") from None
    return number
