# SPDX-License-Identifier: BSD-3-Clause
"""What a task may be told besides its call: `client.options(priority=5, timeout=60).submit(f, x)`.

Why: every keyword of `submit` belongs to the function, so resources and limits ride beside the call.

May not know: how a task is sent. Guarantees: a value that makes no sense is refused here, by a sentence,
before anything is sent; a view shares the client, holds no state of its own, and is thread-safe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from covey.slot import WHOLE_SHARE

if TYPE_CHECKING:
    from concurrent.futures import Future

    from covey.client.client import Client
    from covey.client.job import Job
    from covey.client.results import Results

# The Needs of wire/protocol.
NEEDS_CPU = 5
NEEDS_GPU = 2
NEEDS_GPU_FIRST = 3
NEEDS_ANY = 7
# Fields of a TaskRecord: int16, uint8 and milliseconds in uint32.
MOST_PRIORITY = 32767
MOST_RETRIES = 255
MOST_TIMEOUT = 4_294_967.0


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """How a task is to be treated; the function does not see it."""

    priority: int = 0
    timeout: float | None = None
    retries: int = 0
    needs: int = NEEDS_CPU
    # Of a GPU, in 1/10,000; 0: all of it.
    share: int = 0

    @property
    def alone(self) -> bool:
        """Whether each call must travel by itself: a time limit or a retry is meant for one call, not for a bundle."""
        return self.timeout is not None or self.retries > 0


def checked(
    base: TaskSettings,
    *,
    priority: int | None,
    timeout: float | None,
    retries: int | None,
    gpu: float | None,
    count_gpus: Callable[[], int],
) -> TaskSettings:
    """`base` with what was given, or TypeError or ValueError that says what is wrong.

    `count_gpus` is asked only where a GPU is: the answer may take a while.
    """
    if priority is not None:
        _require_int("priority", priority, -MOST_PRIORITY, MOST_PRIORITY, "higher goes first")
        base = replace(base, priority=priority)
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"options(timeout={timeout!r}): a number of seconds is needed, or None for no limit")
        if math.isnan(timeout) or not 0 < timeout <= MOST_TIMEOUT:
            raise ValueError(
                f"options(timeout={timeout!r}): a task may be given more than 0 and at most {MOST_TIMEOUT:.0f} seconds"
            )
        base = replace(base, timeout=float(timeout))
    if retries is not None:
        _require_int("retries", retries, 0, MOST_RETRIES, "how often a call that raised is tried again")
        base = replace(base, retries=retries)
    if gpu is not None:
        share = _share_of(gpu)
        if share and not count_gpus():
            raise ValueError(
                f"options(gpu={gpu!r}): this flock has no GPU slot, so the task would wait for ever; use gpu=0"
            )
        # All of one is 0 in a TaskRecord.
        base = replace(base, needs=NEEDS_GPU if share else NEEDS_CPU, share=share % WHOLE_SHARE)
    return base


def _share_of(gpu: float) -> int:
    """How much of a GPU that is, in 1/10,000."""
    if isinstance(gpu, bool) or not isinstance(gpu, (int, float)):
        raise TypeError(f"options(gpu={gpu!r}): a number is needed (0, 1, or a part of one GPU such as 0.25)")
    if gpu > 1:
        raise ValueError(f"options(gpu={gpu!r}): a task runs on one GPU at most; give 1, or a part of one such as 0.25")
    if math.isnan(gpu) or gpu < 0 or 0 < gpu < 1 / WHOLE_SHARE:
        raise ValueError(
            f"options(gpu={gpu!r}): 0, 1, or a part of one GPU from {1 / WHOLE_SHARE} on is needed (0.25 lets four "
            "tasks share one)"
        )
    # Down, so that three of 1/3 fit; but 0.0007 times 10,000 is not 6.999999999999999.
    return math.floor(round(gpu * WHOLE_SHARE, 6))


def _require_int(name: str, value: object, least: int, most: int, meaning: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"options({name}={value!r}): a whole number is needed ({meaning})")
    if not least <= value <= most:
        raise ValueError(f"options({name}={value!r}): a number from {least} to {most} is needed ({meaning})")


class Options:
    """A view of a client whose tasks carry settings.

    >>> import covey
    >>> with covey.Client(inline=True) as client:
    ...     client.options(retries=2).submit(pow, 2, 5).result()
    32
    """

    __slots__ = ("client", "settings")

    def __init__(self, client: Client | Job, settings: TaskSettings) -> None:
        self.client = client
        self.settings = settings

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `Client.submit`, with the settings of this view."""
        return self.client.submit_with(self.settings, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: bool | None = None,
    ) -> Results[Any]:
        """As `Client.map`, with the settings of this view; with a timeout or retries each item travels alone."""
        return self.client.map_with(
            self.settings,
            fn,
            iterables,
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            progress=progress,
            in_order=True,
        )

    def imap_unordered(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: bool | None = None,
    ) -> Results[Any]:
        """As `Client.imap_unordered`, with the settings of this view."""
        return self.client.map_with(
            self.settings,
            fn,
            iterables,
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            progress=progress,
            in_order=False,
        )

    def options(
        self,
        *,
        priority: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        gpu: float | None = None,
    ) -> Options:
        """This view with some settings changed; None leaves a setting as it is."""
        settings = checked(
            self.settings,
            priority=priority,
            timeout=timeout,
            retries=retries,
            gpu=gpu,
            count_gpus=self.client.count_gpus,
        )
        return Options(self.client, settings)

    def __repr__(self) -> str:
        return f"<{self.client!r} with {self.settings!r}>"
