# SPDX-License-Identifier: BSD-3-Clause
"""The initializers of clients, each run once in this slot.

Why here and not at the slot's start: a slot of a node that others use lives longer than any of them, and learns of a
client with its first function. A client's own slots run its initializer at their start and only note it here.

May not know: links, functions, who the clients are. Guarantees: an initializer runs once, before the first function
that brings it is loaded; one that raised is not tried again: whatever else its client sends here gets the same error.
For the thread that runs tasks.
"""

import os
from collections.abc import Sequence

from covey import slot

__all__ = ["note", "set_up"]

# What is known by a token: None, or what the initializer raised.
_done: dict[bytes, BaseException | None] = {}


def note(token: bytes) -> None:
    """The initializer of this token has run."""
    _done[token] = None


def set_up(token: bytes, name: str, data: bytes, buffers: Sequence[object] = ()) -> None:
    """Runs the sealed initializer unless it has run; InitializerFailed if it raises, or did then."""
    if token not in _done:
        _done[token] = _error_of(data, buffers)
    cause = _done[token]
    if cause is not None:
        from covey.errors import InitializerFailed

        place = f"slot {slot.number} (pid {os.getpid()} on {os.uname().nodename})"
        raise InitializerFailed(
            f"the initializer {name} raised {type(cause).__name__} in {place}, so no call of its client can run there: "
            f"{cause}"
        ) from cause


def _error_of(data: bytes, buffers: Sequence[object]) -> BaseException | None:
    from covey.codec.parcel import unseal

    try:
        initializer, arguments = unseal(data, buffers)
        initializer(*arguments)
    except BaseException as error:
        # SystemExit too: it would end the slot, and each one after it.
        return error
    return None
