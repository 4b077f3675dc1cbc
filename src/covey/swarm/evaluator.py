# SPDX-License-Identifier: BSD-3-Clause
"""Particles in, values out: in place, or over the slots of a place.

    evaluate    a whole round; in place if that is sooner
    post, take  some particles, and whichever are done: the loop without a barrier

Why: the loops should not know where a fitness runs, nor that it may be anywhere.

May not know: algorithms. Guarantees: a round's values come in the order of its particles, whoever computed them, in
whatever order they arrived; nothing is left under way when a call of `evaluate` ends; an error of the fitness counts
as its policy says, an error of covey's is raised.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.codec.culprit import maybe_not_picklable
from covey.errors import CoveyError, NotPicklable, PoisonTask
from covey.swarm.chunks import ends_of, tasks_of
from covey.swarm.evaluation import Evaluation, Outcome
from covey.swarm.faults import Tally
from covey.swarm.pace import Pace
from covey.swarm.places import Place

__all__ = ["Evaluated", "Evaluator", "OutOfTime"]

Vector = NDArray[np.float64]
Groups = NDArray[np.int64]

# Particles that one call of a cheap fitness may get at most: their columns should stay in the cache.
WHOLE = 4096
# So long the first chunk may take here before the others are sent to slots meanwhile.
TRIAL = 0.02
# A wait is made of pieces of this length: Python may miss a Ctrl-C that comes just before it sleeps.
ATTENTIVE = 0.3
# Not the fitness's doing; PoisonTask, which is one of covey's, is.
NOT_THE_FITNESS = (CoveyError, BrokenExecutor, CancelledError)


class OutOfTime(Exception):
    """The call's timeout is over; caught by the call."""


@dataclass(slots=True)
class Evaluated:
    """The values of some particles, and how far each is from what the constraints allow."""

    values: Vector
    violations: Vector | None
    # All values are known to be finite, and there are no constraints: so it was looked at once, not by everybody.
    clean: bool = False


