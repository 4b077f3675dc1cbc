# SPDX-License-Identifier: BSD-3-Clause
"""A map under way, driven by hand: order, windows, errors, deaths, ends."""

import gc
import itertools
import weakref
from time import monotonic

import pytest

from covey.client.bundles import AHEAD
from covey.client.mapping import Feeder
from covey.client.options import TaskSettings
from covey.errors import ClientClosed, NotPicklable, PoisonTask, TaskLost
from handposter import HandPoster, hand_map


def double(x):
    return 2 * x


def reciprocal(x):
    return 1 / x


@pytest.fixture
def desk():
    return HandPoster()


def test_results_come_in_order(desk):
    results = hand_map(desk, double, range(10))
    while desk.waiting:
        desk.do(desk.waiting[-1])
    assert list(results) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_results_come_as_they_are_done(desk):
    results = hand_map(desk, double, [1, 2, 3], in_order=False)
    desk.do(desk.waiting[2])
    assert next(results) == 6
    desk.do(desk.waiting[1])
    assert next(results) == 4
    assert list(results) == [2]


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("seconds", [1e-8, 1e-5, 0.01])
@pytest.mark.parametrize("count", [0, 1, 2, 1023, 1024, 1025, 20_000])
def test_every_item_comes_exactly_once(count, seconds, in_order):
    results = list(hand_map(HandPoster(seconds=seconds), double, range(count), in_order=in_order))
    assert (results if in_order else sorted(results)) == [2 * i for i in range(count)]


@pytest.mark.parametrize("chunksize", [1, 3, 1000])
@pytest.mark.parametrize("buffersize", [None, 1, 4, 50])
def test_every_size_gives_the_same(desk, chunksize, buffersize):
    items = (i for i in range(100))
    assert list(hand_map(desk, double, items, chunksize=chunksize, buffersize=buffersize)) == list(range(0, 200, 2))


def test_several_iterables_are_zipped(desk):
    assert list(hand_map(desk, pow, [2, 3, 4], [5, 2])) == [32, 9]


def test_no_iterables_give_no_results(desk):
    assert list(hand_map(desk, double)) == []


def test_none_is_a_result(desk):
    assert list(hand_map(desk, lambda x: None, range(5))) == [None] * 5


def test_an_endless_iterable_is_taken_a_window_at_a_time(desk):
    results = hand_map(desk, double, itertools.count())
    assert desk.items_posted < 100
    assert [next(results) for _ in range(500)] == list(range(0, 1000, 2))
    assert desk.items_posted < 1000


def test_slots_that_join_while_a_map_runs_get_work_too(desk):
    results = hand_map(desk, double, itertools.count())
    assert [next(results) for _ in range(20)] == list(range(0, 40, 2))
    few = len(desk.waiting)
    desk.slots = 16
    next(results)
    assert len(desk.waiting) >= 16 > few


def test_buffersize_bounds_what_is_taken(desk):
    taken = itertools.count()
    results = hand_map(desk, double, taken, buffersize=4)
    assert desk.items_posted == 4
    assert [next(results), next(results)] == [0, 2]
    assert next(taken) <= 6
    assert desk.items_posted <= 6


def test_a_slow_head_is_overtaken_within_bounds():
    desk = HandPoster(seconds=0.01)
    results = hand_map(desk, double, itertools.count())
    desk.flush = lambda: desk.do(desk.waiting[-1])
    assert next(results) == 0
    assert desk.items_posted == 2 * AHEAD


def test_a_slow_consumer_is_not_buried():
    desk = HandPoster(at_once=True, seconds=0.01)
    results = hand_map(desk, double, itertools.count())
    for _ in range(50):
        next(results)
    assert desk.items_posted < 100


def test_a_slow_iterable_does_not_hold_back_what_is_ready(desk):
    def slow():
        for i in range(10):
            end = monotonic() + 0.004
            while monotonic() < end:
                pass
            yield i

    results = hand_map(desk, double, slow())
    assert desk.items_posted < 10
    assert list(results) == list(range(0, 20, 2))


def test_earlier_results_come_before_an_error(desk):
    results = hand_map(desk, reciprocal, [1, 2, 0, 4])
    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert any("item 2 of a map" in note for note in caught.value.__notes__)
    assert list(results) == []


def test_an_error_inside_a_bundle_names_its_item(desk):
    results = hand_map(desk, reciprocal, (x for x in (1, 2, 4, 0, 5)), chunksize=3)
    assert [next(results) for _ in range(3)] == [1.0, 0.5, 0.25]
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert any("item 3 of a map" in note for note in caught.value.__notes__)


def test_an_error_cancels_the_rest(desk):
    results = hand_map(desk, reciprocal, [0, *range(1, 50)])
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert desk.waiting
    assert all(task.future.cancelled() for task in desk.waiting)


def test_an_unordered_map_raises_too(desk):
    results = hand_map(desk, reciprocal, [1, 0, 2], in_order=False)
    desk.do(desk.waiting[0])
    assert next(results) == 1.0
    with pytest.raises(ZeroDivisionError):
        list(results)


def test_a_generator_that_raises_delivers_what_came_before(desk):
    def generator():
        yield from range(7)
        raise LookupError("the file ended early")

    results = hand_map(desk, double, generator(), chunksize=3)
    assert [next(results) for _ in range(7)] == list(range(0, 14, 2))
    with pytest.raises(LookupError, match="ended early"):
        next(results)
    assert not [task for task in desk.waiting if not task.future.cancelled()]


