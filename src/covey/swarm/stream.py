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
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from covey.errors import BadCheckpoint
from covey.swarm.best import leader_of
from covey.swarm.draws import Indices
from covey.swarm.evaluator import Evaluated, Evaluator
from covey.swarm.history import mean_and_spread
from covey.swarm.optimizer import Optimizer
from covey.swarm.run import Run

__all__ = ["Stream"]

Vector = NDArray[np.float64]


class Key(NamedTuple):
    """A task of a stream: the how-many-eth of its group; `confirms` the best particle of that one, evaluated again."""

    group: int
    number: int
    confirms: bool = False


@dataclass(slots=True)
class Sent:
    """Particles that are out. Of a confirmation all are one candidate, whose mean its id is told."""

    ids: Indices
    positions: Vector


class Stream:
    """The asynchronous loop."""

    def __init__(self, run: Run, evaluator: Evaluator, optimizers: list[Optimizer], round_size: int) -> None:
        self._run = run
        self._evaluator = evaluator
        self._optimizers = optimizers
        self._round_size = round_size
        self._chunk = run.problem.chunk
        self._out: dict[Key, Sent] = {}
        # Of those, in the order in which they were asked, what nobody evaluates yet.
        self._new: list[Key] = []
        # For each group: tasks and particles asked for, and how many particles there may be: an allowance of its own,
        # or quick groups would live on the account of slow ones.
        self._tasks = [0] * len(optimizers)
        self._asked = [0] * len(optimizers)
        self._allowed, self._ends_by = _allowance(run, round_size)
        # Of a budget, which confirmations live on too: what each group may use in all, and what those have taken.
        budget, groups = run.stops.budget, run.problem.group_count
        self._share = None if budget is None else budget // groups
        self._confirming = [0] * len(optimizers)
        # Kept back for the first candidate of a group: without it a budget could end with nothing confirmed.
        self._kept_back = [run.problem.noise or 0] * len(optimizers)
        self._fresh: list[list[Evaluated]] = [[] for _ in optimizers]
        self._told = 0
        # In the order of arrival: the key of a task, a mark of its positions, when it came, its values and violations.
        self._keys: list[Key] = []
        self._marks: list[int] = []
        self._times: list[float] = []
        self._values: list[Vector] = []
        self._violations: list[Vector] = []

    def go(self) -> str:
        """Runs until it is over; says why it is."""
        run = self._run
        reason = None
        if not self._keys:
            self._fill()
        self._post_new()
        while reason is None and self._out:
            key, found = self._evaluator.take()
            self._note(key, found)
            reason = self._apply(key, found, self._times[-1])
            self._post_new()
            run.save(self._state)
        self._evaluator.drop()
        reason = reason or run.over(0) or self._ends_by
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
        for number, (key, end) in enumerate(zip(state["keys"].tolist(), ends, strict=True)):
            span = slice(end - int(state["sizes"][number]), end)
            violations = state["violations"][span] if len(state["violations"]) else None
            found = Evaluated(np.array(state["values"][span]), violations)
            time = float(state["times"][number])
            its = Key(key[0], key[1], bool(key[2]))
            if its not in self._out or _mark(self._out[its]) != int(state["marks"][number]):
                ended = reason or self._ended(its.group)
                if ended:
                    raise BadCheckpoint(
                        f"this stream has gone on to {len(ends)} tasks, and this call would have ended before, because "
                        f"of {ended}: set that farther, or give another file"
                    )
                raise BadCheckpoint(
                    f"the journal of this stream does not lead to what was evaluated, at its entry {number}: it was "
                    "written by another version of covey or on another kind of processor; remove it to begin anew"
                )
            self._note(its, found, time)
            reason = self._apply(self._keys[-1], found, time)
        run.silent = False
        if reason is not None:
            self._out.clear()
        self._new = [key for key in self._new if key in self._out]

    def _state(self) -> dict[str, Any]:
        return {
            "keys": np.array(self._keys, dtype=np.int64).reshape(-1, 3), "marks": np.array(self._marks, dtype=np.int64),
            "times": np.array(self._times),
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
        count = self._room(group)
        if count < 1:
            return
        ids, positions = self._optimizers[group].ask(count)
        self._send(Key(group, self._tasks[group]), Sent(ids, positions))
        self._tasks[group] += 1
        self._asked[group] += count

    def _room(self, group: int) -> int:
        """How many particles the next task of a group may have."""
        count = self._chunk
        if self._allowed is not None:
            count = min(count, self._allowed - self._asked[group])
        if self._share is not None:
            count = min(count, self._left(group) - self._kept_back[group])
        return count

    def _ended(self, group: int) -> str | None:
        """Why a group is asked no more, if that is so."""
        return self._run.stops.finished[group] or (self._ends_by if self._room(group) < 1 else None)

    def _left(self, group: int) -> int:
        """Evaluations that nobody has asked for yet."""
        assert self._share is not None
        return self._share - self._asked[group] - self._confirming[group]

    def _send(self, key: Key, sent: Sent) -> None:
        self._out[key] = sent
        self._new.append(key)

    def _post_new(self) -> None:
        for key in self._new:
            positions = self._out[key].positions
            self._evaluator.post(key, positions, np.full(len(positions), key.group))
        self._new.clear()

    def _note(self, key: Key, found: Evaluated, time: float | None = None) -> None:
        self._keys.append(key)
        self._marks.append(_mark(self._out[key]))
        self._times.append(self._run.elapsed if time is None else time)
        # A copy: what is told may become a mean later.
        self._values.append(found.values.copy())
        if found.violations is not None:
            self._violations.append(found.violations.copy())

    def _apply(self, key: Key, found: Evaluated, time: float) -> str | None:
        """A step of the journal: tell what came, ask again. Why it is over, if it is."""
        run = self._run
        sent = self._out.pop(key)
        group = key.group
        run.count(group, len(sent.positions))
        final = key.confirms or run.problem.noise is None
        if key.confirms:
            found = _mean(found)
            sent = Sent(sent.ids, sent.positions[:1])
        else:
            self._told += len(sent.positions)
        told = run.told(found.values, found.violations)
        candidate = None if final else self._candidate(group, found, told)
        if candidate is not None and not self._may_confirm(group):
            candidate = None
        if not final:
            run.note(group, sent.positions, found.values, found.violations, told)
        else:
            run.offer(group, sent.positions, found.values, found.violations, told)
        self._fresh[group].append(found)
        keep = np.arange(len(told)) != candidate
        if keep.any():
            self._optimizers[group].tell(sent.ids[keep], told[keep])
        if candidate is not None:
            # Its own id is told when the mean is known; until then the confirmation is what is in flight.
            again = np.repeat(sent.positions[candidate : candidate + 1], run.problem.noise or 1, axis=0)
            self._send(key._replace(confirms=True), Sent(sent.ids[candidate : candidate + 1], again))
        if self._told >= self._round_size:
            self._told -= self._round_size
            self._end_iteration(time)
        reason = run.over(0)
        if reason is None and candidate is None and group in run.stops.active:
            self._ask(group)
        return reason

    def _may_confirm(self, group: int) -> bool:
        """Whether the budget has room to evaluate a candidate again; the room is taken."""
        times = self._run.problem.noise or 0
        if self._share is not None and self._left(group) < times:
            return False
        self._kept_back[group] = 0
        self._confirming[group] += times
        return True

    def _candidate(self, group: int, found: Evaluated, told: Vector) -> int | None:
        """The row that would be the new best, if there is one."""
        row = leader_of(told, self._run.problem.minimize)
        if row is None:
            return None
        violation = 0.0 if found.violations is None else float(found.violations[row])
        return row if self._run.best.beaten_by(group, float(found.values[row]), violation) else None

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


def _allowance(run: Run, round_size: int) -> tuple[int | None, str]:
    """How many particles each group may have, if that is limited, and by what."""
    stops, groups = run.stops, run.problem.group_count
    limits = []
    if stops.iterations is not None:
        limits.append((stops.iterations * round_size // groups, "iterations"))
    if stops.budget is not None:
        limits.append((stops.budget // groups, "budget"))
    return min(limits) if limits else (None, "")


def _mark(sent: Sent) -> int:
    """A number that tells these positions from others."""
    return crc32(sent.positions.tobytes())


def _mean(found: Evaluated) -> Evaluated:
    # Infinite values are counted elsewhere; here they may give NaN.
    with np.errstate(invalid="ignore", over="ignore"):
        violations = None if found.violations is None else found.violations.mean(keepdims=True)
        return Evaluated(found.values.mean(keepdims=True), violations)
