# SPDX-License-Identifier: BSD-3-Clause
"""The keywords of `optimize`, `maximize` and `minimize`, with their types; their defaults are in `optimize` itself.

Why: three calls take the same keywords, and an editor should know them of each.

May not know: what they mean. Guarantees: `iterations` that nobody gave can be told from ten that somebody did.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypedDict

from covey.swarm.run import Info

__all__ = ["TEN", "Constraint", "Options"]

Constraint = Callable[..., Any]


class Unsaid(int):
    """A number that is a default: known by its identity, shown as what it is."""


# As many iterations as Playdoh made; not a limit where the call gives another one.
TEN = Unsaid(10)


class Options(TypedDict, total=False):
    """The keywords of `optimize`, `maximize` and `minimize`, but for `returninfo`, which decides what they return."""

    shared_data: Mapping[Any, Any] | None
    local_data: Mapping[str, Any] | None
    group_size: int | None
    group_count: int | None
    iterations: int | None
    optinfo: Mapping[str, Any] | None
    algorithm: object
    mode: str
    seed: int | None
    budget: int | None
    target: float | None
    ftol: float | None
    xtol: float | None
    timeout: float | None
    checkpoint: str | os.PathLike[str] | None
    constraints: Constraint | Sequence[Constraint] | None
    noise: int | None
    callback: Callable[[Info], object] | None
    progress: bool | None
    vectorized: bool
    on_error: str
    chunk: int | None
    in_flight: int | None
    islands: int | None
    leg: int | None
    inline: bool | None
    machines: Sequence[str]
    use_gpu: bool
    gpu_policy: str | None
    max_cpu: int | None
    max_gpu: int | None
    port: int | None
    named_pipe: bool | str | None
    executor: Executor | None
