# SPDX-License-Identifier: BSD-3-Clause
"""A client without slots: the same manners, in this process."""

import os
import threading
from concurrent.futures import Executor

import pytest

import covey
from covey.errors import ClientClosed


@pytest.fixture
def client():
    with covey.Client(inline=True) as client:
        yield client


def test_it_is_an_executor(client):
    assert isinstance(client, Executor)
    assert client.inline
    assert client.slots == 1


def test_calls_run_here_and_at_once(client):
    future = client.submit(os.getpid)
    assert future.done()
    assert future.result() == os.getpid()


def test_arguments_are_not_copied(client):
    lock = threading.Lock()
    assert client.submit(lambda x: x, lock).result() is lock


def test_every_keyword_belongs_to_the_function(client):
    assert client.submit(lambda **keywords: keywords, fn=1, self=2).result() == {"fn": 1, "self": 2}


def test_errors_are_results(client):
    assert isinstance(client.submit(divmod, 1, 0).exception(), ZeroDivisionError)


def test_map_is_lazy_and_ordered(client):
    taken = []
    results = client.map(lambda x: taken.append(x) or x, iter(range(10)))
    assert next(results) == 0
    assert taken == [0]
    assert list(results) == list(range(1, 10))


def test_map_over_several_iterables(client):
    assert list(client.map(pow, [2, 3], [5, 2])) == [32, 9]
    assert sorted(client.imap_unordered(pow, [2, 3], [5, 2])) == [9, 32]


def test_map_raises_where_the_result_would_be(client):
    results = client.map(lambda x: 1 // x, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_map_has_a_deadline(client):
    with pytest.raises(TimeoutError, match="item 0"):
        list(client.map(abs, [1], timeout=-1))


def test_retries_count(client):
    calls = []

    def flaky():
        calls.append(1)
        if len(calls) < 3:
            raise OSError
        return len(calls)

    assert client.options(retries=2).submit(flaky).result() == 3
    with pytest.raises(OSError):
        client.options(retries=0).submit(lambda: (_ for _ in ()).throw(OSError)).result()


def test_only_named_types_are_tried_again(client):
    calls = []

    def flaky(error):
        calls.append(1)
        raise error

    patient = client.options(retries=2, retry_on=(OSError, KeyError), retry_wait=0.001)
    with pytest.raises(FileNotFoundError):
        patient.submit(flaky, FileNotFoundError()).result()
    assert len(calls) == 3
    with pytest.raises(ValueError):
        patient.submit(flaky, ValueError()).result()
    assert len(calls) == 4
    assert client.statistics().retried == 2


def test_an_interrupt_is_nobodys_retry(client):
    calls = []

    def interrupted():
        calls.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.options(retries=2).submit(interrupted)
    assert len(calls) == 1


def test_a_call_that_must_not_run_twice_is_a_call(client):
    assert list(client.options(on_lost="fail").map(abs, [-1, 2])) == [1, 2]


def test_the_initializer_runs_here():
    seen = []
    with covey.Client(inline=True, initializer=seen.append, initargs=(7,)):
        assert seen == [7]


def test_a_debugger_may_quit(client):
    with pytest.raises(SystemExit):
        client.submit(exit)


def test_closed_means_closed(client):
    results = client.map(abs, [1, 2])
    client.shutdown()
    for call in (lambda: client.submit(abs, 1), lambda: client.map(abs, [1]), lambda: next(results)):
        with pytest.raises(ClientClosed):
            call()
    assert repr(client) == "<covey.Client, closed>"


def test_statistics_count(client):
    list(client.map(abs, [1, 2]))
    client.submit(abs, 1)
    assert client.statistics().finished == 3
