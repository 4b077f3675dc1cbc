# SPDX-License-Identifier: BSD-3-Clause
"""The loop whose swarms live in slots: islands that swim some generations for themselves, then exchange their bests.

    leg 1 of each island ─► leg 2, as soon as its own leg 1 has landed ─► leg 3, as soon as all legs 1 are booked …

Why: a swarm should be where its fitness is; and on its way there and back no slot should wait for another.

May not know: slots. Guarantees: bests go around a ring and are told one leg later, so the seed alone decides the
result, whichever leg lands first; a slot that dies costs one leg, and what kills every slot that it comes to costs one
island, for which another begins; no island is more than a leg ahead of the books. The first legs are short, so there is
something to give when the time is over, and what does nothing but raise shows after one generation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from covey.codec.outcome import open_error
from covey.errors import WorkerDied
from covey.swarm.calls import Calls, Given
from covey.swarm.leg import Landfall, Leg, opened, packed
from covey.swarm.run import Run
from covey.swarm.wave import Island, Migrants, Outlook, Voyage, Wave, find_generations

__all__ = ["Islands"]

# A leg may be sent though it may turn out that nobody wants it, if legs take less than this, in seconds.
BRIEF = 0.25
# What a leg that is sent ahead may take of what is left of the time for it: others will come behind it.
AHEAD = 0.25


class Islands:
    """The loop of islands."""

    def __init__(self, run: Run, calls: Calls, leg: Leg) -> None:
        self._run = run
        self._calls = calls
        self._leg = leg
        problem = run.problem
        self._count = problem.islands
        made = {
            (group, island): problem.optimizer(group, island)
            for group in range(problem.group_count)
            for island in range(self._count)
        }
        # Evaluations in a generation, of an island and of a group.
        self._sizes = {voyage: optimizer.batch for voyage, optimizer in made.items()}
        self._batches = [
            sum(self._sizes[group, island] for island in range(self._count)) for group in range(problem.group_count)
        ]
        # As the last wave that is booked left them.
        self._islands = {voyage: Island(packed(optimizer.state(space=False)), 0) for voyage, optimizer in made.items()}
        # What was found by then, for the island that is told; and what had been found one wave before.
        self._found: Migrants = [[None] * self._count for _ in range(problem.group_count)]
        self._heard = self._found
        # What the wave that comes next is planned from; None: from the books as they are.
        self._outlook: Outlook | None = None
        # The wave that is waited for, and the one that those are in who need not wait.
        self._wave: Wave | None = None
        self._following: Wave | None = None
        self._booked = run.elapsed
        self._lasted = float("inf")

    def go(self) -> str:
        """Runs until it is over; says why it is."""
        run = self._run
        self._booked = run.elapsed
        while True:
            active = run.stops.active
            wave = self._following
            if wave is None and self._outlook is not None:
                wave = self._planned(self._outlook, self._heard)
            if wave is None:
                wave = self._planned(Outlook(run.iterations, run.total, active), self._heard)
            each = sum(self._batches[group] for group in active)
            reason = run.over(each * (1 if wave is None else wave.generations))
            run.save(self._state, last=reason is not None)
            if reason is not None:
                return reason
            # Or there would be a reason.
            assert wave is not None
            wave.groups = active
            self._outlook = Outlook(run.iterations + wave.generations, run.total + each * wave.generations, active)
            self._wave, self._following = wave, self._planned(self._outlook, self._found)
            self._sail(wave, self._following)
            self._book(wave)

    def absorb(self) -> None:
        """Legs were broken off: what landed and is not booked counts for the best."""
        for (wave, voyage), landed in self._calls.take_arrived():
            wave.landed[voyage] = landed
        for wave in (self._wave, self._following):
            for (group, _), landed in () if wave is None else wave.landed.items():
                if isinstance(landed, Landfall) and group in self._run.stops.active:
                    self._run.tally.add(landed.tally)
                    for number in range(len(landed.evaluations)):
                        self._claim(group, landed, number)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint."""
        for group, island in self._islands:
            its = packed(state["states"][group][island])
            self._islands[group, island] = Island(its, state["losses"][group][island])
        self._found, self._heard = (
            [[None if migrant is None else (migrant[0], migrant[1]) for migrant in group] for group in state[name]]
            for name in ("found", "heard")
        )
        self._outlook = None if state["outlook"] is None else Outlook(*state["outlook"])

    def _state(self) -> dict[str, Any]:
        groups = [[self._islands[group, island] for island in range(self._count)] for group in range(len(self._found))]
        return {
            "states": [[opened(island.state) for island in islands] for islands in groups],
            "losses": [[island.losses for island in islands] for islands in groups],
            "found": self._found, "heard": self._heard, "outlook": self._outlook and list(self._outlook),
        }

    def _planned(self, outlook: Outlook, migrants: Migrants) -> Wave | None:
        run = self._run
        generations = find_generations(outlook, run.stops, self._batches, run.problem.leg)
        return None if generations is None else Wave(generations, outlook.groups, migrants)

    def _sail(self, wave: Wave, following: Wave | None) -> None:
        """Until all legs of a wave have landed. Who lands is sent on, unless the books may say that nobody wants that.

        What the next leg is told of the others is known by then: it is what they had found a leg before.
        """
        voyages = wave.voyages(self._count)
        if self._run.may_end_early and self._lasted > BRIEF:
            following = None
        share = 1.0 if following is None else AHEAD
        for voyage in voyages:
            if voyage not in wave.left:
                self._send(wave, voyage, self._islands[voyage], share)
            elif voyage in wave.landed and following is not None:
                self._send(following, voyage, wave.reached[voyage], share)
        awaited = set(voyages)
        while not wave.landed.keys() >= awaited:
            (its, voyage), given = self._calls.take()
            self._land(its, voyage, given)
            # Not those of a group that was found to be finished meanwhile.
            if its is wave and voyage in awaited and following is not None:
                self._send(following, voyage, wave.reached[voyage], share)

    def _send(self, wave: Wave, voyage: Voyage, island: Island, share: float) -> None:
        group, number = voyage
        seconds = self._calls.seconds_for(self._count * len(wave.groups))
        if seconds is not None:
            seconds *= share
        wave.left[voyage] = island
        migrant = wave.migrants[group][number]
        self._calls.post((wave, voyage), self._leg, island.state, migrant, wave.generations, group, seconds)

    def _land(self, wave: Wave, voyage: Voyage, given: Given) -> None:
        """A leg is over: the island is where it came to, or begins anew where it went down with its slots."""
        before = wave.left[voyage]
        try:
            landed: Landfall = given()
        except WorkerDied as error:
            if not self._leg.evaluation.forgiving:
                raise
            # The same again would end in the same way.
            losses = before.losses + 1
            anew = self._run.problem.optimizer(*voyage, losses).state(space=False)
            wave.landed[voyage], wave.reached[voyage] = error, Island(packed(anew), losses)
            return
        wave.landed[voyage], wave.reached[voyage] = landed, Island(landed.state, before.losses)
        if landed.who is not None and not self._calls.inline:
            self._calls.who.add(landed.who)

    def _book(self, wave: Wave) -> None:
        """All legs of a wave are there: what happened in each of its generations, and what is told of it later."""
        run = self._run
        # Whoever presses Ctrl-C from here on must not find it counted twice.
        self._wave = None
        voyages = wave.voyages(self._count)
        found = [list(migrants) for migrants in self._found]
        arrivals: list[tuple[int, Landfall]] = []
        sunk = 0
        for group, island in voyages:
            landed = wave.landed[group, island]
            self._islands[group, island] = wave.reached[group, island]
            if isinstance(landed, WorkerDied):
                # Nobody knows how far the leg came: all of it counts.
                lost = wave.generations * self._sizes[group, island]
                run.count(group, lost)
                run.tally.on_lost(lost, landed)
                sunk += lost
                continue
            arrivals.append((group, landed))
            run.tally.add(landed.tally)
            if len(landed.values) and self._count > 1:
                # The last is the best of the leg.
                ranks = run.told(np.array(landed.values[-1:]), np.array(landed.violations[-1:]))
                found[group][(island + 1) % self._count] = landed.positions[-1:], ranks
        self._heard, self._found = self._found, found
        self._require_good([wave.landed[voyage] for voyage in voyages], sunk)
        made = max((len(its.evaluations) for _, its in arrivals), default=wave.generations)
        now = run.elapsed
        each = (now - self._booked) / made
        for number in range(made):
            mean, spread = [float("nan")] * len(self._batches), [float("nan")] * len(self._batches)
            for group in wave.groups:
                its = [landed for where, landed in arrivals if where == group]
                for landed in its:
                    self._claim(group, landed, number)
                mean[group] = _middle([landed.mean[number] for landed in its if number < len(landed.mean)])
                spread[group] = _middle([landed.spread[number] for landed in its if number < len(landed.spread)])
            # Nobody looked at the clock between generations: their times are spread evenly.
            run.end_iteration(mean, spread, time=self._booked + each * (number + 1), told=number == made - 1)
        self._booked, self._lasted = now, now - self._booked

    def _claim(self, group: int, landed: Landfall, number: int) -> None:
        """What a generation of a leg found goes into the books."""
        run = self._run
        if number < len(landed.evaluations):
            run.count(group, landed.evaluations[number])
        if number in landed.found_in:
            row = landed.found_in.index(number)
            run.best.claim(group, landed.positions[row], landed.values[row], landed.violations[row])

    def _require_good(self, landed: list[Landfall | WorkerDied], sunk: int) -> None:
        """Raises what the fitness raised, or what its slots died of, if that is all there was on every island."""
        tally = self._run.tally
        if tally.any_good:
            return
        arrived = [found for found in landed if isinstance(found, Landfall)]
        errors = [open_error(found.error) for found in arrived if found.error is not None]
        fatal = [found for found in landed if isinstance(found, WorkerDied)]
        total = sunk + sum(sum(found.evaluations) for found in arrived)
        if tally.raised == total:
            tally.give_up(total, (errors or fatal)[-1])
        raise tally.nothing(total)


def _middle(values: list[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")
