# SPDX-License-Identifier: BSD-3-Clause
"""The client, over real slots: every sentence of what it promises."""

import asyncio
import dataclasses
import itertools
import os
import pickle
import re
import threading
from concurrent import futures

import numpy as np
import pytest

import covey
from covey.errors import TaskTimeout
from gates import arrive, hold
from waiting import wait_until


def double(x):
    return 2 * x


def reciprocal(x):
    return 1 / x


def pid_after(folder):
    arrive(folder)
    return os.getpid()


def test_it_is_an_executor(client):
    assert isinstance(client, futures.Executor)
    assert isinstance(client.submit(abs, -1), futures.Future)


def test_submit_runs_elsewhere(client):
    assert client.submit(os.getpid).result() != os.getpid()


def test_every_keyword_belongs_to_the_function(client):
    call = client.submit(dict, fn=1, self=2, timeout=3, priority=4)
    assert call.result() == {"fn": 1, "self": 2, "timeout": 3, "priority": 4}


@pytest.mark.parametrize(
    "value", [None, 0, -1, 2**70, 1.5, True, "ä", b"\0", (), (1, ("a",)), [1], {"a": {1, 2}}, Ellipsis, int], ids=repr
)
def test_values_come_back_as_they_went(client, value):
    result = client.submit(lambda x: x, value).result()
    assert result == value
    assert type(result) is type(value)


def test_arrays_come_back_whole_and_writable(client):
    x = np.random.default_rng(1).random((300, 500))
    y = client.submit(lambda x: x, x).result()
    assert np.array_equal(x, y)
    y[0, 0] = 5.0


def test_errors_keep_their_type_and_tell_where(client):
    error = client.submit(reciprocal, 0).exception()
    assert type(error) is ZeroDivisionError
    assert any("reciprocal" in note and str(os.uname().nodename) in note for note in error.__notes__)
    with pytest.raises(ZeroDivisionError) as caught:
        client.submit(reciprocal, 0).result()
    frames = [entry.name for entry in caught.traceback]
    assert "reciprocal" in frames


def test_an_error_that_cannot_travel_becomes_a_named_one(client):
    class Odd(Exception):
        def __init__(self, *, needed):
            super().__init__("odd")
            self.lock = threading.Lock()

    def fail():
        raise Odd(needed=1)

    with pytest.raises(covey.RemoteError, match="Odd"):
        client.submit(fail).result()
    assert client.submit(double, 4).result() == 8


def test_a_result_that_cannot_travel_concerns_only_its_future(client):
    bad = client.submit(threading.Lock)
    good = [client.submit(double, i) for i in range(20)]
    with pytest.raises(covey.ResultNotPicklable):
        bad.result()
    assert [future.result() for future in good] == [2 * i for i in range(20)]


class LoadsNowhere:
    def __reduce__(self):
        return _explode_unless_slot, ()


def _explode_unless_slot():
    raise RuntimeError("this object cannot be loaded")


def test_a_result_that_fails_to_load_concerns_only_its_future(client):
    bad = client.submit(LoadsNowhere)
    good = client.submit(double, 2)
    with pytest.raises(covey.CoveyError):
        bad.result()
    assert good.result() == 4


def test_wait_and_as_completed(client):
    some = [client.submit(double, i) for i in range(50)]
    done, not_done = futures.wait(some)
    assert done == set(some)
    assert not not_done
    assert sorted(f.result() for f in futures.as_completed(client.submit(double, i) for i in range(50))) == list(
        range(0, 100, 2)
    )


def test_callbacks(client):
    seen = threading.Event()
    client.submit(double, 1).add_done_callback(lambda future: seen.set())
    assert seen.wait(20)


def test_asyncio(client):
    async def main():
        loop = asyncio.get_running_loop()
        one = await asyncio.wrap_future(client.submit(double, 1))
        two = await loop.run_in_executor(client, double, 2)
        rest = await asyncio.gather(*(asyncio.wrap_future(client.submit(double, i)) for i in range(20)))
        return one, two, rest

    assert asyncio.run(main()) == (2, 4, list(range(0, 40, 2)))


def test_many_threads_share_a_client(client):
    def work(offset):
        return [client.submit(double, offset + i).result() for i in range(100)] + list(client.map(double, range(500)))

    with futures.ThreadPoolExecutor(8) as threads:
        for offset, results in enumerate(threads.map(work, range(8))):
            assert results == [2 * (offset + i) for i in range(100)] + list(range(0, 1000, 2))


