# SPDX-License-Identifier: BSD-3-Clause
"""What `max_cpu` and `max_gpu` mean."""

import warnings

import numpy
import pytest

from covey.node import counts
from covey.node.counts import Counted, resolve_count


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_said", set())


@pytest.mark.parametrize(("asked", "count"), [(None, 4), (1, 1), (4, 4), (0, 0), (-1, 3), (-3, 1), (numpy.int64(2), 2)])
def test_counts(asked: int | None, count: int) -> None:
    assert resolve_count(asked, Counted(4, "a test")) == count


def test_a_count_that_leaves_nothing() -> None:
    with pytest.raises(ValueError, match=r"max_cpu=-4 means all CPUs but 4, and only 4 may be used here \(a test\)"):
        resolve_count(-4, Counted(4, "a test"))


@pytest.mark.parametrize("asked", [1.0, "2", True, False, [1], object()])
def test_nonsense(asked: object) -> None:
    with pytest.raises(TypeError, match="max_gpu counts GPUs, so it is an int or None") as caught:
        resolve_count(asked, Counted(4, "a test"), name="max_gpu", what="GPUs")  # type: ignore[arg-type]
    assert repr(asked) in str(caught.value)


def test_too_many_are_clipped_and_it_is_said_once_at_the_users_line() -> None:
    with pytest.warns(UserWarning, match=r"max_cpu=9 is more than the 4 available \(a test\): using those") as warned:
        assert resolve_count(9, Counted(4, "a test")) == 4
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_count(9, Counted(4, "a test")) == 4


@pytest.mark.parametrize(("asked", "present", "count"), [(-1, 1, 0), (-1, 0, 0), (-3, 2, 0), (-1, 4, 3), (0, 0, 0)])
def test_all_but_n_gpus_may_leave_none(asked: int, present: int, count: int) -> None:
    assert resolve_count(asked, Counted(present, "a test"), name="max_gpu", what="GPUs", may_be_none=True) == count
