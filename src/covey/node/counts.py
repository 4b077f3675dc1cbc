# SPDX-License-Identifier: BSD-3-Clause
"""What a user's count means where so many are available: None all, n at most n, 0 none, -n all but n.

Why: `max_cpu` and `max_gpu` mean the same everywhere, and more than there is must be clipped, and said.

May not know: how anything was counted. Guarantees: never more than there is; nonsense is an error by name; a
sentence is said once, at the user's own line.
"""

import operator
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Counted", "resolve_count", "say_once"]


@dataclass(frozen=True, slots=True)
class Counted:
    """How many there are, what says so (for the sentence that a clipped count gets), and, a sentence each, what else
    was said about it and could not be followed."""

    count: int
    because: str
    notes: tuple[str, ...] = ()


_said: set[str] = set()


def say_once(sentence: str) -> None:
    """Warns at the user's own line, once for each sentence."""
    if sentence in _said:
        return
    _said.add(sentence)
    # The warning belongs to the user's line, however deep in covey the count was resolved.
    level, frame = 2, sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "covey":
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, UserWarning, stacklevel=level + 1)


def resolve_count(
    asked: int | None,
    available: Counted,
    *,
    name: str = "max_cpu",
    what: str = "CPUs",
    may_be_none: bool = False,
    say: Callable[[str], object] = say_once,
) -> int:
    """What a count given by a user means here: None all, n at most n, 0 none, -n all but n.

    More than there is gives what there is, and `say` is told; nonsense raises TypeError or ValueError. All but n must
    leave one, unless there `may_be_none`: a machine without a CPU to offer is a mistake, one without a GPU is common.

    >>> resolve_count(-1, Counted(4, "an example"))
    3
    """
    if asked is None:
        return available.count
    nonsense = f"{name} counts {what}, so it is an int or None (all of them), not {asked!r}"
    if isinstance(asked, bool):
        raise TypeError(nonsense)
    try:
        count = operator.index(asked)
    except TypeError:
        raise TypeError(f"{nonsense} ({type(asked).__name__})") from None
    if count > available.count:
        say(f"{name}={count} is more than the {available.count} available ({available.because}): using those")
        return available.count
    if count < 0:
        if available.count + count < 1 and not may_be_none:
            raise ValueError(
                f"{name}={count} means all {what} but {-count}, and only {available.count} may be used here "
                f"({available.because})"
            )
        return max(0, available.count + count)
    return count
