# SPDX-License-Identifier: BSD-3-Clause
"""The slot: one process that runs one task at a time.

Every import here is paid by every slot at its start, so this room imports nothing that it does not need
to say HELLO; `main` says in which order the rest comes.
"""

__all__ = ["EXIT_BROKEN", "EXIT_PLANNED", "EXIT_SETUP_FAILED", "UP", "number"]

number: int | None = None
"""Which slot of its node this process is; None in a process that is no slot."""

# How a slot tells the keeper why it ended. Arbitrary, but none that a program is likely to pass to `exit`:
# a task that calls `os._exit(0)` has killed its slot, and must not look like one that left as planned.
EXIT_PLANNED = 86
EXIT_SETUP_FAILED = 87
EXIT_BROKEN = 88

# The first thing a slot writes to its log once it is ready for tasks. What stands there before is why it
# did not start (behind a zero byte, the sealed error of its initializer); what follows is what faulthandler
# wrote when it died.
UP = b"up\n"