def test_a_generator_that_raises_at_once(desk):
    def generator():
        raise LookupError("nothing there")
        yield

    with pytest.raises(LookupError):
        list(hand_map(desk, double, generator()))


def test_a_closed_iterator_cancels_the_rest(desk):
    results = hand_map(desk, double, range(50))
    assert next(results) == 0
    results.close()
    assert desk.waiting
    assert all(task.future.cancelled() for task in desk.waiting)
    assert list(results) == []


def test_a_dropped_iterator_cancels_the_rest(desk):
    results = hand_map(desk, double, range(50))
    assert next(results) == 0
    del results
    gc.collect()
    assert all(task.future.cancelled() for task in desk.waiting)


def test_a_map_that_nobody_walks_still_runs(desk):
    hand_map(desk, double, range(50))
    assert not any(task.future.cancelled() for task in desk.waiting)
    assert desk.items_posted == 50


def test_a_deadline_raises_and_cancels(desk):
    results = hand_map(desk, double, range(5), deadline=monotonic() - 1)
    desk.do(desk.waiting[0])
    desk.do(desk.waiting[0])
    desk.flush = lambda: None
    assert [next(results), next(results)] == [0, 2]
    with pytest.raises(TimeoutError, match="item 2 was not done"):
        next(results)
    assert all(task.future.cancelled() for task in desk.waiting)


def test_the_iterator_keeps_no_result(desk):
    class Thing:
        pass

    for thing in hand_map(desk, lambda _: Thing(), range(20), chunksize=5):
        reference = weakref.ref(thing)
        del thing
        assert reference() is None


def test_a_broken_bundle_is_sent_item_by_item(desk):
    results = hand_map(desk, double, (x for x in range(9)), chunksize=3)
    desk.kill(desk.posted[1])
    assert list(results) == list(range(0, 18, 2))
    again = [task for task in desk.posted if task.settings["crashes"] == 1]
    assert [task.items for task in again] == [[3], [4], [5]]
    assert all(task.settings["flags"] == 0 for task in again)


def test_a_broken_bundle_unordered(desk):
    results = hand_map(desk, double, (x for x in range(9)), chunksize=3, in_order=False)
    desk.kill(desk.posted[1])
    assert sorted(results) == list(range(0, 18, 2))


@pytest.mark.parametrize("kind", [PoisonTask, TaskLost])
def test_the_item_that_kills_is_the_one_that_is_poisoned(desk, kind):
    results = hand_map(desk, double, (x for x in range(9)), chunksize=3)
    desk.kill(desk.posted[1])
    assert [next(results) for _ in range(4)] == [0, 2, 4, 6]
    guilty = next(task for task in desk.posted if task.items == [4])
    if guilty in desk.waiting:
        desk.kill(guilty, kind("double()", ("slot 2 died", "slot 1 died again")))
    with pytest.raises(kind) as caught:
        next(results)
    assert caught.value.attempts == ("slot 1 died", "slot 2 died", "slot 1 died again")
    assert any("item 4 of a map" in note for note in caught.value.__notes__)


def test_an_item_that_cannot_be_sent_is_named(desk):
    desk.unsendable[5] = NotPicklable("no")
    results = hand_map(desk, double, (x for x in range(9)), chunksize=4)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(NotPicklable):
        next(results)


def test_an_unpicklable_item_is_named_by_its_index(desk):
    import threading

    def post(entry, form, obj, **settings):
        from covey.codec.parcel import seal_args

        seal_args(form, obj, entry.name)
        return HandPoster.post(desk, entry, form, obj, **settings)

    desk.post = post
    results = hand_map(desk, bool, [1, 2, threading.Lock(), 4], chunksize=2)
    assert [next(results), next(results)] == [True, True]
    with pytest.raises(NotPicklable, match=r"item 2 of bool\(\)"):
        next(results)


def test_a_client_that_closes_sends_the_rest_of_known_lengths(desk):
    feeders: list[Feeder] = []
    results = hand_map(desk, double, range(5000), feeders=feeders)
    assert desk.items_posted < 5000
    feeders[0].feed_all()
    desk.refuses = ClientClosed()
    assert list(results) == list(range(0, 10_000, 2))


def test_a_closed_client_ends_an_endless_map(desk):
    feeders: list[Feeder] = []
    results = hand_map(desk, double, itertools.count(), feeders=feeders)
    feeders[0].feed_all()
    posted = desk.items_posted
    desk.refuses = ClientClosed()
    assert [next(results) for _ in range(posted)] == list(range(0, 2 * posted, 2))
    with pytest.raises(ClientClosed):
        next(results)


def test_settings_travel_with_every_bundle(desk):
    settings = TaskSettings(priority=3, retries=2, retry_wait=0.5, timeout=1.5, once=True)
    list(hand_map(desk, double, range(3), settings=settings, chunksize=1))
    for task in desk.posted:
        assert (task.settings["priority"], task.settings["retries"], task.settings["timeout"]) == (3, 2, 1.5)
        assert (task.settings["retry_wait"], task.settings["flags"] & 2) == (0.5, 2)


def test_what_cannot_be_iterated_over_is_named(desk):
    with pytest.raises(TypeError, match=r"map\(pow, …\): argument 2 after the function is of type int"):
        hand_map(desk, pow, [1], 5)