def test_every_slot_works(client, gate):
    held = [client.submit(hold, gate.folder) for _ in range(2)]
    assert len(set(gate.wait_arrivals(2))) == 2
    gate.open()
    futures.wait(held)


def test_cancel_what_waits(client, gate):
    held = [client.submit(hold, gate.folder) for _ in range(2)]
    gate.wait_arrivals(2)
    waiting = client.submit(double, 1)
    assert waiting.cancel()
    assert waiting.cancelled()
    with pytest.raises(futures.CancelledError):
        waiting.result()
    gate.open()
    futures.wait(held)


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 30_000])
def test_map_gives_every_result_in_order(client, count):
    assert list(client.map(double, range(count))) == list(range(0, 2 * count, 2))


@pytest.mark.parametrize("chunksize", [1, 7, 10_000])
def test_map_with_a_chunksize(client, chunksize):
    assert list(client.map(double, range(1000), chunksize=chunksize)) == list(range(0, 2000, 2))


def test_map_over_several_iterables(client):
    assert list(client.map(pow, [2, 3, 4], itertools.repeat(2))) == [4, 9, 16]


def test_map_over_an_endless_iterable(client):
    results = client.map(double, itertools.count())
    assert list(itertools.islice(results, 5000)) == list(range(0, 10_000, 2))
    results.close()


def test_map_takes_no_more_than_the_buffer(client):
    taken = itertools.count()
    results = client.map(double, taken, buffersize=3)
    assert next(taken) == 3
    results.close()


def test_map_starts_at_the_call(client, gate):
    results = client.map(hold, [gate.folder] * 2)
    gate.wait_arrivals(2)
    gate.open()
    assert list(results) == [None, None]


def test_map_delivers_what_came_before_an_error(client):
    results = client.map(reciprocal, [1, 2, 0, 4])
    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert any("item 2" in note for note in caught.value.__notes__)


def test_map_names_the_item_in_a_bundle(client):
    results = client.map(reciprocal, (1 if i != 700 else 0 for i in range(1000)), chunksize=300)
    assert len([next(results) for _ in range(700)]) == 700
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert any("item 700" in note for note in caught.value.__notes__)


def test_map_has_a_deadline_from_the_call(client, gate):
    results = client.map(hold, [gate.folder] * 4, timeout=0.2)
    with pytest.raises(TimeoutError, match="item 0"):
        next(results)
    gate.open()


def test_unordered_results_come_as_they_are_done(client, gate):
    def work(item):
        return hold(gate_folder, item) if item == 0 else item

    gate_folder = gate.folder
    results = client.imap_unordered(work, range(5))
    assert sorted(next(results) for _ in range(4)) == [1, 2, 3, 4]
    gate.open()
    assert list(results) == [0]


def test_an_abandoned_map_is_cancelled(client, gate):
    results = client.map(hold, [gate.folder] * 100)
    gate.wait_arrivals(2)
    gate.open()
    assert next(results) is None
    results.close()
    wait_until(lambda: client.unfinished == 0, lambda: client.statistics())
    # what waited never ran
    assert client.submit(double, 1).result() == 2


def test_a_map_that_kills_its_slot_loses_one_item(client):
    def work(item):
        if item == 700:
            os._exit(3)
        return item

    results = client.map(work, (i for i in range(1500)), chunksize=100)
    assert [next(results) for _ in range(700)] == list(range(700))
    with pytest.raises(covey.PoisonTask) as caught:
        next(results)
    assert len(caught.value.attempts) == 3
    assert all("exited with code 3" in attempt for attempt in caught.value.attempts)
    assert any("item 700" in note for note in caught.value.__notes__)


def test_a_death_disturbs_no_other_item(client, tmp_path):
    flag = str(tmp_path / "died")

    def work(item):
        if item == 40 and not os.path.exists(flag):
            os.close(os.open(flag, os.O_CREAT))
            os._exit(1)
        return 2 * item

    assert list(client.map(work, (i for i in range(200)), chunksize=20)) == list(range(0, 400, 2))


def test_options_timeout(client, gate):
    future = client.options(timeout=0.3).submit(hold, gate.folder)
    with pytest.raises(TaskTimeout):
        future.result()
    assert client.submit(double, 1).result() == 2


