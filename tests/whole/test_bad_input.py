# SPDX-License-Identifier: BSD-3-Clause
"""What bad input gets: one clear sentence, at the call, nothing lost and nobody hung."""

import os
import sys
import threading
import warnings

import numpy as np
import pytest

import covey
from covey.errors import BadBlocks, ClientClosed, ModuleMissing, NotPicklable, ResultTooLarge


@pytest.fixture(autouse=True)
def _goes_on(client):
    """Whatever happened, the client works afterwards."""
    yield
    assert client.submit(abs, -3).result(20) == 3
    assert list(client.map(abs, [-1, 2])) == [1, 2]


@pytest.mark.parametrize("thing", [3, None, "abs", [abs]])
def test_not_callable(client, thing):
    with pytest.raises(TypeError, match="callable"):
        client.submit(thing, 1)
    with pytest.raises(TypeError, match="callable"):
        client.map(thing, [1])
    with pytest.raises(TypeError, match="callable"):
        client.options(priority=1).submit(thing, 1)


def test_an_argument_that_cannot_be_pickled(client):
    with pytest.raises(NotPicklable, match=r"argument 2 of .*lock"):
        client.submit(max, 1, threading.Lock())
    with pytest.raises(NotPicklable, match=r"argument 'key'"):
        client.submit(max, 1, 2, key=threading.Lock())


def test_an_item_that_cannot_be_pickled(client):
    results = client.map(bool, [1, 0, threading.Lock(), 1])
    assert [next(results), next(results)] == [True, False]
    with pytest.raises(NotPicklable, match="item 2 of bool"):
        next(results)


def test_a_function_that_cannot_be_pickled(client):
    lock = threading.Lock()
    with pytest.raises(NotPicklable, match="'lock'"):
        client.submit(lambda: lock)


def test_a_generator_that_raises_midway(client):
    def generator():
        yield from range(5)
        raise LookupError("the file ended early")

    results = client.map(abs, generator())
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(LookupError, match="ended early"):
        next(results)
    with pytest.raises(LookupError):
        covey.distribute(abs, executor=client)(generator())


def test_more_cpus_than_there_are_is_clipped_and_said_once():
    most = 10_000
    with pytest.warns(UserWarning, match=f"max_cpu={most} is more than the"):
        dfun = covey.distribute(abs, max_cpu=most)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        covey.distribute(abs, max_cpu=most)
    covey.shutdown(dfun)


@pytest.mark.parametrize(
    ("count", "error"), [(0, ValueError), (-10_000, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)]
)
def test_nonsense_counts(count, error):
    for door in (covey.Client, lambda max_cpu: covey.distribute(abs, max_cpu=max_cpu)):
        with pytest.raises(error, match="max_cpu"):
            door(max_cpu=count)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [(np.array(1.0), "0-d"), (np.array([[1], [2, 3]], dtype=object), "Python objects")],
)
def test_arrays_that_cannot_be_cut(client, array, sentence):
    with pytest.raises(BadBlocks, match=sentence):
        covey.distribute(np.sqrt, executor=client)(array)


@pytest.mark.parametrize(
    ("fun", "sentence"),
    [
        (np.sum, "a single value"),
        (lambda x: x[..., :1], "1 columns"),
        (lambda x: np.zeros((int(x[0]), x.size)), "cannot be put side by side"),
    ],
)
def test_results_that_do_not_concatenate(client, fun, sentence):
    with pytest.raises(BadBlocks, match=sentence):
        covey.distribute(fun, executor=client)(np.arange(8.0))


def test_a_result_over_the_limit(monkeypatch):
    monkeypatch.setenv("COVEY_RESULT_LIMIT", "100000")
    with covey.Client(max_cpu=1) as client:
        bad = client.submit(bytes, 200_000)
        good = client.submit(bytes, 10)
        with pytest.raises(ResultTooLarge, match="limit"):
            bad.result()
        assert good.result() == bytes(10)


def test_a_call_over_the_limit(monkeypatch):
    monkeypatch.setenv("COVEY_PARCEL_LIMIT", "100000")
    with covey.Client(max_cpu=1) as client:
        with pytest.raises(covey.ParcelTooLarge):
            client.submit(len, bytes(200_000))
        assert client.submit(len, bytes(10)).result() == 10
        results = client.map(len, [bytes(10), bytes(200_000)])
        assert next(results) == 10
        with pytest.raises(covey.ParcelTooLarge) as caught:
            next(results)
        assert any("item 1" in note for note in caught.value.__notes__)


