# SPDX-License-Identifier: BSD-3-Clause
"""The slot: one process that runs one task at a time.

Every import here is paid by every slot at its start, so this room imports nothing that it does not need
to say HELLO; `main` says in which order the rest comes.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from covey.slot.runner import Runner

__all__ = [
    "CPU",
    "CPU_BESIDE",
    "EXIT_BROKEN",
    "EXIT_PLANNED",
    "EXIT_SETUP_FAILED",
    "GPU",
    "KIN",
    "UP",
    "WHOLE_SHARE",
    "gpus",
    "kind",
    "node",
    "number",
    "running",
]

# Resource of the protocol: what kind of place a slot is.
CPU = 0
GPU = 1
CPU_BESIDE = 2

# All of a GPU; a task's share of one is counted in such units. The protocol's, too.
WHOLE_SHARE = 10_000

number: int | None = None
"""Which slot of its node this process is; None in a process that is no slot."""

kind: int = CPU
"""What kind of place this slot is."""

gpus: tuple[str, ...] = ()
"""The uuids of its GPUs, as they stood in its environment before any user code ran."""

node: str | None = None
"""The name of its node, if it has one."""

running: "Runner | None" = None
"""What runs the tasks of this slot. (`slot.runner` is the compiled module.)"""

# The variable by which whatever a task has started is known to be of this slot (see `link/kin`): the marks of the slots
# that it runs in, the innermost last, because a task may have a flock of its own.
KIN = "_COVEY_KIN"

# How a slot tells the keeper why it ended. Arbitrary, but none that a program is likely to pass to `exit`:
# a task that calls `os._exit(0)` has killed its slot, and must not look like one that left as planned.
EXIT_PLANNED = 86
EXIT_SETUP_FAILED = 87
EXIT_BROKEN = 88

# The first thing a slot writes to its log once it is ready for tasks. What stands there before is why it
# did not start (behind a zero byte, the sealed error of its initializer); what follows is what faulthandler
# wrote when it died.
UP = b"up\n"
