# SPDX-License-Identifier: BSD-3-Clause
"""What a task may be told besides its call: `client.options(priority=5, timeout=60).submit(f, x)`.

Why: every keyword of `submit` belongs to the function, so resources and limits ride beside the call.

May not know: how a task is sent. Guarantees: a value that makes no sense is refused here, by a sentence,
before anything is sent; a view shares the client, holds no state of its own, and is thread-safe.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

from covey.codec.retriable import Retriable
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
# The TaskFlag of wire/protocol: a task that must not begin twice.
ONCE = 2
# Fields of a TaskRecord: int16, uint8 and milliseconds in uint32.
MOST_PRIORITY = 32767
MOST_RETRIES = 255
MOST_TIMEOUT = 4_294_967.0
MOST_WAIT = 86_400.0

_log = logging.getLogger("covey.client")


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """How a task is to be treated; the function does not see it."""

    priority: int = 0
    timeout: float | None = None
    retries: int = 0
    # None: after any Exception.
    retry_on: Retriable | None = None
    retry_wait: float = 0.0
    # Whether it must not begin twice.
    once: bool = False
    # Whether it may be begun again while it runs.
    speculate: bool = False
    needs: int = NEEDS_CPU
    # Of a GPU, in 1/10,000; 0: all of it.
    share: int = 0

    @property
    def alone(self) -> bool:
        """Whether each call must travel by itself: what is meant for one call is not meant for a bundle."""
        return self.timeout is not None or self.retries > 0 or self.once

    @property
    def riders(self) -> dict[str, Any]:
        """What rides beside the call, by the names that `Exchange` gives it."""
        return {
            "priority": self.priority,
            "needs": self.needs,
            "share": self.share,
            "flags": ONCE if self.once else 0,
            "retries": self.retries,
            "retry_wait": self.retry_wait,
            "retry_on": self.retry_on,
            "timeout": self.timeout,
        }


class Given(TypedDict, total=False):
    """What `options` may be given, in the words of its users."""

    priority: int | None
    timeout: float | None
    retries: int | None
    retry_on: type[BaseException] | tuple[type[BaseException], ...] | None
    retry_wait: float | None
    on_lost: str | None
    gpu: float | None
    speculate: bool | None


def checked(
    base: TaskSettings,
    *,
    priority: int | None,
    timeout: float | None,
    retries: int | None,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] | None,
    retry_wait: float | None,
    on_lost: str | None,
    gpu: float | None,
    speculate: bool | None,
    count_gpus: Callable[[], int],
    may_come: bool = False,
) -> TaskSettings:
    """`base` with what was given, or TypeError or ValueError that says what is wrong.

    `count_gpus` is asked only where a GPU is: the answer may take a while. `may_come`: there may be GPUs later.
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
    if retry_on is not None:
        base = replace(base, retry_on=_retriable(retry_on))
    if retry_wait is not None:
        base = replace(base, retry_wait=_rest_of(retry_wait))
    if base.retries == 0 and (retry_on is not None or retry_wait):
        word = f"retry_wait={retry_wait!r}" if retry_on is None else "retry_on=…"
        raise ValueError(f"options({word}) without retries tries nothing again; add retries=3, for instance")
    if on_lost is not None:
        if on_lost not in ("retry", "fail"):
            raise ValueError(
                f'options(on_lost={on_lost!r}): "retry" is needed, or "fail" for a call that must not run twice'
            )
        base = replace(base, once=on_lost == "fail")
    if speculate is not None:
        if not isinstance(speculate, bool):
            raise TypeError(f"options(speculate={speculate!r}): True or False is needed")
        base = replace(base, speculate=speculate)
    if base.speculate and base.once:
        raise ValueError(
            'options(speculate=True, on_lost="fail") contradict each other: one begins a call a second time and the '
            "other never does; leave one of them out"
        )
    if gpu is not None:
        share = _share_of(gpu)
        if share and not count_gpus():
            if not may_come:
                raise ValueError(
                    f"options(gpu={gpu!r}): this flock has no GPU slot, so the task would wait for ever; use gpu=0"
                )
            _log.warning("options(gpu=%r): the broker has no GPU slot yet; calls wait until a node with one joins", gpu)
        # All of one is 0 in a TaskRecord.
        base = replace(base, needs=NEEDS_GPU if share else NEEDS_CPU, share=share % WHOLE_SHARE)
    return base


def require_attached(settings: TaskSettings) -> None:
    """ValueError for what the calls of a detached job cannot be told."""
    if settings.speculate:
        raise ValueError(
            "options(speculate=True) is for calls that this program waits for, and those of a detached job are the "
            "broker's: leave speculate or detached out"
        )


def _retriable(retry_on: object) -> Retriable:
    types = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    for kind in types:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise TypeError(
                f"options(retry_on=…): a type of exception is needed, or a tuple of such types, and {kind!r} is none"
            )
    if not types:
        raise ValueError("options(retry_on=()) tries nothing again; name a type, or leave it out for any Exception")
    return Retriable(types)


def _rest_of(retry_wait: object) -> float:
    if isinstance(retry_wait, bool) or not isinstance(retry_wait, (int, float)):
        raise TypeError(f"options(retry_wait={retry_wait!r}): a number of seconds is needed, 0 for no rest")
    if not 0 <= retry_wait <= MOST_WAIT:
        raise ValueError(f"options(retry_wait={retry_wait!r}): from 0 to {MOST_WAIT:.0f} seconds can be waited")
    return float(retry_wait)


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
        """As `Client.map`, with the settings of this view; with timeout, retries or "fail" each item travels alone."""
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
        retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        retry_wait: float | None = None,
        on_lost: str | None = None,
        gpu: float | None = None,
        speculate: bool | None = None,
    ) -> Options:
        """This view with some settings changed; None leaves a setting as it is.

        >>> import covey
        >>> with covey.Client(inline=True) as client:
        ...     client.options(retries=2).options(speculate=True).submit(pow, 2, 5).result()
        32
        """
        settings = checked(
            self.settings,
            priority=priority,
            timeout=timeout,
            retries=retries,
            retry_on=retry_on,
            retry_wait=retry_wait,
            on_lost=on_lost,
            gpu=gpu,
            speculate=speculate,
            count_gpus=self.client.count_gpus,
            may_come=self.client.gpus_may_come,
        )
        if isinstance(self.client, Options):
            # Only a job is a view and what is viewed at once.
            require_attached(settings)
        return Options(self.client, settings)

    def __repr__(self) -> str:
        return f"<{self.client!r} with {self.settings!r}>"
