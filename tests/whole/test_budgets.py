# SPDX-License-Identifier: BSD-3-Clause
"""How often a call is tried: retries by type and with rests, calls that must not run twice. Run over both loops."""

import os
import signal
import threading
import time

import pytest

import covey
from gates import hold
from waiting import wait_until

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module", params=["1", "0"], ids=["native", "on pyzmq"])
def client(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVEY_NATIVE", request.param)
        with covey.Client(max_cpu=2) as client:
            yield client


class Flaky(Exception):
    pass


class Flakier(Flaky):
    pass


def tries(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def fail(path, error, times=99):
    """Notes down the try; raises `error` so many times."""
    with open(path, "a") as file:
        file.write("x")
    if tries(path) <= times:
        raise error
    return tries(path)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "tries")


def test_any_exception_is_tried_again_unless_types_are_named(client, path):
    assert client.options(retries=3).submit(fail, path, ValueError("v"), 2).result(30) == 3


@pytest.mark.parametrize("error", [OSError("o"), FileNotFoundError("below OSError"), Flakier("below Flaky")])
def test_named_types_and_those_below_them_are_tried_again(client, path, error):
    patient = client.options(retries=3, retry_on=(OSError, Flaky))
    assert patient.submit(fail, path, error, 2).result(30) == 3


def test_other_types_are_not(client, path):
    with pytest.raises(ValueError, match="v"):
        client.options(retries=3, retry_on=OSError, retry_wait=0.01).submit(fail, path, ValueError("v")).result(30)
    assert tries(path) == 1


def test_retries_have_an_end(client, path):
    before = client.statistics().retried
    with pytest.raises(OSError, match="o") as caught:
        client.options(retries=3, retry_on=OSError, retry_wait=0.001).submit(fail, path, OSError("o")).result(30)
    assert tries(path) == 4
    assert client.statistics().retried - before == 3
    assert "attempt 4" in caught.value.__notes__[-1]


def test_a_class_of_the_callers_own_is_the_class_that_is_raised(client, path):
    class Local(Exception):
        pass

    def flaky():
        return fail(path, Local("mine"), 2)

    assert client.options(retries=2, retry_on=Local).submit(flaky).result(30) == 3


@pytest.mark.parametrize("named", [False, True])
def test_an_interrupt_is_tried_again_only_if_it_is_named(client, path, named):
    wishes = {"retry_on": KeyboardInterrupt} if named else {}
    future = client.options(retries=2, **wishes).submit(fail, path, KeyboardInterrupt("k"), 2)
    if named:
        assert future.result(30) == 3
    else:
        with pytest.raises(KeyboardInterrupt):
            future.result(30)
        assert tries(path) == 1


def test_system_exit_ends_no_slot_where_it_is_named(client, path):
    crashes = client.statistics().crashes
    assert client.options(retries=2, retry_on=SystemExit).submit(fail, path, SystemExit(3), 2).result(30) == 3
    assert client.statistics().crashes == crashes


def test_system_exit_ends_the_slot_where_it_is_not(client, path):
    crashes = client.statistics().crashes
    assert client.options(retries=2, retry_on=OSError).submit(fail, path, SystemExit(3), 2).result(30) == 3
    assert client.statistics().crashes == crashes + 2


def test_each_item_of_a_map_has_its_own_retries(client, tmp_path):
    def work(item):
        return fail(str(tmp_path / str(item)), Flaky(), 2) + item

    patient = client.options(retries=2, retry_on=Flaky, retry_wait=0.01)
    assert list(patient.map(work, range(20), chunksize=10)) == [3 + item for item in range(20)]
    assert sorted(patient.imap_unordered(work, range(20))) == [4 + item for item in range(20)]


def test_keywords_arrays_and_plain_values_travel_behind_the_types(client):
    numpy = pytest.importorskip("numpy")
    patient = client.options(retries=1, retry_on=OSError)
    assert patient.submit(dict, a=1, b="two").result(30) == {"a": 1, "b": "two"}
    assert patient.submit(numpy.sum, numpy.ones(100_000)).result(30) == 100_000
    assert patient.submit(lambda: None).result(30) is None
    assert list(patient.map(pow, [2, 3], [3, 2])) == [8, 9]


def test_who_rests_holds_no_slot(client, path):
    futures = [
        client.options(retries=1, retry_wait=3600).submit(fail, f"{path}{n}", Flaky(), 1) for n in range(20)]
    wait_until(lambda: all(tries(f"{path}{n}") for n in range(20)))
    assert [client.submit(pow, 2, n).result(30) for n in range(50)] == [2**n for n in range(50)]
    wait_until(lambda: client.statistics().waiting >= 19, client.statistics)
    # Some may be known to have run when they raised; they do not run now, so nobody is killed for it.
    assert all(future.cancel(force=True) for future in futures if not future.done())
    wait_until(lambda: client.statistics().waiting == 0, client.statistics)


def test_a_rest_ends(client, path):
    began = time.monotonic()
    rested = client.options(retries=1, retry_wait=0.2).submit(fail, path, Flaky(), 1)
    assert rested.result(30) == 2
    assert time.monotonic() - began < 20


def die(path, how=signal.SIGKILL):
    with open(path, "a") as file:
        file.write("x")
    os.kill(os.getpid(), how)


def test_a_call_that_must_not_run_twice_does_not(client, path):
    with pytest.raises(covey.MaybeRan) as caught:
        client.options(on_lost="fail").submit(die, path).result(30)
    assert tries(path) == 1
    assert len(caught.value.attempts) == 1
    assert "was killed by SIGKILL" in caught.value.attempts[0]
    assert str(caught.value).startswith("die#")


def test_items_that_must_not_run_twice_do_not(client, tmp_path):
    def work(item):
        with open(tmp_path / str(item), "a") as file:
            file.write("x")
        if item == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    results = client.options(on_lost="fail").map(work, range(15), chunksize=15)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(covey.MaybeRan) as caught:
        next(results)
    assert any("item 7" in note for note in caught.value.__notes__)
    assert all(tries(str(tmp_path / str(item))) <= 1 for item in range(15))


def test_what_waited_behind_a_death_runs_once(client, gate, tmp_path):
    held = [client.submit(hold, gate.folder) for _ in range(2)]
    gate.wait_arrivals(2)
    once = client.options(on_lost="fail")
    fatal = client.submit(die_once, str(tmp_path / "mark"))
    futures = [once.submit(fail, str(tmp_path / str(n)), Flaky(), 0) for n in range(40)]
    gate.open()
    assert [future.result(30) for future in held] == [None, None]
    fatal.result(30)
    ends = [future.exception(30) for future in futures]
    assert {type(end) for end in ends} <= {type(None), covey.MaybeRan}
    assert all(tries(str(tmp_path / str(n))) <= 1 for n in range(40))
    assert all(tries(str(tmp_path / str(n))) == 1 for n, end in enumerate(ends) if end is None)


def die_once(mark):
    if not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)


