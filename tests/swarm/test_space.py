# SPDX-License-Identifier: BSD-3-Clause
"""Parameters: every form of bounds, the way to inner coordinates and back, and what is refused."""
import math
from typing import Any

import numpy as np
import pytest

from covey.swarm import Choice, Integer, Real, Space
from covey.swarm.algorithm import Domain


def test_an_array_has_hard_bounds_and_no_names() -> None:
    space = Space.of([[-1, 2], [0, 10]])
    assert space.names is None
    assert space.dimension == 2
    np.testing.assert_array_equal(space.lower, [-1, 0])
    np.testing.assert_array_equal(space.upper, [2, 10])
    np.testing.assert_array_equal(space.init_lower, [-1, 0])
    assert Space.of(space) is space


def test_two_numbers_of_a_name_are_where_the_search_starts() -> None:
    space = Space.of({"tau": [1, 2], "gain": (0, 0.5, 1.5, 9), "bias": [-np.inf, -1, 1, 3.0]})
    assert space.names == ("tau", "gain", "bias")
    np.testing.assert_array_equal(space.lower, [-np.inf, 0, -np.inf])
    np.testing.assert_array_equal(space.upper, [np.inf, 9, 3])
    np.testing.assert_array_equal(space.init_lower, [1, 0.5, -1])
    np.testing.assert_array_equal(space.init_upper, [2, 1.5, 1])


def test_rich_forms_may_be_mixed_with_plain_ones() -> None:
    space = Space.of({"rate": Real(1e-6, 1, log=True, init=(1e-4, 1e-2)), "n": Integer(2, 5), "x": [0, 1]})
    inner = space.encode([[1e-4, 2, 0], [1e-2, 5, 1], [1e-3, 3, 0.5]])
    np.testing.assert_allclose(inner[:, 0], [0, 1, 0.5], atol=1e-12)
    np.testing.assert_allclose(space.decode(inner), [[1e-4, 2, 0], [1e-2, 5, 1], [1e-3, 3, 0.5]])
    nameless = Space.of([Real(0, 1), Choice("ab")])
    assert nameless.names is None
    assert nameless.dimension == 2


def test_each_whole_number_has_an_equal_part_of_the_inner_interval() -> None:
    space = Space.of([Integer(1, 4)])
    x = space.decode(np.linspace(0, 1, 4001)[:, None])[:, 0]
    counts = np.unique(x, return_counts=True)
    np.testing.assert_array_equal(counts[0], [1, 2, 3, 4])
    assert np.ptp(counts[1]) <= 1
    np.testing.assert_allclose(Domain.of(space).grain, [0.25])


def test_columns_hold_what_the_function_expects() -> None:
    objects = (None, ("a", 1), len)
    space = Space.of({"n": Integer(0, 9), "c": Choice(objects), "x": Real(0, 1)})
    positions = np.array([[3.0, 2.0, 0.25], [0.0, 0.0, 0.75]])
    columns = space.columns(positions)
    assert columns["n"].dtype == np.int64
    assert list(columns["n"]) == [3, 0]
    assert list(columns["c"]) == [len, None]
    columns["x"][:] = 9      # a fitness may do as it likes
    assert positions[0, 2] == 0.25
    assert space.matrix(positions).shape == (3, 2)
    assert space.matrix(positions).flags.c_contiguous


def test_decoding_never_leaves_the_bounds_by_a_bit() -> None:
    rng = np.random.default_rng(0)
    lower = rng.normal(size=200) * 10.0 ** rng.integers(-8, 8, 200)
    space = Space.of(np.stack([lower, lower + rng.random(200) * 10.0 ** rng.integers(-3, 8, 200)], axis=1))
    for inner in (0.0, 1.0, 1.0 + 1e-16, 7.0, -3.0):
        x = space.decode(np.full((1, 200), inner))
        assert (x >= space.lower).all()
        assert (x <= space.upper).all()


