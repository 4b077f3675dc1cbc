# SPDX-License-Identifier: BSD-3-Clause
"""`distribute()`, over real slots."""

import gc
import os
import threading
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import covey
from gates import hold
from waiting import wait_until


@pytest.fixture(scope="module")
def dpid():
    """A distributed function whose flock lives as long as the module's tests."""
    with covey.distribute(lambda x: os.getpid(), max_cpu=2) as dpid:
        yield dpid


def columns(x):
    return np.sqrt(x) * np.cos(x) + x.ndim


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


def test_a_list_gives_a_list_in_order(dpid):
    assert covey.distribute(lambda x: x * x, max_cpu=2)([3, 1, 2]) == [9, 1, 4]


def test_any_iterable_is_taken(dpid):
    dabs = covey.distribute(abs, max_cpu=2)
    assert dabs(-x for x in range(1000)) == list(range(1000))
    assert dabs(()) == []
    assert dabs({-1, -2}) == [dabs([x])[0] for x in {-1, -2}]


def test_there_are_no_waves(dpid, gate):
    """While one call holds its slot, the other slot does all the rest."""

    def work(item):
        if item == 0:
            return hold(folder)
        if item == 19:
            open(os.path.join(folder, "through"), "w").close()
        return item

    folder = gate.folder
    results = []
    caller = threading.Thread(target=lambda: results.append(covey.distribute(work, max_cpu=2)(range(20))))
    caller.start()
    gate.wait_arrivals(1)
    wait_until(lambda: os.path.exists(os.path.join(folder, "through")))
    gate.open()
    caller.join()
    assert results == [[None, *range(1, 20)]]


@pytest.mark.parametrize("shape", [(7,), (1,), (2,), (3, 101), (2, 3, 5), (4, 1), (3, 0)])
def test_an_array_gives_what_the_function_gives(dpid, shape):
    x = np.random.default_rng(2).random(shape)
    with covey.distribute(columns, max_cpu=2) as dcolumns:
        y = dcolumns(x)
    assert y.dtype == columns(x).dtype
    assert np.array_equal(y, columns(x))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 30), st.integers(1, 4), st.booleans())
def test_arrays_of_every_width(client, width, height, fortran):
    x = np.random.default_rng(width).random((height, width))
    if fortran:
        x = np.asfortranarray(x)
    assert np.array_equal(covey.distribute(columns, executor=client)(x), columns(x))


def test_an_array_is_cut_into_one_block_a_slot(dpid):
    def widths(x):
        return np.full(x.shape[-1], x.shape[-1])

    dwidths = covey.distribute(widths, max_cpu=2)
    assert dwidths(np.zeros((3, 7))).tolist() == [4, 4, 4, 4, 3, 3, 3]
    assert dwidths(np.zeros(1)).tolist() == [1]


def test_none_calls_every_slot_once(dpid):
    for _ in range(5):
        pids = dpid(None)
        assert len(pids) == 2
        assert len(set(pids)) == 2


def test_none_while_slots_are_busy(dpid, gate):
    dhold = covey.distribute(lambda x: hold(x), max_cpu=2)
    holder = threading.Thread(target=dhold, args=([gate.folder],))
    holder.start()
    gate.wait_arrivals(1)
    pids = []
    caller = threading.Thread(target=lambda: pids.extend(dpid(None)))
    caller.start()
    gate.open()
    holder.join()
    caller.join()
    assert len(set(pids)) == 2