def test_options_timeout_in_a_map(client, gate):
    folder = gate.folder

    def work(item):
        return hold(folder) if item == 3 else item

    results = client.options(timeout=0.3).map(work, range(6))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(TaskTimeout):
        next(results)


def test_options_retries(client, tmp_path):
    path = str(tmp_path / "tries")

    def flaky():
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) < 3:
            raise OSError("not yet")
        return os.path.getsize(path)

    assert client.options(retries=5).submit(flaky).result() == 3


def test_options_keep_every_keyword_for_the_function(client):
    assert client.options(priority=1).submit(dict, priority=7).result() == {"priority": 7}


def test_repr_and_statistics_tell_the_truth(client, gate):
    assert repr(client) == "<covey.Client of 2 slots, 0 tasks unfinished>"
    before = client.statistics()
    held = [client.submit(hold, gate.folder) for _ in range(3)]
    gate.wait_arrivals(2)
    now = client.statistics()
    assert (now.slots, now.slots_up, now.unfinished) == (2, 2, 3)
    assert "3 tasks unfinished" in repr(client)
    gate.open()
    futures.wait(held)
    after = client.statistics()
    assert after.unfinished == 0
    assert after.finished == before.finished + 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.slots = 5


def test_a_second_client_shares_the_flock(client, gate):
    wait_until(lambda: client.statistics().slots_up == 2, client.statistics)
    with covey.Client(where=client.address) as second:
        assert second.slots == 2
        assert second.submit(double, 3).result() == 6
        assert list(second.map(double, range(100))) == list(range(0, 200, 2))
    assert client.submit(double, 1).result() == 2


def test_an_initializer_runs_once_in_every_slot(gate):
    def prepare(value):
        import builtins

        builtins.covey_test_value = [*getattr(builtins, "covey_test_value", []), value]

    def read(folder):
        import builtins

        hold(folder)
        return os.getpid(), builtins.covey_test_value

    with covey.Client(max_cpu=2, initializer=prepare, initargs=(7,)) as client:
        held = [client.submit(read, gate.folder) for _ in range(2)]
        gate.wait_arrivals(2)
        gate.open()
        found = dict(future.result() for future in held)
    assert list(found.values()) == [[7], [7]]


def test_an_initializer_that_raises_is_told():
    def prepare():
        raise LookupError("no licence")

    with covey.Client(max_cpu=1, initializer=prepare) as client:
        with pytest.raises(covey.InitializerFailed) as caught:
            client.submit(double, 1).result()
        assert "no licence" in str(caught.value) or "no licence" in str(caught.value.__cause__)


def test_slots_are_replaced_after_so_many_tasks():
    with covey.Client(max_cpu=1, max_tasks_per_slot=3) as client:
        pids = [client.submit(os.getpid).result() for _ in range(9)]
    assert len(set(pids)) == 3
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 3]


def test_options_priority(gate, tmp_path):
    order = str(tmp_path / "order")

    def note(name):
        with open(order, "a") as file:
            file.write(name)

    # one slot: two would write side by side, and one of them may stand still for a while
    with covey.Client(max_cpu=1) as client:

        def at_the_broker():
            totals = client._node.totals()
            return totals["waiting"] + totals["assigned"]

        held = client.submit(hold, gate.folder)
        gate.wait_arrivals()
        low = [client.options(priority=-5).submit(note, "l") for _ in range(5)]
        high = [client.options(priority=5).submit(note, "h") for _ in range(5)]
        # what comes only when the gate is open would be behind what is there
        wait_until(lambda: at_the_broker() == 11, client._node.totals)
        gate.open()
        futures.wait([held, *low, *high])
    with open(order) as file:
        order_of_running = file.read()
    # the slot may have had one of the first ones waiting for it already
    assert order_of_running in ("hhhhhlllll", "lhhhhhllll")


def test_a_client_does_not_travel(client):
    with pytest.raises((TypeError, pickle.PicklingError)):
        client.submit(double, client)


def test_each_task_has_a_number_of_its_own(client):
    """One after another they all have the same row of the client's table."""

    def fail():
        raise ValueError("no luck")

    numbers = []
    for _ in range(3):
        future = client.submit(fail)
        note = "".join(future.exception(30).__notes__)
        numbers.append(int(re.search(r"fail#(\d+), attempt 1", note)[1]))
        assert f"fail#{numbers[-1]} finished" in repr(future)
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
    assert numbers[0] > 0
