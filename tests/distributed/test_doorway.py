# SPDX-License-Identifier: BSD-3-Clause
"""What `distribute`, `finished` and `shutdown` take and refuse, without a slot."""

from concurrent.futures import Executor

import numpy as np
import pytest

import covey
from covey.errors import ClientClosed


def test_as_a_function():
    with covey.distribute(abs, inline=True) as dabs:
        assert dabs([-1, 2]) == [1, 2]


def test_as_a_decorator():
    @covey.distribute(inline=True)
    def double(x):
        """Twice as much."""
        return 2 * x

    assert double((1, 2)) == [2, 4]
    assert double.__name__ == "double"
    assert double.__doc__ == "Twice as much."
    assert repr(double).startswith("distribute(")


def test_any_iterable_is_taken():
    dabs = covey.distribute(abs, inline=True)
    assert dabs(-x for x in range(3)) == [0, 1, 2]
    assert dabs({-1: "a"}) == [1]
    assert dabs([]) == []


def test_an_array_is_taken_whole():
    x = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(covey.distribute(np.sqrt, inline=True)(x), np.sqrt(x))


def test_none_is_one_call_a_slot():
    assert covey.distribute(repr, inline=True)(None) == ["None"]


def test_what_cannot_be_taken_is_said():
    with pytest.raises(TypeError, match="not int"):
        covey.distribute(abs, inline=True)(5)


def test_finished_may_be_called_again():
    dabs = covey.distribute(abs, inline=True)
    assert dabs([-1]) == [1]
    covey.finished(dabs)
    covey.finished(dabs)
    assert dabs([-1]) == [1]


def test_shutdown_is_for_good():
    dabs = covey.distribute(abs, inline=True)
    covey.shutdown(dabs)
    covey.shutdown(dabs)
    with pytest.raises(ClientClosed, match="was shut down"):
        dabs([1])


@pytest.mark.parametrize(
    ("wishes", "error", "sentence"),
    [
        ({"machines": "hal"}, TypeError, "list of host names"),
        ({"port": 0}, ValueError, "from 1 to 65535"),
        ({"port": "2718"}, ValueError, "from 1 to 65535"),
        ({"named_pipe": 3}, TypeError, "True or a name"),
        ({"machines": ["localhost"], "named_pipe": "x", "port": 3}, ValueError, "at a port or at a named pipe"),
        ({"port": 2718}, ValueError, "none is named: give machines"),
        ({"named_pipe": True}, ValueError, "none is named: give machines"),
        ({"named_pipe": "lab", "machines": []}, ValueError, "named_pipe='lab'.* none is named: give machines"),
        ({"use_gpu": False, "gpu_policy": "prefer_gpu"}, ValueError, "use_gpu=False, gpu_policy='prefer_gpu'.*contrad"),
        ({"use_gpu": False, "gpu_policy": "require_all"}, ValueError, "contradict each other"),
        ({"shared_data": [1]}, TypeError, "a dict is needed"),
        ({"executor": 4}, TypeError, "an Executor is needed"),
        ({"speculate": 1}, TypeError, r"distribute\(speculate=1\): True or False is needed"),
        ({"speculate": True, "executor": Executor()}, ValueError, "only a covey.Client begins calls again"),
        ({"gpu_policy": "some"}, ValueError, "'no_gpu', 'prefer_gpu', 'require_all'"),
        ({"max_gpu": "1"}, TypeError, "a number is needed"),
    ],
)
def test_nonsense_is_refused_at_the_call(wishes, error, sentence):
    with pytest.raises(error, match=sentence):
        covey.distribute(abs, **wishes)


def test_what_agrees_is_taken():
    covey.distribute(abs, use_gpu=False, gpu_policy="no_gpu")
    covey.distribute(abs, named_pipe=False)
    covey.distribute(abs, machines=["lab7"], port=4000)
    assert covey.distribute(abs, inline=True, speculate=True)([-1]) == [1]


@pytest.mark.parametrize("wish", [{"port": 4000}, {"named_pipe": True}, {"named_pipe": "lab"}])
def test_a_way_to_machines_needs_machines(wish):
    with pytest.raises(ValueError, match="none is named: give machines"):
        covey.Client(**wish)
    with pytest.raises(ValueError, match=r"optimize\(.*none is named: give machines"):
        covey.optimize(abs, {"x": [0, 1]}, **wish)


def test_only_callables_are_distributed():
    with pytest.raises(TypeError, match="callable is needed"):
        covey.distribute(3)
    with pytest.raises(TypeError, match="callable is needed"):
        covey.distribute(inline=True)("abs")


def test_only_distributed_functions_are_finished():
    with pytest.raises(TypeError, match="what distribute"):
        covey.finished(abs)


@pytest.mark.parametrize("wish", [{"use_gpu": False}, {"gpu_policy": "no_gpu"}, {"max_gpu": 0}])
def test_who_wants_no_gpu_asks_for_none(wish):
    assert covey.distribute(abs, **{"max_gpu": 2, **wish}).wanted.max_gpu == 0
