# SPDX-License-Identifier: BSD-3-Clause
"""What a slot calls for `distribute(fun)`: the user's function, with what it asked for besides the item.

Why: the function and its `shared_data` are one body that travels once, by digest; an item is all that
travels per call.

May not know: clients. Guarantees: a function that asks for nothing is called as it is; `use_gpu` tells the truth of
the slot that runs the call, since the caller cannot know which one that will be.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from covey.slot.current import current

__all__ = ["DistributedCall", "adapted"]


class DistributedCall:
    """`fun(x)`, `fun(x, shared_data)` and the same with `use_gpu=…`."""

    # `func`, as in functools.partial: that is where the name in messages is looked for. __weakref__: the
    # book of functions keeps what it sealed as long as this object lives.
    __slots__ = ("__weakref__", "func", "more", "told")

    def __init__(self, fun: Callable[..., Any], more: tuple[Any, ...], told: bool) -> None:
        self.func = fun
        self.more = more
        self.told = told

    def __call__(self, x: Any) -> Any:
        if not self.told:
            return self.func(x, *self.more)
        here = current()
        return self.func(x, *self.more, use_gpu=here is not None and here.is_gpu)


def adapted(fun: Callable[..., Any], shared_data: dict[Any, Any] | None) -> Callable[[Any], Any]:
    """The one-argument callable that a slot shall call."""
    more = () if shared_data is None else (shared_data,)
    told = _declares_use_gpu(fun)
    return DistributedCall(fun, more, told) if more or told else fun


def _declares_use_gpu(fun: Callable[..., Any]) -> bool:
    try:
        return "use_gpu" in inspect.signature(fun).parameters
    except (TypeError, ValueError):
        # builtins without a signature
        return False
