# SPDX-License-Identifier: BSD-3-Clause
"""What `optimize()` is given, checked: each mistake gets one sentence, in the name of the call.

Why: a wrong word should cost a second, not an hour of computing.

May not know: slots, algorithms. Guarantees: nothing here starts, reads or writes anything; of files
it is only asked whether their folder is there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from covey.swarm.chunks import counted
from covey.swarm.keywords import TEN
from covey.swarm.space import Space

__all__ = [
    "Arguments", "checked_groups", "checked_space", "require_bool", "require_known", "require_path", "require_word"
]

MODES = ("rounds", "stream", "islands")
POLICIES = ("worst", "raise")


@dataclass(frozen=True, slots=True)
class Arguments:
    """The numbers of a call; what is None was left open."""

    call: str
    group_size: int | None
    iterations: int | None
    budget: int | None
    target: float | None
    ftol: float | None
    xtol: float | None
    timeout: float | None
    noise: int | None
    chunk: int | None
    in_flight: int | None
    islands: int | None
    leg: int | None

    def __post_init__(self) -> None:
        for name, meaning in (
            ("group_size", "how many particles a group has"),
            ("iterations", "how often every particle moves"),
            ("budget", "how many evaluations there may be in all"),
            ("noise", "how often a new best is evaluated again"),
            ("chunk", "how many particles one call of the fitness gets"),
            ("in_flight", "how many tasks are under way at a time"),
            ("islands", "how many sub-swarms a group has"),
            ("leg", "how many generations an island swims between exchanges"),
        ):
            self._require_count(name, meaning)
        for name, least in (("target", -math.inf), ("ftol", 0.0), ("xtol", 0.0), ("timeout", 0.0)):
            self._require_number(name, least)

    @property
    def most_iterations(self) -> int | None:
        """The limit of iterations. What nobody said is none where something else ends the call."""
        others = (self.budget, self.target, self.ftol, self.xtol, self.timeout)
        if self.iterations is TEN and any(limit is not None for limit in others):
            return None
        return self.iterations

    def require_mode(self, mode: str) -> None:
        """Each mode has words that mean nothing in the others."""
        require_word(self.call, "mode", mode, MODES)
        for name, its in (("in_flight", "stream"), ("islands", "islands"), ("leg", "islands")):
            if getattr(self, name) is not None and mode != its:
                raise ValueError(f"{self.call}({name}={getattr(self, name)}) means something in mode={its!r} only")
        if mode == "islands" and self.noise is not None:
            raise ValueError(f"{self.call}(noise={self.noise}) works in modes 'rounds' and 'stream', not in 'islands'")

    def require_room(self, round_size: int, groups: int) -> None:
        """A budget holds one round at least, and what it takes to confirm the best of each group."""
        if self.budget is not None and self.budget < round_size:
            raise ValueError(
                f"{self.call}(budget={self.budget}) is less than one round of {round_size} evaluations: give more, or "
                "a smaller group_size"
            )
        if self.budget is not None and self.noise is not None and self.budget < round_size + groups * self.noise:
            raise ValueError(
                f"{self.call}(budget={self.budget}, noise={self.noise}): a round of {round_size} evaluations leaves no "
                f"room to evaluate the best of each group {self.noise} times more: give more, or less noise"
            )

    def _require_count(self, name: str, meaning: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{self.call}({name}={value!r}): a whole number is needed ({meaning})")
        if value < 1:
            raise ValueError(f"{self.call}({name}={value!r}): at least 1 is needed ({meaning})")

    def _require_number(self, name: str, least: float) -> None:
        value = getattr(self, name)
        if value is None:
            return
        try:
            # Not float(value): that would read a string, which is compared with numbers later.
            nan = math.isnan(value)
        except (TypeError, ValueError):
            raise TypeError(f"{self.call}({name}={value!r}): a number is needed, or None") from None
        wanted = "a number" if least == -math.inf else f"a number of at least {least:g}"
        if nan or value < least:
            raise ValueError(f"{self.call}({name}={value!r}): {wanted} is needed, or None")


def require_known(call: str, given: Collection[str], known: Collection[str]) -> None:
    """TypeError for a keyword that the call does not have: misspelt, it would silently do nothing."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"help(covey.{call}) lists them"
            raise TypeError(f"{call}() has no keyword {name!r}; {hint}")


def require_word(call: str, name: str, value: object, words: Sequence[str]) -> None:
    """One of a few words, or a sentence that guesses which was meant."""
    if value in words:
        return
    near = get_close_matches(str(value), words, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, words))}"
    raise ValueError(f"{call}({name}={value!r}): {hint}")


def checked_space(call: str, optparams: object) -> Space:
    """The search space; a parameter must not be called as the result calls the fitness."""
    try:
        space = Space.of(optparams)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{call}(…, optparams): {error}") from None
    if space.names is not None and "fitness" in space.names:
        raise ValueError(f"{call}(…, optparams): 'fitness' is what the result calls the value; rename the parameter")
    return space


def require_bool(call: str, name: str, value: object, *, or_none: bool = False) -> None:
    """True or False, and with `or_none` None: a word such as "no" would count as True."""
    if not (isinstance(value, (bool, np.bool_)) or (or_none and value is None)):
        raise TypeError(f"{call}({name}={value!r}): True{', False or None' if or_none else ' or False'} is needed")


def require_path(call: str, checkpoint: object) -> str:
    """Where a checkpoint is; `~` is the user's home."""
    if not isinstance(checkpoint, (str, os.PathLike)):
        raise TypeError(f"{call}(checkpoint={checkpoint!r}): the path of a file is needed")
    path = os.path.abspath(os.path.expanduser(os.fsdecode(checkpoint)))
    if os.path.isdir(path):
        raise IsADirectoryError(f"{call}(checkpoint={path!r}) is a folder: the path of a file is needed")
    if not os.path.isdir(os.path.dirname(path)):
        raise FileNotFoundError(f"{call}(checkpoint={path!r}) lies in a folder that does not exist")
    return path


def _is_list(values: object) -> bool:
    if isinstance(values, (str, bytes, Mapping)) or getattr(values, "shape", None) == ():
        return False
    return hasattr(values, "__len__") and hasattr(values, "__getitem__")


def checked_groups(call: str, group_count: int | None, local_data: Mapping[str, Any] | None) -> int:
    """How many groups there are: as said, or as the lists of `local_data` have entries."""
    if group_count is not None:
        if isinstance(group_count, bool) or not hasattr(group_count, "__index__"):
            raise TypeError(f"{call}(group_count={group_count!r}): a whole number is needed, or None")
        if group_count < 1:
            raise ValueError(f"{call}(group_count={group_count!r}): at least 1 is needed")
    if local_data is None:
        return 1 if group_count is None else int(group_count)
    if not isinstance(local_data, Mapping):
        raise TypeError(f"{call}(local_data=…): a dict of lists is needed, not {type(local_data).__name__}")
    for name, values in local_data.items():
        if not _is_list(values):
            raise TypeError(
                f"{call}(local_data=…): {name!r} is of type {type(values).__name__}; a list is needed, with one entry "
                "for each group (what all groups share goes into shared_data)"
            )
        if group_count is None:
            group_count = len(values)
        if len(values) != group_count:
            raise ValueError(
                f"{call}(local_data=…): {name!r} has {counted(len(values), 'entry', 'entries')}, and there "
                f"{'is' if group_count == 1 else 'are'} {counted(group_count, 'group')}; each group needs one entry"
            )
    if group_count == 0:
        raise ValueError(f"{call}(local_data=…): its lists are empty; each group needs one entry")
    return 1 if group_count is None else int(group_count)