def test_none_from_many_threads(dpid):
    found = []
    threads = [threading.Thread(target=lambda: found.append(dpid(None))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(len(set(pids)) == 2 for pids in found)


def test_none_survives_a_death(dpid, tmp_path):
    flag = str(tmp_path / "died")

    def work(x):
        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return os.getpid()
        os._exit(1)

    assert len(covey.distribute(work, max_cpu=2)(None)) == 2


def test_none_passes_errors_on(dpid):
    def fail(x):
        raise LookupError("in every slot")

    with pytest.raises(LookupError, match="in every slot"):
        covey.distribute(fail, max_cpu=2)(None)
    assert len(set(dpid(None))) == 2


def test_shared_data_is_the_second_argument(dpid):
    table = np.arange(100_000.0)
    dlook = covey.distribute(lambda i, shared: shared["table"][i] + shared["add"], max_cpu=2,
                             shared_data={"table": table, "add": 1})
    assert dlook(range(1000)) == [i + 1 for i in range(1000)]


def test_shared_data_travels_once_a_slot(dpid):
    class Counted:
        def __init__(self, loads=0):
            self.loads = loads

        def __reduce__(self):
            return _load, ()

    def _load():
        import builtins

        builtins.covey_loads = getattr(builtins, "covey_loads", 0) + 1
        return Counted(builtins.covey_loads)

    dloads = covey.distribute(lambda x, shared: (os.getpid(), shared["counted"].loads), max_cpu=2,
                              shared_data={"counted": Counted()})
    assert {loads for _, loads in dloads(range(5000))} == {1}


def test_shared_data_is_that_of_the_call(dpid):
    shared = {"add": 1}
    dadd = covey.distribute(lambda x, s: x + s["add"], max_cpu=2, shared_data=shared)
    assert dadd([1]) == [2]
    shared["add"] = 10
    assert dadd([1]) == [11]


def test_use_gpu_is_told(dpid):
    assert covey.distribute(lambda x, use_gpu=True: use_gpu, max_cpu=2)([1, 2]) == [False, False]


def test_functions_that_ask_for_the_same_share_a_flock(dpid):
    mine = set(dpid(None))
    assert set(covey.distribute(lambda x: os.getpid(), max_cpu=2)(range(100))) <= mine


def test_the_same_object_may_be_called_again(dpid):
    dabs = covey.distribute(abs, max_cpu=2)
    for _ in range(3):
        assert dabs([-1]) == [1]


def test_inside_a_slot_it_runs_in_place_and_says_so_once(dpid, capfd):
    inner = covey.distribute(lambda x: os.getpid(), max_cpu=2)

    def outer(x):
        return os.getpid(), inner([1, 2]), inner(None), inner([3])

    ((pid, *inside),) = covey.distribute(outer, max_cpu=1)([0])
    assert inside == [[pid, pid], [pid], [pid]]
    wait_until(lambda: _seen(capfd, "runs in place"))
    assert _screen.count("runs in place") == 1


_screen = ""


def _seen(capfd, text):
    global _screen
    _screen += capfd.readouterr().err
    return text in _screen


def test_finished_lets_the_slots_go():
    dpids = covey.distribute(lambda x: os.getpid(), max_cpu=1)
    (pid,) = dpids([0])
    covey.finished(dpids)
    assert not alive(pid)
    (again,) = dpids([0])
    assert again != pid
    covey.shutdown(dpids)
    assert not alive(again)
    with pytest.raises(covey.ClientClosed):
        dpids([0])


def test_the_garbage_lets_the_slots_go():
    dpids = covey.distribute(lambda x: os.getpid(), max_cpu=1)
    (pid,) = dpids([0])
    del dpids
    gc.collect()
    wait_until(lambda: not alive(pid))


def test_the_last_user_closes_a_shared_flock():
    one = covey.distribute(lambda x: os.getpid(), max_cpu=1)
    two = covey.distribute(lambda x: -os.getpid(), max_cpu=1)
    (pid,) = one([0])
    assert two([0]) == [-pid]
    covey.finished(one)
    assert alive(pid)
    assert two([0]) == [-pid]
    covey.finished(two)
    assert not alive(pid)


def test_as_a_decorator():
    @covey.distribute(max_cpu=1)
    def triple(x):
        return 3 * x

    with triple:
        assert triple([1, 2]) == [3, 6]


def test_a_recursive_decorated_function():
    @covey.distribute(max_cpu=1)
    def total(tree):
        return tree if isinstance(tree, int) else sum(total(tree))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with total:
            assert total([1, [2, 3], [[4]]]) == [1, 5, 4]


def test_a_bar_where_it_is_wanted(dpid, capsys):
    covey.distribute(abs, max_cpu=2, progress=True)([-1, -2])
    assert "2.00/2.00" in capsys.readouterr().err
    covey.distribute(abs, max_cpu=2)([-1, -2])
    assert capsys.readouterr().err == ""
