# SPDX-License-Identifier: BSD-3-Clause
"""`distribute(executor=)`: somebody else's Executor."""

from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest

import covey
from covey.distributed.foreign import WINDOW, map_over


class Counting(Executor):
    """Runs at once, and knows how much was submitted and not asked for."""

    _max_workers = 2

    def __init__(self):
        self.open = 0
        self.most = 0

    def submit(self, fn, /, *args, **kwargs):
        self.open += 1
        self.most = max(self.most, self.open)
        executor = self

        class Asked(Future):
            def result(self, timeout=None):
                executor.open -= 1
                return super().result(timeout)

        future = Asked()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def test_results_in_order():
    with ThreadPoolExecutor(2) as threads:
        assert covey.distribute(lambda x: x * x, executor=threads)(range(100)) == [x * x for x in range(100)]


def test_the_window_is_bounded():
    executor = Counting()
    assert map_over(executor, abs, iter(range(1000)), None) == list(range(1000))
    assert executor.most == 2 * WINDOW


def test_arrays_and_none():
    executor = Counting()
    x = np.arange(10.0).reshape(2, 5)
    assert np.array_equal(covey.distribute(np.sqrt, executor=executor)(x), np.sqrt(x))
    assert covey.distribute(repr, executor=executor)(None) == ["None", "None"]


def test_errors_come_through():
    with pytest.raises(ZeroDivisionError):
        covey.distribute(lambda x: 1 // x, executor=Counting())([1, 0])


def test_the_executor_is_left_open():
    with ThreadPoolExecutor(1) as threads:
        with covey.distribute(abs, executor=threads) as dabs:
            assert dabs([-1]) == [1]
        assert threads.submit(abs, -2).result() == 2


def test_a_client_is_an_executor_too():
    with covey.Client(inline=True) as client:
        assert covey.distribute(abs, executor=client)([-1]) == [1]
