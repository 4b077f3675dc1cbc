# SPDX-License-Identifier: BSD-3-Clause
"""Everything that can be called, through every door."""

import functools
import math
import operator

import numpy as np
import pytest

import covey


def module_function(x):
    return x + 1


class Adder:
    def __init__(self, amount):
        self.amount = amount

    def add(self, x):
        return x + self.amount

    def __call__(self, x):
        return x + self.amount

    @classmethod
    def plus_one(cls, x):
        return cls(1).add(x)

    @staticmethod
    def plus_two(x):
        return x + 2


def closure(amount):
    return lambda x: x + amount


def recursive(x):
    return 0 if x == 0 else 1 + recursive(x - 1)


@functools.lru_cache
def cached(x):
    return x + 1


CALLABLES = {
    "module function": (module_function, 4, 5),
    "lambda": (lambda x: x + 1, 4, 5),
    "closure": (closure(3), 4, 7),
    "builtin": (math.floor, 4.5, 4),
    "class": (str, 4, "4"),
    "bound method": (Adder(5).add, 4, 9),
    "classmethod": (Adder.plus_one, 4, 5),
    "staticmethod": (Adder.plus_two, 4, 6),
    "callable object": (Adder(6), 4, 10),
    "partial": (functools.partial(pow, 2), 4, 16),
    "partial of a lambda": (functools.partial(lambda a, b: a - b, 10), 4, 6),
    "itemgetter": (operator.itemgetter(1), [3, 4], 4),
    "method of a builtin": ("a{}".format, 4, "a4"),
    "recursion": (recursive, 4, 4),
    "cached": (cached, 4, 5),
    "ufunc": (np.sqrt, 4.0, 2.0),
}


@pytest.mark.parametrize("name", CALLABLES)
def test_submit_takes(client, name):
    fn, argument, expected = CALLABLES[name]
    assert client.submit(fn, argument).result() == expected


@pytest.mark.parametrize("name", CALLABLES)
def test_map_takes(client, name):
    fn, argument, expected = CALLABLES[name]
    assert list(client.map(fn, [argument] * 3)) == [expected] * 3


@pytest.mark.parametrize("name", CALLABLES)
def test_distribute_takes(client, name):
    fn, argument, expected = CALLABLES[name]
    assert covey.distribute(fn, executor=client)([argument] * 3) == [expected] * 3


def test_distribute_takes_numpys_inverse(client):
    stack = [np.eye(3) * (i + 1) for i in range(5)]
    results = covey.distribute(np.linalg.inv, executor=client)(stack)
    assert all(np.array_equal(a, np.linalg.inv(b)) for a, b in zip(results, stack, strict=True))


def test_classes_of_the_caller_keep_their_identity(client):
    class Local:
        def __init__(self, x):
            self.x = x

    results = list(client.map(Local, [1, 2]))
    assert all(type(result) is Local for result in results)
    assert [result.x for result in results] == [1, 2]


def test_a_rebound_global_is_seen(client):
    global factor

    def scaled(x):
        return x * factor

    factor = 2
    assert client.submit(scaled, 5).result() == 10
    factor = 3
    assert client.submit(scaled, 5).result() == 15


def test_the_state_of_an_object_is_that_of_the_call(client):
    adder = Adder(1)
    first = client.submit(adder, 1)
    adder.amount = 10
    second = client.submit(adder, 1)
    assert (first.result(), second.result()) == (2, 11)
