# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in blocks: split along the last axis, joined along the last axis.

Why: a column-wise function (`fun(x)[..., i]` depends on `x[..., i]` only) may see some columns at a time,
and the results put side by side are bit for bit what it makes of the whole.

May not know: clients. Guarantees: block sizes differ by at most 1; a block keeps the memory order of the
array; what cannot be split or joined is refused by a sentence, never guessed at. numpy is imported by
the caller's array, never by us alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from covey.errors import BadBlocks

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

__all__ = ["is_array", "join", "split"]


def is_array(x: object) -> bool:
    """Whether `x` is a numpy array."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(x, numpy.ndarray)


def split(x: Array, count: int) -> list[Array]:
    """At most `count` blocks of `x`, as views; one if `x` has no columns."""
    if x.ndim == 0:
        raise BadBlocks("a 0-d array has no axis to split along; give an array of at least one dimension, or a list")
    if x.dtype.hasobject:
        raise BadBlocks(
            f"an array of dtype {x.dtype} (shape {x.shape}) holds Python objects, as rows of different lengths "
            "give it; make it rectangular, or give a list of its parts"
        )
    columns = x.shape[-1]
    blocks = max(1, min(count, columns))
    small, larger = divmod(columns, blocks)
    stops = [small * n + min(n, larger) for n in range(blocks + 1)]
    return [x[..., start:stop] for start, stop in pairwise(stops)]


def join(results: Sequence[Any], blocks: Sequence[Array]) -> Any:
    """The results of the blocks side by side; BadBlocks if they do not fit."""
    import numpy as np

    try:
        # keeps masks and other subclasses, which concatenate() below knows how to treat
        arrays = [np.asanyarray(result) for result in results]
    except ValueError as error:
        raise BadBlocks(f"a block's result is no array and cannot be made one: {error}") from None
    for number, (array, block) in enumerate(zip(arrays, blocks, strict=True)):
        columns = array.shape[-1] if array.ndim else None
        if columns != block.shape[-1]:
            got = "a single value" if columns is None else f"{columns} columns"
            raise BadBlocks(
                f"block {number} has {block.shape[-1]} columns and the function returned {got} for it (shape "
                f"{array.shape}); over an array distribute() needs a column-wise function, one result per column"
            )
    if len(arrays) == 1:
        return results[0] if is_array(results[0]) else arrays[0]
    concatenate = np.ma.concatenate if any(isinstance(array, np.ma.MaskedArray) for array in arrays) else np.concatenate
    try:
        return concatenate(arrays, axis=-1)
    except (ValueError, TypeError) as error:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise BadBlocks(f"the results of the blocks (shapes {shapes}) cannot be put side by side: {error}") from None
