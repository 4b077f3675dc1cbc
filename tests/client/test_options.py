# SPDX-License-Identifier: BSD-3-Clause
"""Settings that ride beside a call: what is taken, what is refused, and in which words."""

import math

import pytest

from covey.client.options import NEEDS_GPU, TaskSettings, checked


def settings(gpu_slots=0, **given):
    wishes = {"priority": None, "timeout": None, "retries": None, "gpu": None, **given}
    return checked(TaskSettings(), gpu_slots=gpu_slots, **wishes)


def test_nothing_given_changes_nothing():
    assert settings() == TaskSettings()


def test_what_is_given_is_taken():
    assert settings(priority=-3, timeout=2, retries=4) == TaskSettings(priority=-3, timeout=2.0, retries=4)


def test_a_gpu_is_taken_where_there_is_one():
    assert settings(gpu=1, gpu_slots=1).needs == NEEDS_GPU
    with pytest.raises(ValueError, match="no GPU slot"):
        settings(gpu=1)


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
        ({"gpu": 2}, ValueError, "one GPU or on none"),
        ({"gpu": "0"}, TypeError, "whole number"),
    ],
)
def test_nonsense_is_refused(given, error, sentence):
    with pytest.raises(error, match=sentence):
        settings(**given)


def test_limits_of_one_call_make_it_travel_alone():
    assert settings(timeout=1).alone
    assert settings(retries=1).alone
    assert not settings(priority=1).alone
