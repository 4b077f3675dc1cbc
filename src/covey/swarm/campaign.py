# SPDX-License-Identifier: BSD-3-Clause
"""One call of `optimize()`, from its checked arguments to its result.

Why: here, and only here, the parts meet: problem, books, evaluator, place, loop, checkpoint.

May not know: how any of them works. Guarantees: nothing is left running, however it ends; Ctrl-C and the timeout give
the best so far.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np

from covey.client.progress import maybe_progress
from covey.distributed import Wanted
from covey.errors import BadFitness
from covey.swarm.arguments import Arguments
from covey.swarm.calls import Calls, OutOfTime
from covey.swarm.checkpoint import Checkpoint
from covey.swarm.chunks import default_chunk
from covey.swarm.draws import Draws
from covey.swarm.evaluation import Evaluation
from covey.swarm.evaluator import Evaluator
from covey.swarm.faults import Tally
from covey.swarm.fitness import Fitness
from covey.swarm.imprint import imprint_of
from covey.swarm.islands import Islands
from covey.swarm.leg import Leg
from covey.swarm.places import Place
from covey.swarm.problem import IN_FLIGHT, PLANNED, SEED, Problem
from covey.swarm.result import Result
from covey.swarm.rounds import Rounds
from covey.swarm.run import Info, Run
from covey.swarm.space import Space
from covey.swarm.stops import Stops
from covey.swarm.stream import Stream

__all__ = ["Campaign"]

# Particles of an island, unless somebody says how many islands there are: what a small swarm likes.
ISLAND = 25
LEG = 20
# In a checkpoint: a digest of what functions refer to and running may change.
HELD = "what functions hold"


@dataclass(slots=True)
class Campaign:
    """A call of `optimize()`."""

    label: str
    arguments: Arguments
    space: Space
    fitness: Fitness
    constraints: Sequence[Fitness]
    wanted: Wanted
    inline: bool | None
    forgiving: bool
    algorithm: object
    optinfo: Mapping[str, Any] | None
    group_count: int
    minimize: bool
    mode: str
    seed: int | None
    checkpoint: str | None
    callback: Callable[[Info], object] | None

    def run(self) -> Result:
        """Optimises."""
        place = Place(self.wanted, self.fitness.name, self.label)
        kept = None
        if self.checkpoint is not None:
            kept = Checkpoint(self.checkpoint, monotonic)
        found = kept.load() if kept is not None else None
        try:
            return self._run(place, kept, found)
        finally:
            # Safe again: after whatever raised, what still runs is of no use.
            place.leave(kill=True)
            self.fitness.forget()

    def _run(self, place: Place, kept: Checkpoint | None, found: Mapping[str, Any] | None) -> Result:
        began = monotonic()
        try:
            problem = self._problem(found)
            first = problem.optimizer(0)
        except (TypeError, ValueError) as error:
            # Of the seed, the algorithm and its constants, which know of no call.
            raise type(error)(f"{self.arguments.call}(…): {error}") from None
        contents = {} if kept is None else self._contents()
        if kept is not None and found is not None:
            digests = contents.keys() - {HELD}
            kept.require_same(found, problem.identity() | contents, digests=digests, loosely={HELD})
        if self.mode == "stream" and not first.asynchronous:
            raise ValueError(
                f"{self.label}: the algorithm {problem.algorithm_name!r} must be told whole rounds, so it cannot be "
                "used with mode='stream'"
            )
        round_size = first.batch * self.group_count
        arguments = self.arguments
        arguments.require_room(self.group_count if self.mode == "stream" else round_size, self.group_count)
        if not problem.in_flight:
            # Last of all checks: asking for slots starts them.
            problem = replace(problem, in_flight=max(self._in_flight(place), self.group_count))
        if kept is not None:
            kept.identity = problem.identity() | contents
        stops = Stops(
            self.group_count, iterations=arguments.most_iterations, budget=arguments.budget, target=arguments.target,
            ftol=arguments.ftol, xtol=arguments.xtol, widths=problem.widths,
        )
        advice = ", and a function of one particle wants vectorized=False" if self.fitness.vectorized else ""
        tally = Tally(self.label, round_size, advice=advice)
        total = arguments.budget or (stops.iterations and stops.iterations * round_size) or None
        progress = maybe_progress(self.wanted.progress, total, self.label, "evaluation")
        run = Run(
            problem, stops, tally, callback=self.callback, progress=progress, checkpoint=kept, clock=monotonic
        )
        exact = arguments.chunk is not None
        evaluation = Evaluation(self.fitness, self.constraints, self.forgiving, problem.chunk, exact=exact)
        calls = Calls(
            place, self.fitness, self.label, inline=place.here or self.inline is True, clock=monotonic,
            deadline=None if arguments.timeout is None else began + arguments.timeout,
        )
        evaluator = Evaluator(
            evaluation, calls, tally, chunk=problem.chunk, fixed=exact,
            # Who asks for no barrier has slow evaluations, and who asks for islands has many.
            free=self.inline is None and self.mode == "rounds",
        )
        loop = self._loop(run, evaluator, calls, evaluation, round_size)
        try:
            if kept is not None and found is not None:
                if not contents[HELD] or found["identity"].get(HELD) != contents[HELD]:
                    self._require_same_value(kept, found["run"], evaluator, calls)
                run.restore(found["run"], replayed=self.mode == "stream")
                loop.restore(found["loop"])
            reason = self._go(loop, run, evaluator, place)
        finally:
            left_behind = calls.drop()
            if progress is not None:
                progress.close()
        # A stream leaves tasks behind that nobody waits for any more, and islands may.
        place.leave(kill=reason in ("timeout", "interrupted") or self.mode == "stream" or left_behind)
        return self._result(run, len(calls.who), reason)

    def _contents(self) -> dict[str, str]:
        """Digests of all that decides values, by name; of what running may change in `HELD`, "" if there is none."""
        imprints = {
            "the function": imprint_of(self.fitness.func),
            "constraints": imprint_of(tuple(limit.func for limit in self.constraints)),
            "shared_data": imprint_of(self.fitness.shared_data, data=True),
            "local_data": imprint_of(self.fitness.local_data, data=True),
        }
        loose = [imprint.loose for imprint in imprints.values()]
        held = " ".join(loose) if all(loose) else ""
        return {name: imprint.firm for name, imprint in imprints.items()} | {HELD: held}

    def _require_same_value(
        self, kept: Checkpoint, books: Mapping[str, Any], evaluator: Evaluator, calls: Calls
    ) -> None:
        """BadCheckpoint if the best positions do not have their values any more.

        Objects that the function refers to differ, or cannot be compared: counters may, data must not.
        """
        values = np.asarray(books["best"]["values"])
        groups = np.flatnonzero(np.isfinite(values))
        if not len(groups):
            return
        deadline, calls.deadline = calls.deadline, None
        anew = evaluator.evaluate(np.asarray(books["best"]["positions"])[groups], groups).values
        calls.deadline = deadline
        # Other neighbours in a call may give other last bits, of the largest numbers on the way.
        largest = float(np.nanmax(np.abs([*np.ravel(books["history"]["best"]), *values])))
        close = np.isclose(anew, values[groups], rtol=1e-6, atol=1e-12 * largest)
        if not close.all():
            at = int(np.flatnonzero(~close)[0])
            raise kept.other_problem(
                f"its best has the value {values[groups][at]:.10g} there and {anew[at]:.10g} in this call, with what "
                "the function refers to now"
            )

    def _in_flight(self, place: Place) -> int:
        """As many tasks as there are slots, and a quarter more, so that none waits for the next."""
        if self.mode != "stream" or self.inline is True or place.here:
            return 1
        slots = place.slots
        return slots + -(-slots // 4)

    def _problem(self, found: Mapping[str, Any] | None) -> Problem:
        arguments = self.arguments
        size = arguments.group_size
        seed, in_flight, planned = self.seed, arguments.in_flight, None
        if arguments.budget is not None:
            planned = max(1, arguments.budget // self.group_count)
        elif arguments.most_iterations is not None and size is not None:
            planned = arguments.most_iterations * size
        if found is not None:
            # What the call leaves open is as it was. So is the plan: a longer call must not make it another search.
            identity = found["identity"]
            seed = int(identity[SEED]) if seed is None else seed
            planned = None if identity[PLANNED] == "None" else int(identity[PLANNED])
            if in_flight is None and IN_FLIGHT in identity:
                in_flight = int(identity[IN_FLIGHT])
        if in_flight is not None:
            in_flight = max(in_flight, self.group_count)
        if not isinstance(self.algorithm, str) and (self.group_count > 1 or self.mode == "islands"):
            raise ValueError(
                "an object as algorithm= can serve one group in mode 'rounds'; name one of covey's own "
                "for several groups or islands"
            )
        if not isinstance(self.algorithm, str) and self.checkpoint is not None:
            raise TypeError(
                f"checkpoint= cannot hold the state of {type(self.algorithm).__name__}, which is its own; name one of "
                "covey's own algorithms"
            )
        chunk = arguments.chunk
        if chunk is None:
            most = (size or 100) * self.group_count
            chunk = {"rounds": default_chunk(most), "stream": 1, "islands": most}[self.mode]
        return Problem(
            space=self.space, algorithm=self.algorithm, optinfo=self.optinfo, group_size=size,
            group_count=self.group_count, seed=Draws(seed).seed, minimize=self.minimize, mode=self.mode,
            planned=planned, chunk=chunk, noise=arguments.noise, in_flight=in_flight or 0,
            islands=arguments.islands or max(1, (size or 100) // ISLAND), leg=arguments.leg or LEG,
        )

    def _loop(
        self, run: Run, evaluator: Evaluator, calls: Calls, evaluation: Evaluation, round_size: int
    ) -> Rounds | Stream | Islands:
        problem = run.problem
        if self.mode == "islands":
            leg = Leg(evaluation, self.space, self.minimize, problem.chunk, monotonic)
            return Islands(run, calls, leg)
        optimizers = [problem.optimizer(group) for group in range(self.group_count)]
        if self.mode == "stream":
            return Stream(run, evaluator, optimizers, round_size)
        return Rounds(run, evaluator, optimizers)

    def _go(self, loop: Rounds | Stream | Islands, run: Run, evaluator: Evaluator, place: Place) -> str:
        try:
            return loop.go()
        except OutOfTime:
            loop.absorb()
            if not run.total:
                what = "generation of an island" if self.mode == "islands" else "evaluation"
                raise TimeoutError(
                    f"{self.label}: not one {what} was done within timeout={self.arguments.timeout}"
                ) from None
            return "timeout"
        except KeyboardInterrupt:
            place.stop_all()
            loop.absorb()
            run.take_candidates()
            if not np.isfinite(run.best.values).any():
                raise
            return "interrupted"

    def _result(self, run: Run, workers: int, reason: str) -> Result:
        faults = run.tally.faults()
        if not np.isfinite(run.best.values).any():
            if run.problem.noise and faults.total < run.total:
                kind = TimeoutError if reason == "timeout" else BadFitness
                limit = f"timeout={self.arguments.timeout}" if reason == "timeout" else f"the end of its {reason}"
                raise kind(
                    f"{self.label}: no candidate for the best was evaluated noise={run.problem.noise} times more "
                    f"before {limit}: set that farther, or give less noise"
                )
            raise run.tally.nothing(run.total)
        if faults.raised:
            said = "" if run.tally.first is None else run.tally.first.said
            warnings.warn(
                f"{self.label}: {faults.raised} of {run.total} evaluations raised and counted as the worst; the first: "
                f"{said} (result.faults has its traceback)",
                RuntimeWarning,
                stacklevel=6,
            )
        company = run.tally.company
        if company.is_bad and company.lost is not None:
            warnings.warn(
                f"{self.label}: each call with several particles raised ({company.lost.said}), and each particle had "
                "to be called for itself: a function of one particle wants vectorized=False",
                RuntimeWarning,
                stacklevel=6,
            )
        problem = run.problem
        return Result(
            columns=run.found(), fitness=run.best.values.copy(), history=run.history, evaluations=run.total,
            seconds=run.elapsed, stopped_because=reason, workers_used=workers, faults=faults,
            seed=problem.seed, feasible=run.best.violations <= 0.0, confirmed=run.confirmed.copy(),
            algorithm=problem.algorithm_name, mode=self.mode, minimize=self.minimize,
        )
