# SPDX-License-Identifier: BSD-3-Clause
"""Settings that ride beside a call: what is taken, what is refused, and in which words."""

import math

import pytest

from covey.client.options import NEEDS_GPU, TaskSettings, checked
from covey.codec.retriable import Retriable

NOTHING = dict.fromkeys(("priority", "timeout", "retries", "retry_on", "retry_wait", "on_lost", "gpu", "speculate"))


def settings(gpu_slots=0, may_come=False, **given):
    return checked(TaskSettings(), count_gpus=lambda: gpu_slots, may_come=may_come, **{**NOTHING, **given})


def test_nothing_given_changes_nothing():
    assert settings() == TaskSettings()


def test_what_is_given_is_taken():
    assert settings(priority=-3, timeout=2, retries=4) == TaskSettings(priority=-3, timeout=2.0, retries=4)


def test_a_gpu_is_taken_where_there_is_one():
    assert settings(gpu=1, gpu_slots=1).needs == NEEDS_GPU
    with pytest.raises(ValueError, match="no GPU slot"):
        settings(gpu=1)


@pytest.mark.parametrize(
    ("gpu", "share"),
    [
        (0.25, 2500),
        (0.0001, 1),
        (0.0007, 7),
        (1 / 3, 3333),
        (0.29, 2900),
        (0.9999, 9999),
        (0.99995, 9999),
        (1.0, 0),
        (1, 0),
    ],
)
def test_a_part_of_a_gpu_is_counted_in_ten_thousandths_and_rounded_down(gpu, share):
    assert settings(gpu=gpu, gpu_slots=1) == TaskSettings(needs=NEEDS_GPU, share=share)


def test_nobody_counts_gpus_for_a_task_that_wants_none():
    def count():
        raise AssertionError

    assert checked(TaskSettings(), count_gpus=count, **{**NOTHING, "gpu": 0.0}) == TaskSettings()


def test_the_latest_word_about_gpus_counts():
    part = settings(gpu=0.5, gpu_slots=1)
    whole = checked(part, count_gpus=lambda: 1, **{**NOTHING, "gpu": 1})
    assert (part.share, whole.share) == (5000, 0)
    assert checked(part, count_gpus=lambda: 1, **{**NOTHING, "priority": 1}).share == 5000


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"priority": 40_000}, ValueError, "from -32767 to 32767"),
        ({"priority": 1.5}, TypeError, "priority=1.5"),
        ({"priority": True}, TypeError, "whole number"),
        ({"timeout": 0}, ValueError, "more than 0"),
        ({"timeout": -1}, ValueError, "more than 0"),
        ({"timeout": math.nan}, ValueError, "more than 0"),
        ({"timeout": math.inf}, ValueError, "at most"),
        ({"timeout": "1"}, TypeError, "number of seconds"),
        ({"retries": -1}, ValueError, "from 0 to 255"),
        ({"retries": 256}, ValueError, "from 0 to 255"),
        ({"retries": "2"}, TypeError, "whole number"),
        ({"retries": 1, "retry_on": "OSError"}, TypeError, "'OSError' is none"),
        ({"retries": 1, "retry_on": (OSError, 5)}, TypeError, "and 5 is none"),
        ({"retries": 1, "retry_on": [OSError]}, TypeError, "or a tuple of such types"),
        ({"retries": 1, "retry_on": int}, TypeError, "a type of exception is needed"),
        ({"retries": 1, "retry_on": OSError()}, TypeError, "is none"),
        ({"retries": 1, "retry_on": ()}, ValueError, "name a type"),
        ({"retry_on": OSError}, ValueError, "without retries tries nothing again"),
        ({"retry_wait": 0.5}, ValueError, r"options\(retry_wait=0.5\) without retries"),
        ({"retries": 1, "retry_wait": -0.1}, ValueError, "from 0 to 86400 seconds"),
        ({"retries": 1, "retry_wait": math.nan}, ValueError, "from 0 to 86400 seconds"),
        ({"retries": 1, "retry_wait": math.inf}, ValueError, "from 0 to 86400 seconds"),
        ({"retries": 1, "retry_wait": "1"}, TypeError, "a number of seconds"),
        ({"retries": 1, "retry_wait": True}, TypeError, "a number of seconds"),
        ({"on_lost": "raise"}, ValueError, '"retry" is needed, or "fail"'),
        ({"on_lost": True}, ValueError, "on_lost=True"),
        ({"speculate": 2}, TypeError, r"speculate=2\): True or False is needed"),
        ({"speculate": True, "on_lost": "fail"}, ValueError, "contradict each other"),
        ({"gpu": 2}, ValueError, r"gpu=2\): a task runs on one GPU at most"),
        ({"gpu": 1.5}, ValueError, "one GPU at most"),
        ({"gpu": math.inf}, ValueError, "one GPU at most"),
        ({"gpu": -0.5}, ValueError, r"a part of one GPU from 0\.0001 on"),
        ({"gpu": 0.00009}, ValueError, r"gpu=9e-05\): 0, 1, or a part"),
        ({"gpu": math.nan}, ValueError, "a part of one GPU"),
        ({"gpu": "0"}, TypeError, "a number is needed"),
        ({"gpu": True}, TypeError, "gpu=True"),
    ],
)
def test_nonsense_is_refused(given, error, sentence):
    with pytest.raises(error, match=sentence):
        settings(**given)


def test_limits_of_one_call_make_it_travel_alone():
    assert settings(timeout=1).alone
    assert settings(retries=1).alone
    assert settings(on_lost="fail").alone
    assert not settings(priority=1).alone


def test_a_type_of_retries_may_stand_alone():
    assert settings(retries=3, retry_on=OSError, retry_wait=2).retry_on == Retriable((OSError,))
    assert settings(retries=3, retry_on=(OSError, KeyError)) == settings(retries=3, retry_on=(OSError, KeyError))


def test_the_latest_word_about_losses_counts():
    once = settings(on_lost="fail")
    assert (once.once, once.riders["flags"]) == (True, 2)
    again = checked(once, count_gpus=lambda: 0, **{**NOTHING, "on_lost": "retry"})
    assert again == TaskSettings()


def test_what_must_not_begin_twice_is_not_begun_again_whichever_was_said_first():
    for said, more in (({"speculate": True}, {"on_lost": "fail"}), ({"on_lost": "fail"}, {"speculate": True})):
        with pytest.raises(ValueError, match="leave one of them out"):
            checked(settings(**said), count_gpus=lambda: 0, **{**NOTHING, **more})
    eager = settings(speculate=True)
    assert (eager.alone, eager.riders) == (False, TaskSettings().riders)


def test_no_retries_may_be_the_latest_word():
    some = settings(retries=3, retry_on=OSError, retry_wait=1)
    assert checked(some, count_gpus=lambda: 0, **{**NOTHING, "retries": 0}).retries == 0


def test_where_gpus_may_come_a_call_waits_and_that_is_said(caplog):
    assert settings(gpu=0.5, may_come=True).share == 5000
    assert caplog.messages == [
        "options(gpu=0.5): the broker has no GPU slot yet; calls wait until a node with one joins"
    ]
    caplog.clear()
    settings(gpu=1, gpu_slots=1, may_come=True)
    assert caplog.messages == []
