# SPDX-License-Identifier: BSD-3-Clause
"""Further attempts, with a client, a clock and a thread that the test turns by hand; real slots: tests/whole."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

import covey
from covey.client.options import MOST_PRIORITY, TaskSettings
from covey.client.speculation import Speculation, Speculator
from covey.codec.functions import FunctionBook
from covey.codec.parcel import ARGS, ITEMS
from covey.codec.values import unseal
from covey.errors import ClientClosed, ParcelTooLarge, TaskLost


class HandFuture(Future[Any]):
    run_seconds: float | None = None
    forced = False

    def cancel(self, *, force: bool = False) -> bool:
        self.forced = force
        return super().cancel()


@dataclass(eq=False)
class HandClient:
    """What Speculation wants of a client. A task runs, and ends, when the test says so."""

    slots: int = 2
    parcel_limit: int = 1000
    now: float = 0.0
    book: FunctionBook = field(default_factory=FunctionBook)
    futures: list[HandFuture] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    refuses: Exception | None = None
    threads: list[Any] = field(default_factory=list)

    def hear_starts(self, hear):
        self.started = hear

    def post_sealed(self, entry, parcel, buffers, **riders):
        if self.refuses is not None:
            raise self.refuses
        self.asked.append({"entry": entry, "call": unseal(parcel, buffers), **riders})
        self.futures.append(HandFuture())
        return self.futures[-1]

    @property
    def unfinished(self):
        return sum(not future.done() for future in self.futures)

    def slots_for(self, settings):
        return self.slots

    def require_taking(self):
        pass

    def flush(self):
        pass

    def wait_room(self):
        pass

    def run(self, future):
        future.set_running_or_notify_cancel()
        self.started(future)

    def finish(self, future, seconds):
        future.run_seconds = seconds
        future.set_result(None)


@pytest.fixture
def client():
    return HandClient()


@pytest.fixture
def watch(client):
    return Speculation(client, lambda: client.now, client.threads.append)


def with_siblings(client, watch, seconds=1.0):
    """Three calls have finished; gives what begins more."""
    speculator = Speculator(client, watch, TaskSettings(speculate=True))
    for number in range(3):
        client.finish(speculator.send(pow, (2, number), {}, priority=3, needs=5), seconds)
    return speculator


def test_a_straggler_is_begun_once_more_behind_all_else(client, watch):
    first = with_siblings(client, watch).send(pow, (2, 9), {}, priority=3, needs=5)
    client.run(first)
    assert len(client.threads) == 1, "somebody looks"
    client.now = 1.9
    assert watch.look()
    assert watch.begun == 0
    client.now = 2.0
    assert watch.look()
    assert watch.begun == 1
    assert client.asked[-2] == {**client.asked[-1], "priority": 3}
    assert client.asked[-1]["priority"] == -MOST_PRIORITY
    client.now = 1000.0
    assert not watch.look(), "there is nothing left to look at"
    assert watch.begun == 1


def test_its_arguments_are_those_of_its_first_attempt(client, watch):
    items = [1, 2]
    client.run(with_siblings(client, watch).send(pow, (items, 2), {}))
    items.append(3)
    client.now = 9.0
    watch.look()
    assert client.asked[-1]["call"] == client.asked[-2]["call"]
    assert client.asked[-1]["call"] == ([1, 2], 2)


def test_the_attempt_that_is_not_needed_is_ended_by_force(client, watch):
    first = with_siblings(client, watch).send(pow, (2, 9), {})
    client.run(first)
    client.now = 9.0
    watch.look()
    client.finish(first, 9.0)
    extra = client.futures[-1]
    assert extra.cancelled()
    assert extra.forced
    assert (watch.begun, watch.won) == (1, 0)


@pytest.mark.parametrize("error", [TaskLost("f#1", ()), ClientClosed()])
def test_an_error_of_coveys_own_in_it_is_nobodys_outcome(client, watch, error):
    first = with_siblings(client, watch).send(pow, (2, 9), {})
    client.run(first)
    client.now = 9.0
    watch.look()
    client.futures[-1].set_exception(error)
    assert not first.done()
    assert watch.won == 0


def test_what_cannot_be_begun_again_goes_on(client, watch):
    first = with_siblings(client, watch).send(pow, (2, 9), {})
    client.run(first)
    client.now = 9.0
    client.refuses = ClientClosed()
    assert watch.look()
    assert not watch.look(), "nor is it tried again"
    client.finish(first, 9.0)
    assert watch.begun == 0


def test_a_call_that_waits_is_not_one_that_runs(client, watch):
    with_siblings(client, watch).send(pow, (2, 9), {})
    client.now = 1000.0
    assert client.threads == []
    assert not watch.look()


def test_a_call_whose_slot_died_is_as_old_as_its_next_start(client, watch):
    first = with_siblings(client, watch).send(pow, (2, 9), {})
    client.run(first)
    client.now = 1.5
    client.started(first)
    client.now = 3.0
    assert watch.look()
    assert watch.begun == 0
    client.now = 3.5
    watch.look()
    assert watch.begun == 1


def test_what_was_said_to_run_before_it_was_known_counts(client, watch):
    plain = client.post_sealed

    def at_once(*args, **riders):
        future = plain(*args, **riders)
        client.run(future)
        return future

    speculator = with_siblings(client, watch)
    client.post_sealed = at_once
    speculator.send(pow, (2, 9), {})
    client.now = 9.0
    watch.look()
    assert watch.begun == 1


def test_calls_that_raised_or_were_cancelled_say_nothing(client, watch):
    speculator = Speculator(client, watch, TaskSettings(speculate=True))
    for _ in range(3):
        speculator.send(pow, (2, 9), {}).set_exception(ValueError())
        speculator.send(pow, (2, 9), {}).cancel()
    client.run(speculator.send(pow, (2, 9), {}))
    client.now = 1000.0
    watch.look()
    assert watch.begun == 0


def test_the_bundle_of_a_map_is_a_call_of_so_many(client, watch):
    speculator = with_siblings(client, watch)
    entry = client.book.find(abs)
    for _ in range(3):
        client.finish(speculator.post(entry, ITEMS, [1, 2, 3, 4]), 4.0)
    client.run(speculator.post(entry, ITEMS, [1, 2]))
    client.now = 3.9
    watch.look()
    assert watch.begun == 0
    client.now = 4.0
    watch.look()
    assert watch.begun == 1


def test_callables_with_a_state_have_siblings_by_name(client, watch):
    with_siblings(client, watch)
    speculator = Speculator(client, watch, TaskSettings(speculate=True))
    for number in range(3):
        client.finish(speculator.send([number].append, (1,), {}), 1.0)
    client.run(speculator.send([7].append, (1,), {}))
    client.run(speculator.send([7].count, (1,), {}))
    client.slots = 9
    client.now = 9.0
    watch.look()
    assert watch.begun == 1


def test_what_is_too_large_is_refused_as_ever(client, watch):
    speculator = Speculator(client, watch, TaskSettings(speculate=True))
    with pytest.raises(ParcelTooLarge, match="the call of len"):
        speculator.post(client.book.find(len), ARGS, (bytes(2000),))


def test_a_client_that_is_gone_is_not_kept_for_it(client, watch):
    client.run(with_siblings(client, watch).send(pow, (2, 9), {}))
    started, threads = client.started, client.threads
    assert started == watch.on_started
    assert len(threads) == 1
    watch._client = lambda: None
    assert not watch.look()


def test_inline_it_changes_nothing():
    with covey.Client(inline=True) as client:
        assert client.options(speculate=True).submit(pow, 2, 3).result() == 8
        assert list(client.options(speculate=True).map(abs, [-1])) == [1]
        assert client.statistics().speculations == 0


def test_a_detached_call_is_not_begun_twice():
    with (
        covey.Client(inline=True) as client,
        pytest.raises(ValueError, match=r"speculate=True\) is for calls that this program waits for"),
    ):
        client.options(detached=True, speculate=True)
