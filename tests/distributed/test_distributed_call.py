# SPDX-License-Identifier: BSD-3-Clause
"""What a slot calls: the function, with what it asked for besides the item."""

import functools

from covey.codec.functions import callable_name
from covey.distributed.call import adapted


def plain(x):
    return x


def with_gpu(x, use_gpu=True):
    return x, use_gpu


def with_all(x, shared_data, use_gpu):
    return x, shared_data, use_gpu


def test_a_function_that_asks_for_nothing_is_itself():
    assert adapted(plain, None) is plain
    assert adapted(abs, None) is abs


def test_shared_data_is_the_second_argument():
    assert adapted(lambda x, shared: (x, shared), {"a": 1})(5) == (5, {"a": 1})
    assert adapted(lambda x, shared: (x, shared), {})(5) == (5, {})


def test_use_gpu_is_told_to_who_declares_it():
    assert adapted(with_gpu, None)(5) == (5, False)
    assert adapted(with_all, {"a": 1})(5) == (5, {"a": 1}, False)


def test_keywords_in_general_are_not_a_declaration():
    assert adapted(lambda x, **keywords: keywords, None)(5) == {}


def test_a_callable_object_is_asked_as_well():
    assert adapted(functools.partial(with_gpu), None)(5) == (5, False)


def test_messages_name_the_users_function():
    assert callable_name(adapted(with_all, {})) == "with_all"
