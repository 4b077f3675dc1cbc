# SPDX-License-Identifier: BSD-3-Clause
"""Particles in, values out: in place, or over the slots of a place.

    evaluate    a whole round; in place if that is sooner
    post, take  some particles, and whichever are done: the loop without a barrier

Why: the loops should not know where a fitness runs, nor that it may be anywhere.

May not know: algorithms, how calls are sent. Guarantees: a round's values come in the order of its particles, whoever
computed them, in whatever order they arrived; nothing is left under way when a call of `evaluate` ends; an error of the
fitness counts as its policy says, an error of covey's is raised.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.errors import CoveyError, WorkerDied
from covey.swarm.calls import ATTENTIVE, Calls, Given, has_result
from covey.swarm.chunks import ends_of, tasks_of
from covey.swarm.evaluation import Evaluation, Outcome
from covey.swarm.faults import Tally
from covey.swarm.pace import Pace

__all__ = ["Evaluated", "Evaluator"]

Vector = NDArray[np.float64]
Groups = NDArray[np.int64]

# Particles that one call of a cheap fitness may get at most: their columns should stay in the cache.
WHOLE = 4096
# So long the first chunk may take here before the others are sent to slots meanwhile.
TRIAL = 0.02
# Not the fitness's doing; WorkerDied, which is one of covey's, is.
NOT_THE_FITNESS = (CoveyError, BrokenExecutor, CancelledError)


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
        self, evaluation: Evaluation, calls: Calls, tally: Tally, *, chunk: int, fixed: bool, free: bool
    ) -> None:
        self.tally = tally
        # What is known of a round that was not finished: its first and last particle, and what became of them.
        self.partial: list[tuple[int, int, Outcome]] = []
        self._evaluation = evaluation
        self._calls = calls
        self._chunk = chunk
        # The user wants exactly these chunks. A function of one particle has none.
        self._fixed = fixed
        # Of whole chunks, as what raises is cut into these again.
        self._whole = max(1, WHOLE // chunk) * chunk
        # Nobody said where: what is measured may decide it.
        self._free = free and not calls.inline
        # What asks for a GPU should not find that there is none.
        self._asks_for_gpu = evaluation.fitness.asks_for_gpu or calls.place.asks_for_gpu
        self._pace = Pace()

    def evaluate(self, positions: Vector, groups: Groups) -> Evaluated:
        """The values of a round."""
        self.partial = []
        count = len(positions)
        if self._free and self._is_better_here(count):
            # Too cheap even to be cut.
            size = self._chunk if self._fixed else self._whole
            return self._in_place(positions, groups, ends_of(count, size, exact=self._fixed))
        ends = ends_of(count, self._chunk if self._evaluation.fitness.vectorized else 1, exact=self._fixed)
        if self._calls.inline:
            return self._in_place(positions, groups, ends)
        if self._free and self._pace.seconds is None and self._may_try_here():
            return self._trial(positions, groups, ends)
        return self._gather(count, self._send(positions, groups, ends, 0))

    def post(self, key: Any, positions: Vector, groups: Groups) -> None:
        """These particles are wanted, as one task."""
        count = len(positions)
        call = self._in_place if self._calls.inline else self._evaluation
        self._calls.post((key, count), call, positions, groups, ends_of(count, self._chunk))

    def take(self) -> tuple[Any, Evaluated]:
        """Waits for a task; its key and its values, in the order in which they are done."""
        (key, count), given = self._calls.take()
        if self._calls.inline:
            found: Evaluated = given()
            return key, found
        outcome = self._outcome(given, count)
        self.tally.require_any()
        return key, Evaluated(outcome.values, outcome.violations)

    def drop(self) -> None:
        """Whatever was posted is of no use any more."""
        self._calls.drop()

    def _is_better_here(self, count: int) -> bool:
        """Whether a round of so many particles is over sooner in this process than in slots."""
        if self._stays_in_slots:
            return False
        place = self._calls.place
        # To count slots is to start them.
        if place.is_cold:
            return self._pace.is_cheap(count) or self._pace.may_stay(count)
        return self._pace.is_cheap(count, place.slots)

    @property
    def _stays_in_slots(self) -> bool:
        """Whether slots have what this process has not, however cheap a call is: a class set up, or a GPU."""
        return self._evaluation.fitness.making is not None or (self._asks_for_gpu and self._calls.place.has_gpu)

    def _may_try_here(self) -> bool:
        fitness = self._evaluation.fitness
        calls = self._calls
        # A class is costly to set up. Nor can a call here be left when the time is over.
        return calls.deadline is None and calls.place.is_cold and fitness.making is None and not self._asks_for_gpu

    def _in_place(self, positions: Vector, groups: Groups, ends: Sequence[int]) -> Evaluated:
        count = len(positions)
        known = self._pace.seconds
        if known is not None and known * count < ATTENTIVE:
            self._calls.require_time()
            parts = [self._call(positions, groups, ends)]
        else:
            # Piece by piece: what is done when the time is over, or when the user presses Ctrl-C, is not lost.
            parts, start = [], 0
            if not self._evaluation.fitness.vectorized and known:
                ends = ends_of(count, max(1, int(ATTENTIVE / known)))
            for stop in ends:
                self._calls.require_time()
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
            while done < len(ends) and (self._pace.may_try_more or self._is_better_here(count)):
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
            for start, parts in tasks_of(rest, self._pace.seconds, self._calls.place.slots):
                at = slice(begin + start, begin + start + parts[-1])
                cuts = parts if self._evaluation.fitness.vectorized else parts[-1:]
                future = self._calls.submit(self._evaluation, positions[at], groups[at], cuts)
                sent.append((at.start, at.stop, future))
        except BaseException:
            _cancel(sent)
            raise
        return sent

    def _gather(self, count: int, sent: Sequence[tuple[int, int, Future[Any]]]) -> Evaluated:
        try:
            for start, stop, future in sent:
                self._calls.wait(future)
                self.partial.append((start, stop, self._outcome(future.result, stop - start)))
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
            if start not in known and has_result(future):
                self.partial.append((start, stop, self._outcome(future.result, stop - start)))

    def _outcome(self, given: Given, count: int) -> Outcome:
        """What a call of the evaluation gave, errors of the fitness forgiven if that is the policy."""
        try:
            outcome: Outcome = given()
        except WorkerDied as error:
            if not self._evaluation.forgiving:
                raise
            return self._forgiven(count, error)
        except NOT_THE_FITNESS:
            raise
        except Exception as error:
            return self._forgiven(count, error)
        self._calls.who.add(outcome.who)
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


def _cancel(sent: Sequence[tuple[int, int, Future[Any]]]) -> None:
    for _, _, future in sent:
        future.cancel()
