# SPDX-License-Identifier: BSD-3-Clause
"""The same flock over libzmq called from C and over pyzmq: one line of tests, run both ways."""

import os
import threading
import time
from concurrent.futures import CancelledError, wait

import numpy as np
import pytest

import covey
from gates import hold
from waiting import wait_until


@pytest.fixture(scope="module", params=["1", "0"], ids=["native", "on pyzmq"])
def client(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVEY_NATIVE", request.param)
        with covey.Client(max_cpu=2) as client:
            # Or the second would come in the middle of some test, which would be taken to have left its socket behind.
            wait_until(lambda: client.statistics().slots_up == 2, client.statistics)
            yield client


def test_calls_come_back(client):
    assert client.submit(pow, 2, 10).result() == 1024
    futures = [client.submit(divmod, n, 7) for n in range(2000)]
    assert [future.result() for future in futures] == [divmod(n, 7) for n in range(2000)]


def test_a_map_is_in_order(client):
    assert list(client.map(lambda n: n * n, range(20_000))) == [n * n for n in range(20_000)]
    assert list(client.map(pow, [2, 3], [5, 2])) == [32, 9]


def test_arrays_travel_and_stay_writable(client):
    array = np.random.default_rng(1).random((300, 400))
    back = client.submit(np.negative, array).result()
    assert np.array_equal(back, -array)
    back[0, 0] = 1.0


def test_an_error_is_itself(client):
    with pytest.raises(KeyError, match="'k'") as caught:
        client.submit(lambda: {}["k"]).result()
    assert any("slot" in note and str(os.getpid()) not in note for note in caught.value.__notes__)


def test_what_is_printed_appears_here(client, capsys):
    client.submit(print, "from a slot").result()
    assert capsys.readouterr().out == "from a slot\n"


def test_cancelled_calls_do_not_run(client, gate, tmp_path):
    held = [client.submit(hold, gate.folder) for _ in range(2)]
    gate.wait_arrivals(2)
    mark = str(tmp_path / "ran")
    queued = [client.submit(open, f"{mark}{n}", "w") for n in range(50)]
    totals = client._node.totals
    wait_until(lambda: totals()["waiting"] + totals()["assigned"] == 52, totals)
    assert all(future.cancel() for future in queued)
    # what is still assigned beyond the two that run is the slots' to give back
    wait_until(lambda: totals()["waiting"] == 0, totals)
    gate.open()
    wait(held)
    assert client.submit(pow, 2, 3).result() == 8
    # each slot may have had two waiting for it (as many guessed milliseconds as are sent ahead), and be quicker than
    # the message that takes them back
    assert sum(os.path.exists(f"{mark}{n}") for n in range(50)) <= 2 * 2


def test_what_waits_behind_a_long_task_goes_to_an_idle_slot(client, gate):
    folder = gate.folder
    results = client.imap_unordered(lambda n: hold(folder) if n == 0 else n, range(6))
    assert sorted(next(results) for _ in range(5)) == [1, 2, 3, 4, 5]
    gate.open()
    assert list(results) == [None]


@pytest.mark.parametrize("native", ["1", "0"], ids=["native", "on pyzmq"])
def test_an_outcome_does_not_wait_for_the_task_behind_it(native, gate, monkeypatch):
    monkeypatch.setenv("COVEY_NATIVE", native)
    # without signs of life nothing else wakes the slot's attendant
    monkeypatch.setenv("COVEY_BEAT_EVERY", "600")
    monkeypatch.setenv("COVEY_LEASE", "6000")
    with covey.Client(max_cpu=1) as client:
        # long enough to be announced, after which there is nothing left to look after
        first = client.submit(time.sleep, 0.05)
        second = client.submit(hold, gate.folder)
        assert first.result(timeout=20) is None
        gate.wait_arrivals()
        assert not second.done()
        gate.open()
        second.result(timeout=20)


def test_the_third_death_names_the_call(client):
    bystanders = [client.submit(abs, -n) for n in range(200)]
    with pytest.raises(covey.PoisonTask) as caught:
        client.submit(lambda: os.kill(os.getpid(), 9)).result()
    assert len(caught.value.attempts) == 3
    assert all("SIGKILL" in attempt for attempt in caught.value.attempts)
    assert [future.result() for future in bystanders] == list(range(200))


def test_a_time_limit_ends_the_call_and_nothing_else(client):
    with pytest.raises(covey.TaskTimeout):
        client.options(timeout=0.2).submit(time.sleep, 60).result()
    assert client.submit(pow, 2, 4).result() == 16


def test_a_second_client_shares_the_flock(client):
    with covey.Client(where=client.address) as guest:
        assert guest.slots >= 1
        assert guest.submit(pow, 3, 3).result() == 27
    assert client.submit(pow, 3, 2).result() == 9


def test_nothing_is_forgotten_when_functions_come_and_go(client):
    for n in range(300):
        assert client.submit(lambda x, n=n: x + n, 1).result() == n + 1
    wait_until(lambda: client._node.totals()["functions"] < 50)


def test_many_threads_share_a_client(client):
    sums = []

    def use():
        sums.append(sum(client.submit(abs, -n).result() for n in range(100)))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [4950] * 8


def wait_for_ever(began):
    open(began, "w").close()
    threading.Event().wait()


@pytest.mark.parametrize("turn", [1, 2])
def test_what_runs_is_cancelled_by_force(client, tmp_path, turn):
    futures = [client.submit(wait_for_ever, str(tmp_path / f"{turn}{number}")) for number in range(2)]
    # Both slots are taken; they are killed and replaced, so that the second turn finds two as well.
    wait_until(lambda: all(future.running() for future in futures), client.statistics)
    assert not any(future.cancel() for future in futures)
    for future in futures:
        assert future.cancel(force=True)
        assert future.cancel(force=True), "it is so already"
        with pytest.raises(CancelledError):
            future.result(0)
    others = [client.submit(abs, -number) for number in range(20)]
    assert [other.result(30) for other in others] == list(range(20))


def test_force_changes_nothing_for_what_is_done(client):
    future = client.submit(abs, -1)
    assert future.result(30) == 1
    assert not future.cancel(force=True)
    assert future.result(0) == 1


def named_by_nobody(x):
    return x + 1


named_by_nobody.__qualname__ = "half \ud800 a name"


def test_a_name_that_cannot_be_written_down_is_no_error(client):
    assert client.submit(named_by_nobody, 1).result(30) == 2
