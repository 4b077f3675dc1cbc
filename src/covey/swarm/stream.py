# SPDX-License-Identifier: BSD-3-Clause
"""The loop without a barrier: as each value comes, its algorithm is told and a new particle goes out.

    ask ─► in flight ─► value ─► journal ─► tell ─► ask …

Why: where some evaluations take ten times as long as others, a barrier leaves most slots idle most of the time.

May not know: slots. Guarantees: the number in flight is constant, so the result follows from the seed and the order in
which values came; that order, with the values, is the journal, and a stream that is given its journal makes the same
steps bit for bit and evaluates nothing of it again. With one in flight the seed alone decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.swarm.best import leader_of
from covey.swarm.draws import Indices
from covey.swarm.evaluator import Evaluated, Evaluator
from covey.swarm.history import mean_and_spread
from covey.swarm.optimizer import Optimizer
from covey.swarm.run import Run

__all__ = ["Stream"]

Vector = NDArray[np.float64]


@dataclass(slots=True)
class Sent:
    """Particles of a group that are out. `confirms`: all are one candidate, whose mean its id is told."""

    group: int
    ids: Indices
    positions: Vector
    confirms: bool = False


class Stream:
    """The asynchronous loop."""

    def __init__(self, run: Run, evaluator: Evaluator, optimizers: list[Optimizer], round_size: int) -> None:
        self._run = run
        self._evaluator = evaluator
        self._optimizers = optimizers
        self._round_size = round_size
        self._chunk = run.problem.chunk
        self._out: dict[int, Sent] = {}
        self._serial = 0
        # Evaluations that are out, and those told since the last iteration ended.
        self._coming = 0
        self._fresh: list[list[Evaluated]] = [[] for _ in optimizers]
        self._told = 0
        # In the order of arrival: the serial of a task, when it came, and its values and violations.
        self._serials: list[int] = []
        self._times: list[float] = []
        self._values: list[Vector] = []
        self._violations: list[Vector] = []

    def go(self) -> str:
        """Runs until it is over; says why it is."""
        run = self._run
        reason = None
        if not self._out and self._serial == 0:
            self._fill()
        for serial in sorted(self._out):
            self._post(serial)
        while reason is None and self._out:
            serial, found = self._evaluator.take()
            self._note(serial, found)
            fresh = self._serial
            reason = self._apply(serial, found, self._times[-1])
            for new in range(fresh, self._serial):
                self._post(new)
            run.save(self._state)
        self._evaluator.drop()
        reason = reason or run.over(1) or "budget"
        run.save(self._state, last=True)
        return reason

    def absorb(self) -> None:
        """Nothing of a stream is half done."""

    def restore(self, state: dict[str, Any]) -> None:
        """Makes the steps of a journal again."""
        run = self._run
        run.silent = True
        self._fill()
        reason = None
        ends = np.cumsum(state["sizes"]).tolist()
        for number, (serial, end) in enumerate(zip(state["serials"].tolist(), ends, strict=True)):
            span = slice(end - int(state["sizes"][number]), end)
            violations = state["violations"][span] if len(state["violations"]) else None
            found = Evaluated(np.array(state["values"][span]), violations)
            time = float(state["times"][number])
            self._note(serial, found, time)
            reason = self._apply(serial, found, time)
        run.silent = False
        if reason is not None:
            self._out.clear()

    def _state(self) -> dict[str, Any]:
        return {
            "serials": np.array(self._serials, dtype=np.int64), "times": np.array(self._times),
            "sizes": np.array([len(values) for values in self._values], dtype=np.int64),
            "values": np.concatenate([np.empty(0), *self._values]),
            "violations": np.concatenate([np.empty(0), *self._violations]),
        }

    def _fill(self) -> None:
        share = max(1, self._run.problem.in_flight // len(self._optimizers))
        for group in self._run.stops.active:
            for _ in range(share):
                self._ask(group)

    def _ask(self, group: int) -> None:
        budget = self._run.stops.budget
        if budget is not None and self._run.total + self._coming + self._chunk > budget:
            return
        ids, positions = self._optimizers[group].ask(self._chunk)
        self._send(Sent(group, ids, positions))

    def _send(self, sent: Sent) -> None:
        self._out[self._serial] = sent
        self._serial += 1
        self._coming += len(sent.positions)

    def _post(self, serial: int) -> None:
        sent = self._out[serial]
        self._evaluator.post(serial, sent.positions, np.full(len(sent.positions), sent.group))

    def _note(self, serial: int, found: Evaluated, time: float | None = None) -> None:
        self._serials.append(serial)
        self._times.append(self._run.elapsed if time is None else time)
        # A copy: what is told may become a mean later.
        self._values.append(found.values.copy())
        if found.violations is not None:
            self._violations.append(found.violations.copy())

    def _apply(self, serial: int, found: Evaluated, time: float) -> str | None:
        """A step of the journal: tell what came, ask again. Why it is over, if it is."""
        run = self._run
        sent = self._out.pop(serial)
        group, count = sent.group, len(sent.positions)
        self._coming -= count
        self._told += count
        run.count(group, count)
        final = sent.confirms or run.problem.noise is None
        if sent.confirms:
            found = _mean(found)
            sent = Sent(group, sent.ids, sent.positions[:1])
        told = run.told(found.values, found.violations)
        candidate = None if final else self._candidate(sent, found, told)
        if final:
            run.offer(group, sent.positions, found.values, found.violations, told)
        self._fresh[group].append(found)
        keep = np.arange(len(told)) != candidate
        if keep.any():
            self._optimizers[group].tell(sent.ids[keep], told[keep])
        if candidate is not None:
            # Its own id is told when the mean is known; until then the confirmation is what is in flight.
            again = np.repeat(sent.positions[candidate : candidate + 1], run.problem.noise or 1, axis=0)
            self._send(Sent(group, sent.ids[candidate : candidate + 1], again, confirms=True))
        if self._told >= self._round_size:
            self._told -= self._round_size
            self._end_iteration(time)
        reason = run.over(0)
        if reason is None and candidate is None and group in run.stops.active:
            self._ask(group)
        return reason

    def _candidate(self, sent: Sent, found: Evaluated, told: Vector) -> int | None:
        """The row that would be the new best, if there is one."""
        row = leader_of(told, self._run.problem.minimize)
        if row is None:
            return None
        violation = 0.0 if found.violations is None else float(found.violations[row])
        return row if self._run.best.beaten_by(sent.group, float(found.values[row]), violation) else None

    def _end_iteration(self, time: float) -> None:
        mean, spread = [], []
        for fresh in self._fresh:
            values = np.concatenate([np.empty(0), *(part.values for part in fresh)])
            violations = [part.violations for part in fresh if part.violations is not None]
            one, other = mean_and_spread(values, np.concatenate(violations) if violations else None)
            mean.append(one)
            spread.append(other)
            fresh.clear()
        self._run.end_iteration(mean, spread, time=time)


def _mean(found: Evaluated) -> Evaluated:
    violations = None if found.violations is None else found.violations.mean(keepdims=True)
    return Evaluated(found.values.mean(keepdims=True), violations)