def test_an_error_of_a_call_that_must_not_run_twice_is_its_end(client, path):
    with pytest.raises(Flaky):
        client.options(on_lost="fail").submit(fail, path, Flaky()).result(30)
    assert tries(path) == 1


def up(client):
    """The slots' processes, once all that run now are connected."""
    node = client._node
    wait_until(
        lambda: len(node.pids()) == 2 and {entry["pid"] for entry in node.slots()} == set(node.pids()),
        lambda: (node.slots(), node.pids()),
    )
    return node.pids()


def test_under_steady_fire_nothing_runs_twice(client, tmp_path):
    over = threading.Event()

    def work(item):
        with open(tmp_path / str(item), "a") as file:
            file.write("x")
        return item

    def fire():
        while not over.is_set():
            target = up(client)[0]
            os.kill(target, signal.SIGKILL)
            wait_until(lambda target=target: target not in client._node.pids())

    futures = [client.options(on_lost="fail").submit(work, item) for item in range(400)]
    gunner = threading.Thread(target=fire)
    gunner.start()
    try:
        ends = [future.exception(60) for future in futures]
    finally:
        over.set()
        gunner.join()
    assert {type(end) for end in ends} <= {type(None), covey.MaybeRan}
    ran = [tries(str(tmp_path / str(item))) for item in range(400)]
    assert max(ran) == 1
    assert all(ran[item] == 1 for item, end in enumerate(ends) if end is None)


def test_reasons_are_counted_apart(client, path):
    # A slot that was killed at rest a moment ago is a loss of whatever is on its way to it.
    up(client)
    before = client.statistics()
    client.submit(die_once, path + "mark").result(30)
    client.options(retries=1).submit(fail, path, Flaky(), 1).result(30)
    now = client.statistics()
    assert (now.crashes - before.crashes, now.retried - before.retried) == (1, 1)
    assert (now.losses, now.late) == (before.losses, before.late)


def test_the_end_of_a_task_names_every_attempt(client, path):
    def odd():
        with open(path, "a") as file:
            file.write("x")
        if tries(path) == 2:
            raise Flaky
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(covey.PoisonTask) as caught:
        client.options(retries=1).submit(odd).result(30)
    assert len(caught.value.attempts) == tries(path) == 4
    assert sum("was killed by SIGKILL" in attempt for attempt in caught.value.attempts) == 3
    assert "raised an error" in caught.value.attempts[-1]
