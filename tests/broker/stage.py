# SPDX-License-Identifier: BSD-3-Clause
"""A board that is validated after every fact, and a clock that tests turn by hand."""
from covey.broker.board import Board
from covey.broker.records import Leaving, OrderKind, OrderRecord, Ruling, VerdictRecord
from covey.settings import Settings

VALUE, ERROR, CANCELLED, POISONED, TIMED_OUT, LOST, BROKEN = range(1, 8)
MAYBE_RAN, OUT_OF_MEMORY = 9, 10
SPLITTABLE, ONCE = 1, 2


class Stage:
    """One asker from the start; doers as they are wanted. Every call leaves its orders in `orders`."""

    def __init__(self, **settings: object) -> None:
        self.board = Board(Settings(**settings))    # type: ignore[arg-type]
        self.now = 0.0
        self.asker = self.board.asker_joined(self.now)
        self.ticket = 0
        self.orders: list[OrderRecord] = []

    def check(self) -> None:
        self.orders = self.board.orders()
        assert self.board.validate() == 0

    def doer(self, *, capacity: int = 1, window: int = 1024, kind: int = 0, relays: bool = False) -> int:
        return self.board.doer_joined(self.now, kind, capacity, window, relays=relays)

    def tasks(self, count: int = 1, *, asker: int | None = None, **how: int) -> list[int]:
        tickets = list(range(self.ticket, self.ticket + count))
        self.ticket += count
        for ticket in tickets:
            taken = self.board.task(
                self.asker if asker is None else asker, ticket, self.now, cargo=ticket + 100, **how)
            assert taken >= 0
        self.check()
        return tickets

    def decide(self, *, after: float = 0.0) -> list[OrderRecord]:
        """The orders that follow when so much time has gone by."""
        self.now += after
        self.board.decide(self.now)
        self.check()
        return self.orders

    def assigned(self, *, after: float = 0.0) -> list[tuple[int, int]]:
        """(ticket, doer) of what is given out now."""
        return [(o.ticket, o.doer) for o in self.decide(after=after) if o.kind is OrderKind.ASSIGN]

    def outcome(
        self, order: OrderRecord, *, status: int = VALUE, final: bool = False, run: float = 0.0, doer: int | None = None
    ) -> VerdictRecord:
        verdict = self.board.outcome(
            order.doer if doer is None else doer, order.token, self.now, status=status, final=final,
            run_us=round(run * 1e6))
        self.check()
        return verdict

    def measure(self, seconds: float, *, function: int = 0) -> None:
        """Runs of the function that took so long, on a doer that leaves again."""
        doer = self.doer()
        for _ in range(10):
            self.tasks(function=function)
            (order,) = self.decide()
            assert self.outcome(order, run=seconds).ruling is Ruling.ACCEPTED
        self.leave(doer, Leaving.PLANNED)

    def leave(self, doer: int, why: Leaving) -> list[OrderRecord]:
        self.board.doer_left(doer, why, self.now)
        self.check()
        return self.orders

    def cancel(self, ticket: int, *, force: bool = False) -> list[OrderRecord]:
        self.board.cancel(self.asker, ticket, self.now, force=force)
        self.check()
        return self.orders

    def give_back(self, order: OrderRecord, *, gives: bool = True) -> None:
        assert self.board.given_back(order.doer, order.token, gives, self.now) == 1
        self.check()


def kinds(orders: list[OrderRecord]) -> list[str]:
    """What the orders are, in words."""
    return [order.kind.name for order in orders]