def test_what_is_unbounded_ends_at_a_number() -> None:
    scale = Real(1e-3, np.inf, log=True, init=(1, 2))
    space = Space.of({"a": [0, 1], "b": [-1e149, 1e149], "c": [0, 1, 2, np.inf], "d": scale})
    domain = Domain.of(space)
    assert np.isfinite(domain.lower).all()
    assert np.isfinite(domain.upper).all()
    for inner in (domain.lower, domain.upper):
        assert np.isfinite(space.decode(inner[None])).all()


def test_a_space_comes_back_from_its_state() -> None:
    space = Space.of({"rate": Real(1e-6, 1, log=True), "n": Integer(2, 5), "c": Choice(["p", "q"]), "x": [0, 1]})
    again = Space.from_state(space.state())
    assert again.names == space.names
    assert again.ranges == space.ranges
    assert Space.from_state(Space.of([[0, 1]]).state()).names is None


@pytest.mark.parametrize(("bounds", "sentence"), [
    ([[2, 1]], r"row 0 of the bounds: the bounds are swapped: 2 is above 1"),
    ({"tau": [2, 1]}, r"parameter 'tau': the bounds are swapped: 2 is above 1"),
    ({"tau": [9, 1, 2, 3]}, r"parameter 'tau': the bounds are swapped: 9 is above 3"),
    ({"tau": [1, 1]}, r"parameter 'tau': both ends are 1; leave out"),
    ({"tau": Integer(3, 3)}, r"parameter 'tau': both ends are 3"),
    ({"tau": [0, float("nan")]}, r"parameter 'tau': a bound is NaN"),
    ([[0, 1], [0, np.nan]], r"row 1 of the bounds: a bound is NaN"),
    ([[0, np.inf]], r"row 0 of the bounds: the search must start in finite bounds"),
    ({"tau": [0, 1, 2, 1.5]}, r"parameter 'tau': the search starts in \[1, 2\], which leaves the bounds \[0, 1.5\]"),
    ({"tau": [1, 2, 3]}, r"parameter 'tau' wants .*and this has 3 numbers"),
    ({"tau": "wide"}, r"parameter 'tau' wants .*not 'wide'"),
    ({"tau": 3}, r"parameter 'tau' wants .*not 3"),
    ({"tau": ["a", "b"]}, r"parameter 'tau': bounds are numbers, not 'a'"),
    ({"tau": Real(0, 1, log=True)}, r"parameter 'tau': log=True wants bounds above 0, and the lower one is 0"),
    ({"tau": Integer(0, 2**60)}, r"parameter 'tau': whole numbers beyond 2\*\*53 cannot be told from their neighbours"),
    ({"tau": Integer(0, math.inf)}, r"parameter 'tau': the search must start in finite bounds"),   # type: ignore[arg-type]
    ({"tau": Integer(0, 2.5)}, r"parameter 'tau': the ends of an Integer are whole numbers"),    # type: ignore[arg-type]
    ({"tau": Choice(["only"])}, r"parameter 'tau' is a Choice of 1"),
    ({"tau": [1e200, 2e200]}, r"parameter 'tau': bounds beyond"),
    ({"tau": [1.0, 1.0000000000000002]}, r"parameter 'tau': there is no number between"),
    ({3: [0, 1]}, r"names of parameters are strings, and 3 is of type int"),
    ({}, r"there are no parameters"),
    ([], r"there are no parameters"),
    ([1, 2], r"bounds are an array of one row .* has the shape \(2,\)"),
    ([[0, 1, 2]], r"has the shape \(1, 3\)"),
    ("bounds", r"bounds are an array"),
    ([[0, 1], [2]], r"bounds are an array"),
])
def test_bad_bounds_get_one_sentence(bounds: Any, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        Space.of(bounds)
    assert "\n" not in str(caught.value)


def test_positions_of_another_shape_are_refused() -> None:
    space = Space.of([[0, 1]] * 3)
    with pytest.raises(ValueError, match=r"\(n, 3\)"):
        space.encode([[1, 2]])
    with pytest.raises(ValueError, match="NaN"):
        space.encode([[1, 2, np.nan]])
    with pytest.raises(ValueError, match="3 numbers in each row, and these have 2"):
        space.decode(np.zeros((1, 2)))
