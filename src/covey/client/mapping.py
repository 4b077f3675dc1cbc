# SPDX-License-Identifier: BSD-3-Clause
"""A map under way: items in, bundles out, results back in order or as they come.

    iterables ──feed──> Bundle ──post──> future ──rings──> bells ──collect──> Sizer, Progress
                          │                                   │
                       pending (in order) ──ordered()──┐   unordered()
                                                       └──lists──> Results ──> the caller

Why: `map` must be lazy over endless iterables, ordered, as fast as a list of numbers can be pickled,
and yet treat each item as if it travelled alone: its error, its timeout, its death concern it only.

May not know: sockets, processes, how a future is completed. Everything runs in the thread that takes
the results; the thread that completes a future only puts it into `bells`.
Guarantees: results before an error are delivered before it; after an error, a timeout or the end of the
iterator nothing of the map is under way; work per item is done by C code only (islice, zip, pickle).
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from covey.client.bundles import Sizer
from covey.client.futures import Partial
from covey.client.options import NEEDS_CPU, TaskSettings
from covey.codec.functions import callable_name
from covey.codec.parcel import ITEMS, STAR, seal_args
from covey.errors import BundleBroken, NotPicklable, ParcelTooLarge, TaskLost, WorkerDied

if TYPE_CHECKING:
    from covey.client.futures import Future
    from covey.client.progress import Progress
    from covey.codec.functions import Function
    from covey.codec.retriable import Retriable

# The TaskFlag of wire/protocol: at the first death under it a bundle comes back instead of running again.
SPLITTABLE = 1
# A wait is made of pieces of this length: Python may miss a Ctrl-C that comes just before it sleeps.
ATTENTIVE = 0.3
# So long may be spent on filling the window while a result is ready, or before the call returns.
FEED_PATIENCE = 0.002


class Poster(Protocol):
    """What a map needs of a client: the compiled Exchange has it, and so have fakes."""

    @property
    def slots(self) -> int: ...

    def post(
        self,
        entry: Function,
        form: int,
        obj: object,
        *,
        priority: int = 0,
        needs: int = NEEDS_CPU,
        share: int = 0,
        flags: int = 0,
        retries: int = 0,
        retry_wait: float = 0.0,
        retry_on: Retriable | None = None,
        timeout: float | None = None,
        crashes: int = 0,
    ) -> Future[Any]: ...

    def flush(self) -> None: ...

    def require_taking(self) -> None: ...


class Bundle:
    """Some items in a row, and the future of their results."""

    __slots__ = ("future", "items", "parts", "start")

    def __init__(self, start: int, items: list[Any]) -> None:
        self.start = start
        self.items = items
        self.future: Future[Any] | None = None
        # Not empty once a slot died under the bundle: its items, one by one. `future` is then None.
        self.parts: list[Bundle] = []


class Feeder:
    """Pulls items, posts bundles, and knows what is under way."""

    def __init__(
        self,
        poster: Poster,
        entry: Function,
        items: Iterator[Any],
        *,
        star: bool,
        sizer: Sizer,
        settings: TaskSettings,
        progress: Progress | None = None,
        slots: Callable[[], int] | None = None,
    ) -> None:
        self.poster = poster
        self.entry = entry
        self.items = items
        self.form = STAR if star else ITEMS
        self.sizer = sizer
        self.settings = settings
        self.progress = progress
        # How many there are by now, where machines may join while the map runs.
        self.slots = slots
        # In order, not yet handed out. Broken bundles are replaced by their parts when they come first.
        self.pending: deque[Bundle] = deque()
        # Posted and not known to be done; a future leaves when its bell is collected.
        self.waiting: dict[Future[Any], Bundle] = {}
        # Of futures; Any, because a callback is promised any Future.
        self.bells: SimpleQueue[Any] = SimpleQueue()
        self.pulled = 0
        self.held = 0
        self.over = False
        # What ended the feeding early. It is raised once everything before it is delivered.
        self.fault: BaseException | None = None
        # shutdown() may feed the rest of a map while another thread takes its results.
        self.lock = threading.RLock()

    def feed(self, *, ahead: bool) -> None:
        """Post bundles until enough is under way.

        `ahead`: the consumer waits for a slow item, so others may overtake it; otherwise the results
        that are ready suffice, and a consumer slower than the slots is not buried under more.
        """
        sizer = self.sizer
        if self.slots is not None:
            sizer.slots = max(1, self.slots())
        began = 0.0
        with self.lock:
            while not self.over:
                size = sizer.size(self.pulled, self.held)
                depth = sizer.depth(size)
                if len(self.waiting) >= depth or self.held >= sizer.ahead(size):
                    break
                if not ahead and len(self.pending) >= depth + 1:
                    break
                try:
                    # post() would take it even now: what broke, and the rest of what a closing client was given
                    self.poster.require_taking()
                except Exception as error:
                    self._end_with(error)
                    break
                self._post_next(size)
                if sizer.length is None and sizer.buffersize is None and self.pending:
                    # the iterable is somebody's generator and may be slow: do not sit on what is ready
                    now = monotonic()
                    if not began:
                        began = now
                    elif now - began > FEED_PATIENCE and (
                        not self.bells.empty() or len(self.waiting) >= 2 * sizer.slots
                    ):
                        break

    def feed_all(self) -> None:
        """Post everything that is left, if it is known to end; for a client that closes."""
        with self.lock:
            while self.sizer.length is not None and not self.over:
                self._post_next(self.sizer.size(self.pulled, 0))

    def _post_next(self, size: int) -> None:
        began = monotonic()
        items: list[Any] = []
        try:
            if size == 1:
                items.append(next(self.items))
            else:
                # extend keeps what came before an error, list() would lose it
                items.extend(islice(self.items, size))
        except StopIteration:
            self.over = True
        except BaseException as error:
            if not isinstance(error, Exception):
                self.over = True
                raise
            self._end_with(error)
        if len(items) < size:
            self.over = True
        if not items:
            return
        self.sizer.on_pulled(len(items), monotonic() - began)
        first = items[0]
        self.sizer.on_sample(getattr(first, "nbytes", 0) or sys.getsizeof(first))
        bundle = Bundle(self.pulled, items)
        self.pulled += len(items)
        try:
            self._post(bundle, 0)
        except (NotPicklable, ParcelTooLarge):
            self._post_singly(bundle)
        except Exception as error:
            self._end_with(error)

    def _post_singly(self, bundle: Bundle) -> None:
        """A bundle that cannot be sent: its items up to the one that is to blame."""
        for index, item in enumerate(bundle.items, bundle.start):
            try:
                self._post(Bundle(index, [item]), 0)
            except NotPicklable as error:
                self._end_with(self._named(error, item, index))
                return
            except Exception as error:
                self._end_with(_naming(error, index))
                return

    def _named(self, error: NotPicklable, item: Any, index: int) -> NotPicklable:
        """The same failure, in words that name the item as the caller counts."""
        try:
            seal_args(self.form, [item], self.entry.name, index)
        except NotPicklable as named:
            return named
        return error

    def _post(self, bundle: Bundle, crashes: int, *, queue: bool = True) -> None:
        riders = self.settings.riders
        if len(bundle.items) > 1:
            riders["flags"] |= SPLITTABLE
        future = self.poster.post(self.entry, self.form, bundle.items, crashes=crashes, **riders)
        bundle.future = future
        self.waiting[future] = bundle
        if queue:
            self.pending.append(bundle)
            self.held += len(bundle.items)
        future.add_done_callback(self.bells.put)

    def _end_with(self, error: BaseException) -> None:
        self.over = True
        if self.fault is None:
            self.fault = error

    def collect(self) -> None:
        """Take note of every bundle that has rung."""
        while not self.bells.empty():
            self._note(self.bells.get_nowait())

    def wait_done(self, deadline: float | None) -> Bundle | None:
        """Wait for a bundle to be done; None if it was one that had to be split."""
        try:
            future = self.bells.get_nowait()
        except Empty:
            self.poster.flush()
            future = self._wait_bell(deadline)
        return self._note(future)

    def _wait_bell(self, deadline: float | None) -> Future[Any]:
        while True:
            left = ATTENTIVE if deadline is None else min(ATTENTIVE, max(0.0, deadline - monotonic()))
            try:
                future: Future[Any] = self.bells.get(timeout=left)
                return future
            except Empty:
                if deadline is not None and monotonic() >= deadline:
                    break
        raise TimeoutError(
            f"map: item {self.pending[0].start if self.pending else self.pulled} was not done "
            "when the timeout given to the call was over; the rest is cancelled"
        )

    def _note(self, future: Future[Any]) -> Bundle | None:
        bundle = self.waiting.pop(future)
        if future.cancelled():
            return bundle
        error = future.exception()
        if isinstance(error, BundleBroken):
            self._split(bundle, error)
            return None
        if error is None:
            value = future.result()
            done = len(bundle.items) if type(value) is list else len(value.results)
            if done:
                self.sizer.on_done(done, future.run_seconds or 0.0)
            if self.progress is not None:
                self.progress.tick(done)
        return bundle

    def _split(self, bundle: Bundle, error: BundleBroken) -> None:
        # One of the items killed the slot, and nobody knows which. Alone, each answers for itself, and
        # the death counts against all of them: the guilty one then has two attempts left, not three.
        bundle.future = None
        bundle.parts = [_Suspect(bundle.start + at, [item], error.reports) for at, item in enumerate(bundle.items)]
        bundle.items = []
        with self.lock:
            for part in bundle.parts:
                try:
                    self._post(part, 1, queue=False)
                except Exception as fault:
                    del bundle.parts[bundle.parts.index(part) :]
                    self._end_with(fault)
                    return

    def head(self) -> Bundle | None:
        """The bundle whose results come next in order."""
        while self.pending:
            bundle = self.pending[0]
            if bundle.future is not None:
                return bundle
            self.pending.popleft()
            self.pending.extendleft(reversed(bundle.parts))
        return None

    def cancel(self) -> None:
        """Nothing of this map is wanted any more. Safe to call twice."""
        self.over = True
        for future in list(self.waiting):
            future.cancel()
        self.waiting.clear()
        self.pending.clear()
        # futures in `bells` hold callbacks that hold `bells`
        while not self.bells.empty():
            self.bells.get_nowait()
        if self.progress is not None:
            self.progress.close()


class _Suspect(Bundle):
    """An item of a bundle under which a slot died."""

    __slots__ = ("reports",)

    def __init__(self, start: int, items: list[Any], reports: Sequence[str]) -> None:
        super().__init__(start, items)
        self.reports = reports


def _naming(error: BaseException, index: int) -> BaseException:
    """The error, saying which item of the map it is about."""
    error.add_note(f"covey: this was item {index} of a map")
    return error


def _outcome(bundle: Bundle) -> tuple[list[Any], BaseException | None]:
    """What a done bundle has to say: results, and the error that came after them."""
    assert bundle.future is not None
    try:
        value = bundle.future.result()
    except WorkerDied as error:
        if isinstance(bundle, _Suspect):
            error = type(error)(error.what, (*bundle.reports, *error.attempts), error.oom, error.peak_rss)
        return [], _naming(error, bundle.start)
    except TaskLost as error:
        if isinstance(bundle, _Suspect):
            error = TaskLost(error.what, (*bundle.reports, *error.attempts))
        return [], _naming(error, bundle.start)
    except BaseException as error:
        return [], _naming(error, bundle.start)
    if isinstance(value, Partial):
        return value.results, _naming(value.error, bundle.start + len(value.results))
    return value, None


def ordered(feeder: Feeder, deadline: float | None) -> Generator[list[Any], None, None]:
    """Lists of results in the order of the items."""
    bundle: Bundle | None = None
    error: BaseException | None = None
    try:
        while True:
            feeder.collect()
            bundle = feeder.head()
            feeder.feed(ahead=bundle is None or bundle.future in feeder.waiting)
            bundle = feeder.head()
            if bundle is None:
                error = feeder.fault
                if error is not None:
                    raise error
                return
            if bundle.future in feeder.waiting:
                bundle = None
                feeder.wait_done(deadline)
                continue
            feeder.pending.popleft()
            results, error = _outcome(bundle)
            feeder.held -= len(bundle.items)
            bundle = None
            if results:
                yield results
                del results
            if error is not None:
                raise error
    finally:
        feeder.cancel()
        del bundle, error


def unordered(feeder: Feeder, deadline: float | None) -> Generator[list[Any], None, None]:
    """Lists of results in the order in which they come."""
    bundle: Bundle | None = None
    error: BaseException | None = None
    try:
        while True:
            feeder.feed(ahead=True)
            if not feeder.waiting:
                error = feeder.fault
                if error is not None:
                    raise error
                return
            bundle = feeder.wait_done(deadline)
            if bundle is None:
                continue
            results, error = _outcome(bundle)
            feeder.held -= len(bundle.items)
            bundle = None
            if results:
                yield results
                del results
            if error is not None:
                raise error
    finally:
        feeder.cancel()
        del bundle, error


def zipped(fn: Callable[..., Any], iterables: Sequence[Any]) -> tuple[Iterator[Any], bool, int | None]:
    """The items of a map over `iterables`, whether each is a tuple of arguments, and how many there are if known."""
    for position, iterable in enumerate(iterables, 1):
        if not hasattr(iterable, "__iter__") and not hasattr(iterable, "__getitem__"):
            raise TypeError(
                f"map({callable_name(fn)}, …): argument {position} after the function is of type "
                f"{type(iterable).__name__}, which cannot be iterated over; give an iterable such as a list, or use "
                "submit for a single call"
            )
    lengths: list[int] | None = []
    for iterable in iterables:
        try:
            lengths.append(len(iterable))  # type: ignore[union-attr]
        except Exception:
            lengths = None
            break
    length = min(lengths) if lengths else (0 if lengths is not None and not iterables else None)
    if len(iterables) == 1:
        return iter(iterables[0]), False, length
    return zip(*iterables, strict=False), True, length
