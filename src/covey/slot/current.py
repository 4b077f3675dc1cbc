# SPDX-License-Identifier: BSD-3-Clause
"""Where a task runs, as the task itself may ask.

Why: a function that uses a GPU, writes a file or logs wants to know where it is, and its arguments are the
caller's. So it asks, and nothing travels with the call.

May not know: links, tasks. Guarantees: outside a task the answer is None, never a guess.
"""

import os
from dataclasses import dataclass

from covey import slot

__all__ = ["Current", "current"]


@dataclass(frozen=True, slots=True)
class Current:
    """Where a task runs.

    Attributes:
        host: the machine's name.
        slot: the slot's number on its node, from 1.
        attempt: 1, or more if the task began before: in a slot that died, on a machine that was lost, or with an error
            that is to be tried again.
        gpus: uuids of the GPUs that it may use; () in a CPU slot.
        node: the name of the node, as `covey status` shows it; None in a slot of the caller's own machine, which the
            calling program started for itself.
        gpu_share: how much of its GPU the task may use: 1.0, or the fraction that it asked for; 0.0 in a CPU slot.
    """

    host: str
    slot: int
    attempt: int
    gpus: tuple[str, ...]
    node: str | None
    gpu_share: float = 0.0

    @property
    def is_gpu(self) -> bool:
        """Whether this is a slot with a GPU."""
        return bool(self.gpus)


def current() -> Current | None:
    """Where this task runs; None outside a task (in the caller, in an initializer, in an inline client).

    A thread that outlives its task is told of whichever task runs now.

    >>> current() is None
    True
    """
    number, runner = slot.number, slot.running
    if number is None or runner is None or not runner.attempt:
        return None
    share = (runner.share or slot.WHOLE_SHARE) / slot.WHOLE_SHARE if slot.gpus else 0.0
    return Current(os.uname().nodename, number, runner.attempt, slot.gpus, slot.node, share)
