# SPDX-License-Identifier: BSD-3-Clause
"""The compiled core of a client, as Python sees it; ext/covey/client/exchange.pxd is its contents page."""

from collections.abc import Callable
from typing import Any

from covey.client.futures import Future
from covey.codec.functions import Function, FunctionBook
from covey.codec.retriable import Retriable
from covey.settings import Settings

class Exchange:
    """Calls out, outcomes in. Every method may be called from any thread; after `refuse` or `close` calls raise."""

    @property
    def book(self) -> FunctionBook: ...
    @property
    def slots(self) -> int:
        """How many slots the flock has."""
    @property
    def parcel_limit(self) -> int:
        """The most bytes that a call and its arguments may have."""
    @property
    def unfinished(self) -> int:
        """Futures that are not done yet; 0 before `__init__`."""

    def __init__(self, address: str, settings: Settings, slots: int | None = None) -> None:
        """Dials `address`. `slots` None: the flock belongs to another client, ask there."""
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]: ...
    def send(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        priority: int = 0,
        needs: int = ...,
        share: int = 0,
        flags: int = 0,
        retries: int = 0,
        retry_wait: float = 0.0,
        retry_on: Retriable | None = None,
        timeout: float | None = None,
    ) -> Future[Any]:
        """As `submit`, with settings."""
    def post(
        self,
        entry: Function,
        form: int,
        obj: object,
        *,
        priority: int = 0,
        needs: int = ...,
        share: int = 0,
        flags: int = 0,
        retries: int = 0,
        retry_wait: float = 0.0,
        retry_on: Retriable | None = None,
        timeout: float | None = None,
        crashes: int = 0,
    ) -> Future[Any]:
        """One task of a sealed function; raises NotPicklable, ParcelTooLarge, or what `refuse` was given."""
    def post_sealed(
        self,
        entry: Function,
        parcel: bytes,
        buffers: list[Any],
        *,
        needs: int,
        priority: int = 0,
        share: int = 0,
        flags: int = 0,
        retries: int = 0,
        retry_wait: float = 0.0,
        timeout: float | None = None,
        crashes: int = 0,
    ) -> Future[Any]:
        """One task whose parcel is bytes already; also after `refuse`, until `fail`. Never waits for room."""
    def wait_room(self) -> None:
        """Waits while the backlog of parcels is full; returns at once in the thread that sets futures."""
    def hear_starts(self, hear: Callable[[Future[Any]], object]) -> None:
        """`hear` is given each future whose task is said to run, by the thread that sets futures."""
    def listen(self, future: Future[Any], hear: Callable[[bytes], object]) -> None:
        """Hears what a task writes, until its outcome is here; in the thread that sets futures, so it must be quick."""
    def write(self, future: Future[Any], text: bytes) -> None:
        """A note to a task, which must have written first."""
    def flush(self) -> None: ...
    def require_taking(self) -> None:
        """Raises what `refuse` was given, if it was called."""
    def refuse(self, error: BaseException) -> None:
        """From now on calls raise `error`. Takes no lock and touches no socket: it is called in a forked child, too."""
    def cancel_all(self) -> None:
        """`cancel` of every unfinished future."""
    def wait_idle(self, timeout: float | None = None) -> bool:
        """Waits until no future is unfinished; Ctrl-C interrupts it. False if the time was over first."""
    def fail(self, error: BaseException) -> None:
        """`refuse(error)`, and every unfinished future raises it; the flock is broken."""
    def close(self, error: BaseException) -> None:
        """`fail(error)`, says BYE and ends the link and its thread. Again: nothing."""
