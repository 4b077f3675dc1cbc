# SPDX-License-Identifier: BSD-3-Clause
"""Everything at once: facts in any order against a simple model, with every invariant derived again after each.

The model knows no rule of who gets what. It knows what is promised: a task ends exactly once and gives its cargo back
exactly once; the first outcome of any attempt counts; a doer is given only what it may have; deaths are counted
where they belong; nobody waits while a doer that would do has nothing to do; who wants a task back is answered once.
"""
from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from covey.broker.records import Leaving, OrderKind, Refusal, Ruling
from ordered import Ordered
from wishes import ERROR, LIMITS, ONCE, SPLITTABLE, VALUE, Hand, Wish


class Anything(Ordered, RuleBasedStateMachine):
    """See the file's first lines."""

    @initialize(askers=st.integers(1, 3), windows=st.lists(st.integers(1, 6), min_size=1, max_size=4))
    def flock(self, askers: int, windows: list[int]) -> None:
        for _ in range(askers):
            self.asker_joins(1.0)
        for depth in windows:
            self.doer_joins(0, 1, depth, False, -1)

    @rule(weight=st.sampled_from([0.5, 1.0, 4.0]))
    def asker_joins(self, weight: float) -> None:
        asker = self.board.asker_joined(self.now, weight)
        assert asker not in self.askers
        assert not [key for key in self.wishes if key[0] == asker]
        self.away.discard(asker)
        self.held.discard(asker)
        self.askers.add(asker)

    @rule(
        kind=st.sampled_from([0, 0, 1, 1, 2, 3]), capacity=st.sampled_from([1, 1, 1, 3]), depth=st.integers(0, 6),
        relays=st.sampled_from([False, False, True]), device=st.sampled_from([-1, 0, 0, 3]))
    def doer_joins(self, kind: int, capacity: int, depth: int, relays: bool, device: int) -> None:
        if kind != 1 or relays:
            device = -1
        if device >= 0:
            capacity, depth = 1, 0
        doer = self.board.doer_joined(self.now, kind, capacity, capacity + depth, relays=relays, device=device)
        assert doer not in self.hands
        self.hands[doer] = Hand(kind, capacity, capacity + depth, relays, device)

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), capacity=st.integers(0, 4), depth=st.integers(0, 6))
    def doer_is_resized(self, data: st.DataObject, capacity: int, depth: int) -> None:
        doer = data.draw(st.sampled_from(sorted(self.hands)))
        if self.hands[doer].device >= 0:
            assert self.board.doer_resized(doer, capacity, 9, self.now) == Refusal.NO_SUCH
            return
        self.hands[doer].capacity = capacity
        self.hands[doer].window = capacity + depth
        assert self.board.doer_resized(doer, capacity, capacity + depth, self.now) == 0
        self.carry_out()

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), room=st.sampled_from([0, 9, 30, 1 << 60]))
    def doer_has_room_for_bytes(self, data: st.DataObject, room: int) -> None:
        assert self.board.byte_room(data.draw(st.sampled_from(sorted(self.hands))), room) == 0
        self.carry_out()

    @precondition(lambda self: self.askers)
    @rule(
        data=st.data(), count=st.integers(1, 12), function=st.integers(0, 2),
        needs=st.sampled_from([5, 5, 5, *range(1, 9)]),
        priority=st.sampled_from([-3, 0, 0, 5]), retries=st.integers(0, 2), crashes=st.sampled_from([0, 0, 0, 1, 2]),
        flags=st.sampled_from([0, 0, SPLITTABLE, ONCE, ONCE]), rest_ms=st.sampled_from([0, 0, 30, 400]),
        timeout_ms=st.sampled_from([0, 0, 50]), first=st.integers(0, 60),
        at_once=st.booleans(), share=st.sampled_from([0, 0, 1, 2500, 5001, 10_000]),
    )
    def tasks_come(
        self, data: st.DataObject, count: int, function: int, needs: int, priority: int, retries: int,
        crashes: int, flags: int, timeout_ms: int, first: int, at_once: bool,
        share: int, rest_ms: int,
    ) -> None:
        asker = data.draw(st.sampled_from(sorted(self.askers)))
        for ticket in range(first, first + count):
            mine = [w for w in self.wishes.values() if w.asker == asker]
            got = self.board.task(
                asker, ticket, self.now, function=function, needs=needs, priority=priority, flags=flags,
                retries=retries, crashes=crashes, timeout_ms=timeout_ms, retry_wait_ms=rest_ms,
                cargo=self.cargo + 1, length=9, share=share)
            if (asker, ticket) in self.wishes:
                assert got == Refusal.DUPLICATE
            elif mine and (len(mine) >= LIMITS.credit_tasks or 9 * len(mine) + 9 > LIMITS.credit_bytes):
                assert got == Refusal.OVER_CREDIT
            else:
                assert got >= 0
                self.cargo += 1
                self.wishes[asker, ticket] = Wish(
                    asker, ticket, self.cargo, needs, retries, crashes, flags == SPLITTABLE and crashes == 0, share,
                    alone=crashes >= 2, once=flags == ONCE, rest=rest_ms / 1000)
        if at_once:
            self.decide()

    @rule(step=st.sampled_from([0.0, 0.0, 0.0001, 0.0015, 0.02, 0.4]))
    def time_passes(self, step: float) -> None:
        self.now += step
        if self.now >= self.board.next_time(self.now) or step == 0.0:
            self.decide()

    @rule()
    def decide(self) -> None:
        self.board.decide(self.now)
        self.carry_out(decided=True)
        assert self.board.next_time(self.now) >= self.now - 1e-9, "asks to be called for nothing"

    @precondition(lambda self: any(hand.held for hand in self.hands.values()))
    @rule(data=st.data(), rounds=st.integers(1, 10), run_us=st.sampled_from([1, 300, 20000]))
    def work_goes_on(self, data: st.DataObject, rounds: int, run_us: int) -> None:
        for _ in range(rounds):
            self.now += run_us * 1e-6
            self.doer_finishes(data, VALUE, True, run_us, 1)
            self.decide()

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), silence=st.sampled_from([0.9, 30.0]))
    def somebody_is_silent(self, data: st.DataObject, silence: float) -> None:
        """Short steps are a doer's silence, a long one is a pause of ours."""
        silent = data.draw(st.sampled_from(sorted(self.hands)))
        before = self.hands[silent].lost
        for _ in range(8):
            self.now += silence
            for doer in self.hands:
                if doer != silent:
                    self.board.heard(doer, self.now)
            self.decide()
            assert silence < LIMITS.pause or self.hands[silent].lost == before

    def speaking(self, data: st.DataObject) -> tuple[int, Hand] | None:
        able = sorted(d for d, h in self.hands.items() if h.held)
        if not able:
            return None
        doer = data.draw(st.sampled_from(able))
        return doer, self.hands[doer]

    @rule(
        data=st.data(), status=st.sampled_from([VALUE, VALUE, ERROR]), in_order=st.booleans(),
        run_us=st.sampled_from([0, 10, 5000, 200000]), count=st.integers(1, 5),
        final=st.sampled_from([False, False, True]))
    def doer_finishes(
        self, data: st.DataObject, status: int, in_order: bool, run_us: int, count: int, final: bool = False,
    ) -> None:
        for _ in range(count):
            found = self.speaking(data)
            if found is None:
                return
            doer, hand = found
            token = hand.able()[0] if in_order else data.draw(st.sampled_from(hand.able()))
            self.let_go(hand, token)
            self.outcome(doer, token, status, run_us, final)

    def outcome(self, doer: int, token: int, status: int, run_us: int, final: bool = False) -> None:
        wish = self.tokens.get(token)
        newest = wish is not None and self.current(token)
        verdict = self.board.outcome(doer, token, self.now, status=status, final=final, run_us=run_us)
        below = doer in self.hands and self.hands[doer].relays
        if wish is None:
            assert verdict.ruling is Ruling.STALE
        elif status == ERROR and wish.retries and not final and (wish.rest or not below):
            assert verdict.ruling is Ruling.AGAIN
            wish.retries -= 1
            wish.raised += 1
            if newest:
                most = min(wish.rest * 2 ** (wish.raised - 1), max(wish.rest, LIMITS.retry_wait_limit))
                wish.rests_until = self.now + most
        else:
            assert verdict.ruling is Ruling.ACCEPTED
            assert (verdict.asker, verdict.ticket, verdict.cargo) == (wish.asker, wish.ticket, wish.cargo)
            self.forget(wish)
        self.carry_out()
        if newest and wish is not None and token in self.tokens:
            self.strays.append(token)       # the same attempt may be reported twice

    @precondition(lambda self: self.strays)
    @rule(data=st.data(), status=st.sampled_from([VALUE, ERROR]))
    def outcome_comes_late(self, data: st.DataObject, status: int) -> None:
        token = data.draw(st.sampled_from(self.strays))
        self.strays.remove(token)
        self.outcome(data.draw(st.sampled_from([-1, *self.hands])), token, status, 7)

    @rule(token=st.integers(0, 2**64 - 1), doer=st.integers(-2, 9))
    def nonsense(self, token: int, doer: int) -> None:
        if token not in self.tokens and token & 0xFFFFFFFF > 4000:
            assert self.board.outcome(doer, token, self.now).ruling is Ruling.STALE
            assert self.board.started(doer, token, self.now) == 0
            assert self.board.given_back(doer, token, True, self.now) == 0
            assert self.board.find(token) is None

    @rule(data=st.data())
    def doer_starts(self, data: st.DataObject) -> None:
        found = self.speaking(data)
        if found is not None:
            doer, hand = found
            token = data.draw(st.sampled_from(hand.able()))
            hand.begun.add(token)
            self.board.started(doer, token, self.now)
            self.carry_out()

    @rule(data=st.data(), count=st.integers(1, 4))
    def doer_answers(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            asked = sorted(d for d, h in self.hands.items() if h.asked)
            if asked:
                self.answer(data.draw(st.sampled_from(asked)))

    def answer(self, doer: int) -> None:
        hand = self.hands[doer]
        token = hand.asked.pop(0)
        gives = token not in hand.held or not hand.runs(token)
        if token in hand.held and gives:
            hand.held.remove(token)
        elif not gives:
            hand.begun.add(token)
        known = self.board.given_back(doer, token, gives, self.now)
        assert known or token not in self.tokens
        self.carry_out()

    @precondition(lambda self: self.wishes)
    @rule(data=st.data(), force=st.booleans())
    def asker_cancels(self, data: st.DataObject, force: bool) -> None:
        asker, ticket = data.draw(st.sampled_from(sorted(self.wishes)))
        assert self.board.cancel(asker, ticket, self.now, force=force) == 1
        self.carry_out()
        assert (asker, ticket) not in self.wishes
        assert self.board.cancel(asker, ticket, self.now, force=force) == 0

    @precondition(lambda self: self.askers)
    @rule(data=st.data(), ticket=st.integers(0, 60), twice=st.sampled_from([False, False, True]))
    def asker_wants_back(self, data: st.DataObject, ticket: int, twice: bool) -> None:
        asker = data.draw(st.sampled_from(sorted(self.askers)))
        mine = sorted(key[1] for key in self.wishes if key[0] == asker)
        if mine:
            ticket = data.draw(st.sampled_from([*mine, ticket]))
        for _ in range(1 + twice):
            self.pending[asker, ticket] += 1
            assert self.board.retract(asker, ticket, self.now) == ((asker, ticket) in self.wishes)
            self.carry_out()

    @precondition(lambda self: len(self.hands) > 1)
    @rule(data=st.data(), why=st.sampled_from(list(Leaving)), heard_from=st.booleans(), marked=st.booleans())
    def doer_leaves(self, data: st.DataObject, why: Leaving, heard_from: bool, marked: bool) -> None:
        self.leave(data.draw(st.sampled_from(sorted(self.hands))), why, reports=heard_from, marked=marked)

    def leave(self, doer: int, why: Leaving, *, reports: bool, marked: bool = False) -> None:
        hand = self.hands.pop(doer)
        if marked and hand.held and not hand.relays and why in (Leaving.CRASHED, Leaving.KILLED, Leaving.OOM):
            self.read_mark(doer, hand)
        if reports:
            self.strays += hand.held
        self.leaving = Leaving.LOST if hand.relays and why in (Leaving.CRASHED, Leaving.OOM, Leaving.IDLE) else why
        # What is known to have begun: by what the doer said, or because nobody can tell.
        doubtful = hand.relays or why is Leaving.LOST
        begun = [
            wish for token in hand.held if (wish := self.tokens.get(token)) is not None and wish.once
            and self.current(token) and (doubtful or token in hand.begun)]
        assert self.board.doer_left(doer, why, self.now) == 0
        for order in self.board.orders():
            if order.kind is OrderKind.BLAME:
                assert order.doer == doer
                assert order.token in hand.held
                known = (Leaving.CRASHED, Leaving.LOST, Leaving.OOM, Leaving.IDLE)
                assert why in known or self.wishes[order.asker, order.ticket].once
                assert order.why == self.leaving
            getattr(self, "on_" + order.kind.name.lower())(order)
        self.leaving = Leaving.LOST
        self.unbegun = []
        for wish in begun:
            assert (wish.asker, wish.ticket) not in self.wishes, "it may run twice"
        assert self.board.doer_left(doer, why, self.now) == Refusal.NO_SUCH

    def read_mark(self, doer: int, hand: Hand) -> None:
        """The slot is dead, and what it says that it ran is believed."""
        token = hand.able()[0]
        if not self.board.died_under(doer, token, self.now):
            assert token not in self.tokens, "only what is over may be forgotten, by one that has become smaller"
            return
        hand.begun.add(token)
        if hand.capacity == 1 and hand.begun == {token}:
            later = hand.held[hand.held.index(token) + 1 :]
            self.unbegun = [self.tokens[t] for t in later if t in self.tokens and self.current(t)]

    @precondition(lambda self: any(hand.held for hand in self.hands.values()))
    @rule(
        data=st.data(), why=st.sampled_from([Leaving.CRASHED, Leaving.CRASHED, Leaving.LOST, Leaving.OOM]),
        deaths=st.integers(1, 4))
    def slots_die_and_are_replaced(self, data: st.DataObject, why: Leaving, deaths: int) -> None:
        for _ in range(deaths):
            found = self.speaking(data)
            if found is not None:
                doer, hand = found
                self.leave(doer, why, reports=False)
                self.doer_joins(hand.kind, max(hand.capacity, 1), max(hand.window - hand.capacity, 0), hand.relays,
                    hand.device)
                self.decide()

    @precondition(lambda self: len(self.hands) > 1)
    @rule(data=st.data())
    def doer_drains(self, data: st.DataObject) -> None:
        doer = data.draw(st.sampled_from(sorted(self.hands)))
        assert self.board.drain(doer, self.now) == 0
        self.hands[doer].barred = True
        self.carry_out()

    @rule(data=st.data())
    def doer_speaks(self, data: st.DataObject) -> None:
        for doer in self.hands:
            self.board.heard(doer, self.now)

    @precondition(lambda self: len(self.askers) > 1)
    @rule(data=st.data())
    def asker_leaves(self, data: st.DataObject) -> None:
        asker = data.draw(st.sampled_from(sorted(self.askers)))
        self.askers.remove(asker)
        self.leavers = {w.cargo: w for w in self.wishes.values() if w.asker == asker}
        assert self.board.asker_left(asker, self.now) == 0
        self.carry_out()
        assert not self.leavers
        assert not [key for key in self.wishes if key[0] == asker]
        self.pending = Counter({key: count for key, count in self.pending.items() if key[0] != asker})

    @precondition(lambda self: self.askers)
    @rule(data=st.data(), held=st.booleans())
    def asker_is_held(self, data: st.DataObject, held: bool) -> None:
        asker = data.draw(st.sampled_from(sorted(self.askers)))
        assert self.board.asker_held(asker, held) == 0
        (self.held.add if held else self.held.discard)(asker)

    @precondition(lambda self: len(self.askers) > 1)
    @rule(data=st.data())
    def asker_goes_away(self, data: st.DataObject) -> None:
        asker = data.draw(st.sampled_from(sorted(self.askers)))
        self.askers.remove(asker)
        self.away.add(asker)
        assert self.board.asker_away(asker, self.now) == 0
        assert self.board.asker_away(asker, self.now) == Refusal.NO_SUCH
        self.carry_out()
        held = {t for hand in self.hands.values() for t in hand.held}
        mine = [w for w in self.wishes.values() if w.asker == asker]
        assert all(any(t in held for t, w in self.tokens.items() if w is wish) for wish in mine), "it runs nowhere"
        self.pending = Counter({key: count for key, count in self.pending.items() if key[0] != asker})

    @precondition(lambda self: self.askers and any(w.asker in self.away for w in self.wishes.values()))
    @rule(data=st.data(), ticket=st.integers(0, 60))
    def task_is_adopted(self, data: st.DataObject, ticket: int) -> None:
        cargo = data.draw(st.sampled_from(sorted(w.cargo for w in self.wishes.values() if w.asker in self.away)))
        wish = self.of_away(cargo)
        token = max(t for t, w in self.tokens.items() if w is wish)
        asker = data.draw(st.sampled_from(sorted(self.askers)))
        got = self.board.adopted(token, asker, ticket)
        assert got == (-1 if (asker, ticket) in self.wishes else 0)
        if got == 0:
            del self.wishes[wish.asker, wish.ticket]
            wish.asker, wish.ticket = asker, ticket
            self.wishes[asker, ticket] = wish
            assert self.board.adopted(token, asker, ticket + 100) == -1, "it is adopted already"

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), asker=st.integers(0, 3), needs=st.integers(1, 7))
    def task_is_claimed(self, data: st.DataObject, asker: int, needs: int) -> None:
        if asker not in self.askers or (asker, 70) in self.wishes:
            return
        row = self.board.task(asker, 70, self.now, needs=needs, cargo=self.cargo + 1, length=9)
        if row < 0:
            return
        self.cargo += 1
        wish = self.wishes[asker, 70] = Wish(asker, 70, self.cargo, needs, 0, 0, False)
        doer = data.draw(st.sampled_from(sorted(self.hands)))
        hand = self.hands[doer]
        claimed = self.board.claimed(row, doer, self.now) == 0
        assert claimed <= (hand.relays and bool(needs >> hand.kind & 1))
        if claimed:
            (order,) = self.board.orders()
            assert (order.kind, order.doer, order.cargo) == (OrderKind.ASSIGN, doer, wish.cargo)
            self.shares[order.token] = 10_000
            hand.held.append(order.token)
            self.tokens[order.token] = wish
            assert self.board.claimed(row, doer, self.now) == -1, "it does not wait any more"

    @rule(function=st.integers(0, 3))
    def function_is_forgotten(self, function: int) -> None:
        self.board.function_forgotten(function)

    @invariant()
    def everything_holds(self) -> None:
        assert self.board.validate() == 0
        totals = self.board.totals()
        assert totals.waiting + totals.assigned == len(self.wishes)
        assert (totals.askers, totals.doers) == (len(self.askers), len(self.hands))
        for key, count in self.pending.items():
            assert count <= (key in self.wishes), "not answered"
        for kind in range(4):
            able = [h for h in self.hands.values() if h.kind == kind and not h.barred]
            devices = {h.device for h in able} - {-1}
            assert self.board.capacity(kind) == totals.capacity[kind]
            assert self.board.capacity(kind) == sum(h.capacity for h in able if h.device < 0) + len(devices)
        for token, wish in self.tokens.items():
            assert self.board.find(token) == (wish.asker, wish.ticket)
            if self.board.may_starve(token):
                assert not wish.once
                assert wish.asker not in self.away
                assert wish.ooms < LIMITS.oom_limit

    def teardown(self) -> None:
        # With doers that live and time to do it, everything is done; then nothing is left.
        for asker in self.held & self.askers:
            self.board.asker_held(asker, False)
        self.held.clear()
        for kind in range(4):
            doer = self.board.doer_joined(self.now, kind, 2, 20)
            self.hands[doer] = Hand(kind, 2, 20)
        for _ in range(2000):
            self.now += 0.01
            for doer in self.hands:
                self.board.heard(doer, self.now)
            self.board.decide(self.now)
            self.carry_out(decided=True)
            if not self.wishes:
                break
            for doer, hand in list(self.hands.items()):
                while hand.asked:
                    self.answer(doer)
                if hand.held:
                    self.outcome(doer, hand.held.pop(0), VALUE, 10)
        assert not self.wishes
        for doer in list(self.hands):
            self.board.doer_left(doer, Leaving.PLANNED, self.now)
        for asker in list(self.askers):
            self.board.asker_left(asker, self.now)
        assert self.board.orders() == []
        assert self.board.validate() == 0
        totals = self.board.totals()
        assert (totals.waiting, totals.assigned, totals.doers, totals.askers) == (0, 0, 0, 0)
        assert totals.accepted + totals.ended + totals.given_back == self.cargo


TestAnything = Anything.TestCase
