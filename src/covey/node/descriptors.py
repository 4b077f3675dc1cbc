# SPDX-License-Identifier: BSD-3-Clause
"""Room for a process's descriptors: for each slot a node holds five, and each connection is one.

Why: the soft limit is often 1,024, for the sake of programs that use select(), and a machine with two hundred cores
needs more than that. A process raises its own up to the hard limit without asking anybody.

May not know: what they are for. Guarantees: no limit is lowered, and it is no error if there is no more to be had.
"""

import contextlib
import resource

__all__ = ["make_room"]

# Of one slot: its death, its log, its mark, what it writes to stderr, its connection.
A_SLOT = 5
# For whatever else the process does.
_OTHERS = 256


def make_room(slots: int = 0, connections: int = 0) -> None:
    """Raises the soft limit, if it is lower than what so many may need, as far as the hard one lets it."""
    wanted = max(A_SLOT * slots + _OTHERS, connections)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