class Evaluator:
    """Evaluates particles, wherever that is best."""

    def __init__(
        self, evaluation: Evaluation, place: Place, tally: Tally, *, chunk: int, fixed: bool, inline: bool | None,
        clock: Callable[[], float], deadline: float | None = None
    ) -> None:
        self.place = place
        self.tally = tally
        self.deadline = deadline
        self.who: set[tuple[str, int, int]] = set()
        # What is known of a round that was not finished: its first and last particle, and what became of them.
        self.partial: list[tuple[int, int, Outcome]] = []
        # Of the calls of `call_all` that was broken off: what each gave, None where nothing came.
        self.landed: list[Any] = []
        self._evaluation = evaluation
        self._chunk = chunk
        # The user wants exactly these chunks. A function of one particle has none.
        self._fixed = fixed
        # Of whole chunks, as what raises is cut into these again.
        self._whole = max(1, WHOLE // chunk) * chunk
        self._inline = True if place.here else inline
        # What asks for a GPU should not find that there is none.
        self._asks_for_gpu = evaluation.fitness.asks_for_gpu or place.asks_for_gpu
        self._clock = clock
        # The evaluation, and what else is called, in the form in which they are sent.
        self._sent: Callable[..., Any] | None = None
        self._other: tuple[Callable[..., Any], Callable[..., Any]] | None = None
        self._pace = Pace()
        self._waiting: deque[tuple[Any, Vector, Groups]] = deque()
        self._flying: dict[Any, tuple[Any, int]] = {}
        self._bells: SimpleQueue[Any] = SimpleQueue()

    def evaluate(self, positions: Vector, groups: Groups) -> Evaluated:
        """The values of a round."""
        self.partial = []
        count = len(positions)
        if self._inline is None and self._pace.is_cheap(count) and not self._stays_in_slots:
            # Too cheap even to be cut.
            size = self._chunk if self._fixed else self._whole
            return self._in_place(positions, groups, ends_of(count, size, exact=self._fixed))
        ends = ends_of(count, self._chunk if self._evaluation.fitness.vectorized else 1, exact=self._fixed)
        if self._inline:
            return self._in_place(positions, groups, ends)
        if self._inline is None and self._pace.seconds is None and self._may_try_here():
            return self._trial(positions, groups, ends)
        return self._gather(count, self._send(positions, groups, ends, 0))

    def post(self, key: Any, positions: Vector, groups: Groups) -> None:
        """These particles are wanted, as one task."""
        if self._inline:
            self._waiting.append((key, positions, groups))
            return
        future = self.submit(positions, groups, ends_of(len(positions), self._chunk))
        self._flying[future] = (key, len(positions))
        future.add_done_callback(self._bells.put)

    def take(self) -> tuple[Any, Evaluated]:
        """Waits for a task; its key and its values, in the order in which they are done."""
        if self._inline:
            key, positions, groups = self._waiting.popleft()
            return key, self._in_place(positions, groups, ends_of(len(positions), self._chunk))
        future = self._wait_bell()
        key, count = self._flying.pop(future)
        outcome = self._outcome(future, count)
        self.tally.require_any()
        return key, Evaluated(outcome.values, outcome.violations)

    def submit(self, *args: Any) -> Future[Any]:
        """A call of the evaluation, somewhere."""
        if self._sent is None:
            self._evaluation.fitness.settle()
            self._sent = self._prepared(self._evaluation)
        return self._submit(self._sent, *args)

    def _prepared(self, call: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return self.place.prepared(call)
        except Exception as error:
            raise self._named(error) from error

    def _submit(self, prepared: Callable[..., Any], *args: Any) -> Future[Any]:
        try:
            return self.place.submit(prepared, *args)
        except NotPicklable as error:
            raise self._named(error) from error

    def _named(self, error: Exception) -> Exception:
        """The same, in words that the user used: data, if it is that."""
        fitness = self._evaluation.fitness
        for name, data in (("shared_data", fitness.shared_data), ("local_data", fitness.local_data)):
            fault = maybe_not_picklable(f"{self.tally.label}: {name}", data)
            if fault is not None:
                return fault
        return error

    def call_all(self, call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """`call` with each of these arguments, in their order: something else than the evaluation, such as a leg.

        Where a call killed its slots and that is forgiven, the PoisonTask stands for what it would have given.
        """
        self.landed = []
        if self._inline:
            for each in arguments:
                self._patience()
                self.landed.append(call(*each))
            return self.landed
        if self._other is None or self._other[0] is not call:
            self._evaluation.fitness.settle()
            self._other = call, self._prepared(call)
        futures = [self._submit(self._other[1], *each) for each in arguments]
        try:
            for future in futures:
                self._await(future)
            results = [self._survived(future) for future in futures]
        except BaseException:
            self.landed = [_maybe_result(future) for future in futures]
            for future in futures:
                future.cancel()
            raise
        self.who.update(who for who in (getattr(result, "who", None) for result in results) if who is not None)
        return results

    def _survived(self, future: Future[Any]) -> Any:
        """What a future holds; the PoisonTask itself, if the policy forgives that."""
        try:
            return future.result()
        except PoisonTask as error:
            if not self._evaluation.forgiving:
                raise
            return error

    def seconds_for(self, calls: int) -> float | None:
        """How long each of so many calls may take, so that all are done when the time is over; None: any time."""
        if self.deadline is None:
            return None
        # A little less: what is done must also arrive.
        left = 0.95 * (self.deadline - self._clock())
        return left / (calls if self._inline else -(-calls // self.place.slots))

    def _await(self, future: Future[Any]) -> None:
        """Until it is done, in whatever way."""
        while not future.done():
            try:
                future.exception(self._patience())
            except TimeoutError:
                continue

    def _wait_bell(self) -> Any:
        """The next future that has rung; OutOfTime when the call's time is over."""
        while True:
            try:
                return self._bells.get(timeout=self._patience())
            except Empty:
                continue

    def drop(self) -> None:
        """Whatever is still under way is of no use any more."""
        for future in list(self._flying):
            future.cancel()
        self._flying.clear()
        self._waiting.clear()

    def _patience(self) -> float:
        if self.deadline is None:
            return ATTENTIVE
        left = self.deadline - self._clock()
        if left <= 0:
            raise OutOfTime
        return min(ATTENTIVE, left)

    @property
    def _stays_in_slots(self) -> bool:
        """Whether slots have what this process has not, however cheap a call is: a class set up, or a GPU."""
        return self._evaluation.fitness.making is not None or (self._asks_for_gpu and self.place.has_gpu)

    def _may_try_here(self) -> bool:
        fitness = self._evaluation.fitness
        # A class is costly to set up. Nor can a call here be left when the time is over.
        return (
            self.deadline is None and self.place.is_cold and fitness.making is None and not self._asks_for_gpu
        )

    def _in_place(self, positions: Vector, groups: Groups, ends: Sequence[int]) -> Evaluated:
        count = len(positions)
        known = self._pace.seconds
        if known is not None and known * count < ATTENTIVE:
            self._patience()
            parts = [self._call(positions, groups, ends)]
        else:
            # Piece by piece: what is done when the time is over, or when the user presses Ctrl-C, is not lost.
            parts, start = [], 0
            if not self._evaluation.fitness.vectorized and known:
                ends = ends_of(count, max(1, int(ATTENTIVE / known)))
            for stop in ends:
                self._patience()
                outcome = self._call(positions[start:stop], groups[start:stop], [stop - start])
                self.partial.append((start, stop, outcome))
                parts.append(outcome)
                start = stop
        self._pace.on_round(count, sum(part.seconds for part in parts), here=True)
        return _joined(parts)

    def _call(self, positions: Vector, groups: Groups, ends: Sequence[int]) -> Outcome:
        try:
            outcome = self._evaluation(positions, groups, ends)
        except CoveyError:
            raise
        except Exception as error:
            return self._forgiven(len(positions), error)
        outcome.clean = self.tally.on_values(outcome.values, outcome.raised, outcome.fault, outcome.company)
        self.tally.require_any()
        return outcome

    def _trial(self, positions: Vector, groups: Groups, ends: Sequence[int]) -> Evaluated:
        """The first chunks here, as long as that takes no time worth mentioning; the others to slots, or never."""
        count = len(positions)
        sent: list[tuple[int, int, Future[Any]]] = []
        failed: list[BaseException] = []

        def send() -> None:
            try:
                sent.extend(self._send(positions, groups, ends, 1))
            except BaseException as error:
                failed.append(error)

        # One long chunk must not keep the slots waiting.
        timer = threading.Timer(TRIAL, send)
        timer.name, timer.daemon = "covey-trial", True
        timer.start()
        try:
            done = self._try(positions, groups, ends[:1])
        except BaseException:
            timer.cancel()
            timer.join()
            _cancel(sent)
            raise
        timer.cancel()
        timer.join()
        if failed:
            raise failed[0]
        if not sent:
            while done < len(ends) and (self._pace.may_try_more or self._pace.is_cheap(count)):
                done = self._try(positions, groups, ends[: done + 1])
        if done == len(ends):
            return _joined([outcome for _, _, outcome in self.partial])
        return self._gather(count, sent or self._send(positions, groups, ends, done))

    def _try(self, positions: Vector, groups: Groups, ends: Sequence[int]) -> int:
        """The last of these chunks, here; how many are done."""
        start, stop = ends[-2] if len(ends) > 1 else 0, ends[-1]
        outcome = self._call(positions[start:stop], groups[start:stop], [stop - start])
        self.partial.append((start, stop, outcome))
        self._pace.on_tried(stop - start, outcome.seconds)
        return len(ends)

    def _send(
        self, positions: Vector, groups: Groups, ends: Sequence[int], skipped: int
    ) -> list[tuple[int, int, Future[Any]]]:
        """Tasks for the chunks after the first `skipped`: each one's first and last particle, and its future."""
        begin = ends[skipped - 1] if skipped else 0
        rest = [end - begin for end in ends[skipped:]]
        sent = []
        try:
            for start, parts in tasks_of(rest, self._pace.seconds, self.place.slots):
                at = slice(begin + start, begin + start + parts[-1])
                cuts = parts if self._evaluation.fitness.vectorized else parts[-1:]
                sent.append((at.start, at.stop, self.submit(positions[at], groups[at], cuts)))
        except BaseException:
            _cancel(sent)
            raise
        return sent

    def _gather(self, count: int, sent: Sequence[tuple[int, int, Future[Any]]]) -> Evaluated:
        try:
            for start, stop, future in sent:
                self._await(future)
                self.partial.append((start, stop, self._outcome(future, stop - start)))
                self.tally.require_any()
        except BaseException:
            self._take_arrived(sent)
            _cancel(sent)
            raise
        parts = [outcome for _, _, outcome in self.partial]
        self._pace.on_round(count, sum(part.seconds for part in parts))
        return _joined(parts)

    def _take_arrived(self, sent: Sequence[tuple[int, int, Future[Any]]]) -> None:
        """What has come out of turn: a round that is broken off should lose none of it."""
        known = {start for start, _, _ in self.partial}
        for start, stop, future in sent:
            if start not in known and future.done() and not future.cancelled() and future.exception() is None:
                self.partial.append((start, stop, self._outcome(future, stop - start)))

    def _outcome(self, future: Future[Any], count: int) -> Outcome:
        """What a future of the evaluation holds, errors of the fitness forgiven if that is the policy."""
        try:
            outcome: Outcome = future.result()
        except PoisonTask as error:
            if not self._evaluation.forgiving:
                raise
            return self._forgiven(count, error)
        except NOT_THE_FITNESS:
            raise
        except Exception as error:
            return self._forgiven(count, error)
        self.who.add(outcome.who)
        outcome.clean = self.tally.on_values(outcome.values, outcome.raised, outcome.fault, outcome.company)
        return outcome

    def _forgiven(self, count: int, error: Exception) -> Outcome:
        if not self._evaluation.forgiving:
            raise error
        self.tally.on_raised(count, error)
        self.tally.require_any()
        violations = np.zeros(count) if self._evaluation.constraints else None
        return Outcome(np.full(count, np.nan), violations, count, None, 0.0, ("", 0, 0))


def _joined(parts: Sequence[Outcome | Evaluated]) -> Evaluated:
    if len(parts) == 1:
        part = parts[0]
        return Evaluated(part.values, part.violations, part.clean and part.violations is None)
    values = np.concatenate([part.values for part in parts])
    violations = [part.violations for part in parts if part.violations is not None]
    clean = not violations and all(part.clean for part in parts)
    return Evaluated(values, np.concatenate(violations) if violations else None, clean)


def _maybe_result(future: Future[Any]) -> Any:
    return future.result() if future.done() and not future.cancelled() and future.exception() is None else None


def _cancel(sent: Sequence[tuple[int, int, Future[Any]]]) -> None:
    for _, _, future in sent:
        future.cancel()
