# SPDX-License-Identifier: BSD-3-Clause
"""How the particles of a round are cut: into chunks, one call of the fitness each, and those into tasks.

Why: a vectorised fitness may give other bits for other neighbours (BLAS), so what is called at once must follow from
the problem alone; how many of these calls travel together is free, and follows what was measured.

May not know: futures, clocks. Guarantees: chunks depend on the number of particles and on `chunk` only.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["counted", "default_chunk", "ends_of", "tasks_of"]

# A round is cut into a power of two of chunks, so that two, four or eight slots end together: for sixteen slots or so,
# but a vectorised call of a few particles wastes its own start, and one of many gains nothing more.
FOR_SLOTS = 16
FEW = 16
MOST_CHUNK = 256
# A task of this length, in seconds, is not worth making longer: what it costs to send is a hundredth of it.
ENOUGH = 0.002


def default_chunk(round_size: int) -> int:
    """Particles in one vectorised call, for rounds of this many.

    >>> default_chunk(16), default_chunk(50), default_chunk(100), default_chunk(1000), default_chunk(100_000)
    (16, 13, 13, 63, 196)
    """
    chunks = 1
    while round_size > chunks * (FEW if chunks < FOR_SLOTS else MOST_CHUNK):
        chunks *= 2
    return -(-round_size // chunks)


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things, in words.

    >>> counted(1, "particle"), counted(0, "entry", "entries")
    ('1 particle', '0 entries')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def ends_of(count: int, chunk: int, *, exact: bool = True) -> list[int]:
    """Where the chunks of `count` particles end; unless `exact`, a last one of one particle joins the one before.

    numpy adds up a single column in another order than it adds many, so a particle alone may have other last bits.

    >>> ends_of(50, 16)
    [16, 32, 48, 50]
    >>> ends_of(33, 16), ends_of(33, 16, exact=False)
    ([16, 32, 33], [16, 33])
    """
    ends = list(range(chunk, count - (0 if exact or chunk == 1 else 1), chunk))
    ends.append(count)
    return ends


def tasks_of(ends: Sequence[int], seconds: float | None, slots: int) -> list[tuple[int, list[int]]]:
    """Chunks in tasks: for each, its first particle, and the ends of its chunks counted from there.

    `seconds` is what a particle takes, None if nobody knows: then each chunk travels alone.

    >>> tasks_of([2, 4, 6, 7], 1e-6, 2)
    [(0, [2, 4]), (4, [2, 3])]
    >>> tasks_of([2, 4], 1.0, 1)
    [(0, [2]), (2, [2])]
    """
    together = 1
    if seconds is not None:
        a_chunk = max(seconds * ends[-1] / len(ends), 1e-9)
        together = max(1, min(-(-len(ends) // slots), int(ENOUGH / a_chunk)))
    tasks = []
    start = 0
    for first in range(0, len(ends), together):
        part = ends[first : first + together]
        tasks.append((start, [end - start for end in part]))
        start = part[-1]
    return tasks
