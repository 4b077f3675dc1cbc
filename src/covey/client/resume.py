# SPDX-License-Identifier: BSD-3-Clause
"""`covey.resume(job_id)`: the results of a detached job, in another program than the one that submitted it.

May not know: how a job came about. Guarantees: results in the order of submission, each acknowledged when the next is
asked for: delivered once, and again only if that never happened; so much is held here at once and no more.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future as StandardFuture
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from covey import errors
from covey.client.client import Client
from covey.client.futures import Future, make_future
from covey.client.journalled import Door, Receipts, find_door, said
from covey.client.line import settle
from covey.client.progress import maybe_progress

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Resumed", "resume"]


def resume(job_id: str, where: str | os.PathLike[str] | None = None, *, progress: bool | None = None) -> Resumed:
    """The results of a detached job that were not delivered yet, in the order in which its calls were submitted.

    What a call raised is raised in its place, and `next()` goes on behind it. Waits for calls that are not done. A job
    that is resumed in two programs belongs to the later one.

    Parameters:
        job_id: the `job_id` of `client.options(detached=True)`.
        where: the connection file of the broker that keeps it; None: what COVEY_CONNECTION names.
        progress: a bar: True always, False never, None where somebody looks and it takes over a second.

    >>> for result in covey.resume("q3Yw-pX0aTqk", "lab.json"):     # doctest: +SKIP
    ...     print(result)
    """
    if not isinstance(job_id, str) or not job_id:
        raise ValueError(f"resume: job_id is the text that `options(detached=True).job_id` gave, not {job_id!r}")
    client = Client(where)
    try:
        door = find_door(client, "resume")
        return Resumed(client, door, job_id, progress)
    except BaseException:
        client.kill()
        raise


class Resumed(Iterator[Any]):
    """The results of a job, each once; closes its client at its end, or with `close`."""

    def __init__(self, client: Client, door: Door, job_id: str, progress: bool | None) -> None:
        self.job_id = job_id
        self._client = client
        self._door = door
        self._session = secrets.token_urlsafe(12)
        calls, queued, finished = door.ask_until("attach", {"job": job_id, "session": self._session})
        # The calls of the job in all, and those of which something is still to come.
        self.calls = int(calls)
        self.left = int(queued) + int(finished)
        self._receipts = Receipts(door, job_id, lambda: 0)
        self._entry = SimpleNamespace(name=f"a call of the job {job_id}")
        self._bar = maybe_progress(progress, self.left, f"job {job_id}")
        self._rows: deque[tuple[Any, ...]] = deque()
        self._asked: StandardFuture[Any] | None = None
        self._next = 0
        self._shown = -1
        self._over = False
        client.footing.jobs.add(self)

    def __iter__(self) -> Resumed:
        return self

    def __next__(self) -> Any:
        self._acknowledge()
        while not self._rows:
            if self._over:
                raise StopIteration
            self._collect()
        index, _, *outcome = self._rows.popleft()
        self._shown = index
        future: Future[Any] = make_future(Future, self._client, self._entry, index)
        settle(future, *outcome)
        return future.result()

    def close(self) -> None:
        """Lets go of the job; what was not asked for stays at the broker. May be called again."""
        self._client.shutdown()

    def let_go(self) -> None:
        """What a client asks of its jobs before it ends."""
        self._over = True
        self._rows.clear()
        if self._bar is not None:
            self._bar.close()
        if self._asked is not None:
            self._asked.cancel()
        self._door.take_leave(self.job_id, self._session, self._receipts)

    def __del__(self) -> None:
        asked = getattr(self, "_asked", None)
        if asked is not None:
            # Or the client, which ends now, would wait for the answer.
            asked.cancel()

    def __enter__(self) -> Resumed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._client.kill()
        else:
            self.close()

    def __repr__(self) -> str:
        return f"<covey job {self.job_id}, resumed: {self.calls} calls>"

    def _acknowledge(self) -> None:
        if self._shown < 0:
            return
        self._receipts.add(self._shown)
        self._shown = -1
        if self._bar is not None:
            self._bar.tick(1)

    def _ask(self) -> None:
        facts = {"job": self.job_id, "session": self._session, "index": self._next}
        self._asked = self._door.ask("follow", facts)

    def _collect(self) -> None:
        """What the journal has next; the request behind it is on its way while these are looked at."""
        if self._asked is None:
            self._ask()
        assert self._asked is not None
        try:
            rows, over = said(self._asked)
        except errors.TaskLost:
            rows, over = [], False
        except errors.NoSuchJob:
            self._over = True
            self._client.kill()
            raise
        self._asked = None
        self._rows.extend(rows)
        if rows:
            self._next = rows[-1][0] + 1
        if over:
            self.close()
        else:
            self._ask()
