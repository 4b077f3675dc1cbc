# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for a condition: the only way in which a test should let time go by.

Guarantees: `wait_until` returns as soon as the condition holds, and fails with a picture of the state when its deadline
has passed. The deadline is there to end a hang, not to be reached: it is generous, because machines swap.
"""
import threading
import time
from collections.abc import Callable

__all__ = ["DEADLINE", "wait_until"]

DEADLINE = 20.0
_STEP = 0.002


def wait_until(
    condition: Callable[[], object], state: Callable[[], object] = lambda: "", deadline: float = DEADLINE
) -> None:
    """Waits until the condition is true; AssertionError with `state()` if it never is.

    >>> wait_until(lambda: True)
    >>> wait_until(lambda: False, lambda: "nobody came", deadline=0.01)
    Traceback (most recent call last):
    AssertionError: not within 0.01 s: nobody came
    """
    end = time.monotonic() + deadline
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {state() or condition}")
        pause.wait(_STEP)