def test_a_module_that_the_slot_cannot_import(client, tmp_path):
    (tmp_path / "only_here.py").write_text("def work(x):\n    return x\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import only_here
    finally:
        sys.path.remove(str(tmp_path))
    try:
        with pytest.raises(ModuleMissing, match=r"only_here.*register_pickle_by_value"):
            client.submit(only_here.work, 1).result()
        with pytest.raises(ModuleMissing, match="only_here"):
            list(client.map(only_here.work, [1, 2]))
    finally:
        del sys.modules["only_here"]


def test_what_cannot_be_iterated_over(client):
    with pytest.raises(TypeError, match="type int"):
        client.map(abs, 5)
    with pytest.raises(TypeError, match="not int"):
        covey.distribute(abs, executor=client)(5)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"chunksize": 0}, ValueError),
        ({"chunksize": 1.5}, TypeError),
        ({"buffersize": 0}, ValueError),
        ({"buffersize": "2"}, TypeError),
    ],
)
def test_nonsense_sizes(client, given, error):
    with pytest.raises(error, match=next(iter(given))):
        client.map(abs, [1], **given)


@pytest.mark.parametrize(
    ("where", "error", "sentence"),
    [
        ("tcp://hal:2718", ValueError, "through its connection file"),
        ("hal", covey.KeyRefused, "connection file hal is not there"),
        (5, TypeError, "where=5"),
    ],
)
def test_a_place_that_is_none(where, error, sentence):
    with pytest.raises(error, match=sentence):
        covey.Client(where=where)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"machines": "hal"}, TypeError, r"such as \['hal'\]"),
        ({"machines": ["hal:0"]}, ValueError, "'hal:0' is no machine"),
        ({"machines": ["http://hal"]}, ValueError, "is no machine"),
        ({"machines": [7]}, TypeError, "not 7"),
        ({"machines": ["hal", "hal:2718"]}, ValueError, "names a machine twice"),
        ({"machines": ["hal"], "port": 70000}, ValueError, "port=70000"),
        ({"machines": ["hal"], "named_pipe": True}, ValueError, "reaches only this machine"),
        ({"machines": ["localhost"], "named_pipe": "a/b"}, ValueError, "named_pipe='a/b'"),
        ({"machines": ["localhost"], "named_pipe": ""}, ValueError, "named_pipe=''"),
        ({"machines": ["localhost"], "named_pipe": "x", "port": 3}, ValueError, "at a port or at a named pipe"),
        ({"machines": ["hal"], "authkey": "short"}, covey.KeyRefused, "at least 8"),
    ],
)
def test_machines_that_make_no_sense(given, error, sentence):
    with pytest.raises(error, match=sentence):
        covey.Client(max_cpu=1, **given)


def test_a_client_that_names_nothing_uses_the_connection_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("COVEY_CONNECTION", str(tmp_path / "lab.json"))
    with pytest.raises(covey.KeyRefused, match=r"lab\.json is not there"):
        covey.Client()
    with covey.Client(max_cpu=1) as here, covey.Client(inline=True) as inline:
        assert here.submit(abs, -1).result() == inline.submit(abs, -1).result() == 1


def test_nobody_at_the_address(tmp_path):
    with pytest.raises(covey.LinkRefused, match="nobody answers"):
        covey.Client(where=f"ipc://{tmp_path}/nobody")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"initializer": 3}, TypeError),
        ({"max_tasks_per_slot": 0}, ValueError),
        ({"max_tasks_per_slot": 1.5}, TypeError),
        ({"slot_max_rss": 1000}, ValueError),
        ({"slot_max_rss": "2 GiB"}, TypeError),
        ({"max_gpu": "1"}, TypeError),
    ],
)
def test_nonsense_setups(given, error):
    with pytest.raises(error, match=next(iter(given))):
        covey.Client(**given)


def test_a_gpu_where_there_is_none(client):
    with pytest.raises(ValueError, match="no GPU slot"):
        client.options(gpu=1)


def test_a_closed_client():
    client = covey.Client(max_cpu=1)
    client.shutdown()
    for call in (
        lambda: client.submit(abs, 1),
        lambda: client.map(abs, [1]),
        lambda: client.options(priority=1).submit(abs, 1),
        lambda: client.imap_unordered(abs, [1]),
    ):
        with pytest.raises(ClientClosed):
            call()


@pytest.mark.parametrize("how", ["exit", "_exit"])
def test_a_task_that_ends_its_process(client, how):
    leave = {"exit": sys.exit, "_exit": os._exit}[how]
    with pytest.raises(covey.PoisonTask) as caught:
        client.submit(leave, 5).result()
    assert len(caught.value.attempts) == 3


def test_a_method_of_the_class_is_no_method_of_a_client():
    for call in (covey.Client.submit, covey.Client.flush, covey.Client.require_taking):
        with pytest.raises(TypeError, match=r"doesn't apply to|requires a"):
            call(abs, -1)


def test_a_class_is_no_executor():
    with pytest.raises(TypeError, match="an instance is needed"):
        covey.distribute(abs, executor=covey.Client)
