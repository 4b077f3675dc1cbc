# SPDX-License-Identifier: BSD-3-Clause
"""Arrays cut into blocks of columns, and put together again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.distributed.blocks import is_array, join, split
from covey.errors import BadBlocks


def squares(x):
    return x * x


@given(st.integers(0, 40), st.integers(1, 9), st.integers(0, 2))
def test_blocks_are_balanced_and_whole(columns, count, more_axes):
    x = np.arange(columns * 3**more_axes).reshape((3,) * more_axes + (columns,))
    blocks = split(x, count)
    sizes = [block.shape[-1] for block in blocks]
    assert len(blocks) == max(1, min(count, columns))
    assert sum(sizes) == columns
    assert max(sizes) - min(sizes) <= 1
    assert np.array_equal(join([squares(block) for block in blocks], blocks), squares(x))


def test_the_first_blocks_are_the_larger_ones():
    assert [block.size for block in split(np.arange(5), 2)] == [3, 2]


def test_blocks_are_views():
    x = np.zeros((4, 6))
    assert all(block.base is x for block in split(x, 3))


def test_dtypes_survive():
    for dtype in ("int8", "float32", "complex128", "datetime64[s]", "U3", [("a", "i4"), ("b", "f8")]):
        x = np.zeros(7, dtype)
        blocks = split(x, 3)
        assert join(blocks, blocks).dtype == x.dtype


def test_masks_survive():
    x = np.ma.masked_greater(np.arange(6), 3)
    blocks = split(x, 2)
    assert join(blocks, blocks).mask.tolist() == x.mask.tolist()


def test_lists_of_one_result_a_column_become_an_array():
    blocks = split(np.arange(4), 2)
    assert join([[1, 2], [3, 4]], blocks).tolist() == [1, 2, 3, 4]


def test_more_rows_may_come_back_than_went():
    blocks = split(np.arange(4.0), 2)
    assert join([np.vstack([b, b]) for b in blocks], blocks).shape == (2, 4)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.array(3.0), "0-d array"),
        (np.array([[1, 2], [3]], dtype=object), "Python objects"),
    ],
)
def test_what_cannot_be_cut_is_refused(array, sentence):
    with pytest.raises(BadBlocks, match=sentence):
        split(array, 2)


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ([1.0, 2.0], "block 0 has 2 columns and the function returned a single value"),
        ([np.zeros(2), np.zeros(1)], "block 1 has 2 columns and the function returned 1 columns"),
        ([np.zeros((2, 2)), np.zeros((3, 2))], r"shapes \(2, 2\), \(3, 2\)"),
        ([[[1, 2], [3]], [1, 2]], "no array"),
        ([None, None], "a single value"),
    ],
)
def test_what_does_not_fit_together_is_refused(results, sentence):
    with pytest.raises(BadBlocks, match=sentence):
        join(results, split(np.arange(4), 2))


def test_only_arrays_are_arrays():
    assert is_array(np.zeros(1))
    assert not is_array([0])
    assert not is_array(np.float64(1))
