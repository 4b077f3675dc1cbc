# SPDX-License-Identifier: BSD-3-Clause
"""The model's side of orders: what it knows, how it obeys, and what it is never to be told.

Why apart from the facts: those are drawn by hypothesis in any order, and these follow from them.
"""
from collections import Counter

from covey.broker.board import Board
from covey.broker.records import Leaving, OrderRecord
from wishes import LIMITS, LOST, MAYBE_RAN, ONCE, Hand, Wish


class Ordered:
    """What is known of all tasks and doers, and what each order says to them."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board(LIMITS)
        self.now = 100.0
        self.askers: set[int] = set()
        self.away: set[int] = set()
        self.held: set[int] = set()
        self.hands: dict[int, Hand] = {}
        self.wishes: dict[tuple[int, int], Wish] = {}
        self.tokens: dict[int, Wish] = {}       # every token ever given out, for as long as its task is not ended
        self.shares: dict[int, int] = {}        # of a GPU, by token
        self.lonely: set[int] = set()           # tokens whose slot was to have nothing beside it on its machine
        self.strays: list[int] = []             # tokens whose outcome may still come from somewhere
        self.cargo = 0
        self.pending: Counter[tuple[int, int]] = Counter()      # wanted back, and not answered
        self.board.decide(self.now)

    def carry_out(self, *, decided: bool = False) -> None:
        for order in self.board.orders():
            getattr(self, "on_" + order.kind.name.lower())(order)
        if decided:
            given = {
                self.tokens[t].cargo for h in self.hands.values() for t in h.held
                if t in self.tokens and self.current(t)}
            free = [
                w for w in self.wishes.values()
                if (w.asker not in self.held or w.crashes >= 2) and w.rests_until <= self.now and not w.ooms]
            waiting = [w for w in free if w.cargo not in given]
            kept = self.kept(given)
            for hand in self.hands.values():
                if kept and not hand.relays:
                    continue
                if hand.capacity and not hand.held and not hand.barred and not self.used(hand.device):
                    assert not [w for w in waiting if w.needs >> hand.kind & 1], "work waits beside an idle doer"

    def used(self, device: int) -> int:
        return sum(self.shares[t] for h in self.hands.values() if h.device == device >= 0 for t in h.held)

    def current(self, token: int) -> bool:
        """Whether the scheduler still counts on that attempt: it is the newest one of its task."""
        return max(t >> 56 for t, w in self.tokens.items() if w is self.tokens[token]) == token >> 56

    def on_assign(self, order: OrderRecord) -> None:
        hand = self.hands[order.doer]
        wish = self.wishes[order.asker, order.ticket]
        assert wish.asker not in self.away
        assert wish.asker not in self.held or (wish.crashes >= 2 and not wish.ooms)
        living = [t for t in hand.held if t in self.tokens]
        assert not hand.barred
        assert hand.capacity > 0
        assert order.needs == wish.needs
        assert wish.needs >> hand.kind & 1
        assert not wish.spent
        retries = 0 if hand.relays and wish.rest else wish.retries
        assert (order.cargo, order.retries, order.crashes) == (wish.cargo, retries, wish.crashes)
        assert order.flags & ONCE == (ONCE if wish.once else 0)
        wish.rests_until = 0.0
        assert order.token not in self.tokens
        assert len(living) < hand.window
        assert hand.relays or not any(self.tokens[t].alone and self.current(t) for t in living)
        assert hand.relays or not (wish.alone and living)
        assert hand.relays or not self.starving(besides=wish)
        assert not wish.ooms or not (hand.relays or self.at_home())
        if wish.ooms:
            self.lonely.add(order.token)
        assert hand.relays or not any(self.tokens[t].once and self.current(t) for t in living)
        assert order.share == wish.share
        self.shares[order.token] = wish.share or 10_000
        hand.held.append(order.token)
        assert self.used(hand.device) <= 10_000
        self.tokens[order.token] = wish

    def kept(self, given: set[int]) -> bool:
        """Whether slots of ours get nothing: one has a task that is to be alone, wanted or not, or is to have one."""
        home = [hand for hand in self.hands.values() if not hand.relays]
        if any(token in self.lonely for hand in home for token in hand.held):
            return True
        kinds = {hand.kind for hand in home if hand.capacity and not hand.barred}
        return any(
            w.ooms and w.cargo not in given and w.asker not in self.held and any(w.needs >> kind & 1 for kind in kinds)
            for w in self.wishes.values())

    def at_home(self) -> list[Wish]:
        """What slots of ours have and is wanted."""
        return [
            self.tokens[t] for h in self.hands.values() if not h.relays for t in h.held
            if t in self.tokens and self.current(t)]

    def starving(self, besides: Wish) -> list[Wish]:
        return [wish for wish in self.at_home() if wish.ooms and wish is not besides]

    def on_take_back(self, order: OrderRecord) -> None:
        hand = self.hands[order.doer]
        assert order.token in hand.held
        assert order.token not in hand.asked
        hand.asked.append(order.token)

    def on_revoke(self, order: OrderRecord) -> None:
        hand = self.hands[order.doer]
        assert order.token in hand.held
        # One that runs goes on, and its outcome comes some time; one that waited there vanishes. A TAKE_BACK that
        # came before is answered all the same.
        if not hand.runs(order.token):
            hand.held.remove(order.token)

    def on_kill(self, order: OrderRecord) -> None:
        hand = self.hands[order.doer]
        assert order.token in hand.held
        # A loop ends it wherever it is, and says so with an outcome.
        if hand.capacity == 1 and not hand.relays:
            hand.barred = True

    def on_blame(self, order: OrderRecord) -> None:
        wish = self.wishes[order.asker, order.ticket]
        assert order.crashes == wish.crashes
        if self.leaving is Leaving.CRASHED:
            wish.crashes += 1
            wish.alone = wish.crashes >= 2
        elif self.leaving is Leaving.OOM:
            wish.ooms += 1
        else:
            wish.losses += 1

    def on_end(self, order: OrderRecord) -> None:
        key = (order.asker, order.ticket)
        if order.asker >= 0:
            wish = self.wishes[key]
        else:
            wish = self.leavers.pop(order.cargo, None) or self.of_away(order.cargo)
        assert order.cargo == wish.cargo
        wish.check_end(order.status, away=wish.asker in self.away)
        if order.status == MAYBE_RAN:
            assert wish not in self.unbegun
            assert order.raised == wish.raised
        self.forget(wish)

    def on_give_back(self, order: OrderRecord) -> None:
        key = order.asker, order.ticket
        self.pending[key] -= 1
        assert self.pending[key] >= 0, "answered twice"
        if order.status:
            wish = self.wishes[key]
            assert order.cargo == wish.cargo
            assert not any(
                t in hand.begun for hand in self.hands.values() for t in hand.held if self.tokens.get(t) is wish)
            self.forget(wish)
        else:
            assert order.cargo == 0

    def on_dismiss(self, order: OrderRecord) -> None:
        hand = self.hands[order.doer]
        hand.barred = True
        if order.status == LOST:
            hand.lost = True
            for token in hand.held:
                if token in self.tokens and self.current(token):
                    self.tokens[token].spent = self.tokens[token].once
            self.strays += hand.held
            hand.held.clear()
            hand.asked.clear()
        # One that became smaller may still run what nobody wants.
        assert not [t for t in hand.held if t in self.tokens]

    leaving = Leaving.LOST      # what BLAME means when no doer left: a lease ran out
    leavers: dict[int, Wish] = {}
    unbegun: list[Wish] = []    # certainly not begun at the doer that leaves

    def of_away(self, cargo: int) -> Wish:
        (wish,) = (w for w in self.wishes.values() if w.cargo == cargo and w.asker in self.away)
        return wish

    def forget(self, wish: Wish) -> None:
        self.wishes.pop((wish.asker, wish.ticket), None)
        self.tokens = {t: w for t, w in self.tokens.items() if w is not wish}

    def let_go(self, hand: Hand, token: int) -> None:
        hand.held.remove(token)
        hand.begun.discard(token)
        if token in hand.asked:
            hand.asked.remove(token)
