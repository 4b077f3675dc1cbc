# SPDX-License-Identifier: BSD-3-Clause
"""The book of points in flight: what is handed through it stays what it was, whole rounds and stragglers alike."""
import numpy as np

from covey.swarm.draws import Indices, Vector
from covey.swarm.flight import Flight


def points(first: int, count: int) -> tuple[Vector, Indices]:
    tags = np.arange(first, first + count)
    return np.stack([tags, -tags], axis=1).astype(np.float64), tags


def test_a_round_that_was_taken_is_the_takers_own() -> None:
    flight = Flight(2)
    flight.tell(flight.add(*points(0, 5)), np.arange(5.0))
    taken = flight.take()
    taken.x[:], taken.values[:] = 7.0, 7.0
    flight.tell(flight.add(*points(5, 5)), np.arange(5.0) - 1)
    assert (taken.x == 7.0).all()
    assert (taken.values == 7.0).all()
    np.testing.assert_array_equal(taken.ids, np.arange(5))
    again = flight.take()
    np.testing.assert_array_equal(again.x, points(5, 5)[0])
    np.testing.assert_array_equal(again.ids, np.arange(5, 10))


def test_values_that_were_told_may_be_changed_afterwards() -> None:
    flight = Flight(2)
    values = np.arange(3.0)
    flight.tell(flight.add(*points(0, 3)), values)
    values[:] = 9.0
    np.testing.assert_array_equal(flight.take().values, [0, 1, 2])


def test_rows_belong_to_their_ids_however_many_join_a_straggler() -> None:
    flight = Flight(2)
    straggler = flight.add(*points(0, 1))
    for first in range(1, 200, 3):
        ids = flight.add(*points(first, 3))
        flight.tell(ids[::-1], np.asarray(ids[::-1], dtype=np.float64))
        taken = flight.take()
        np.testing.assert_array_equal(taken.tags, taken.ids)
        np.testing.assert_array_equal(taken.x[:, 0], taken.values)
    flight.tell(straggler, np.array([-1.0]))
    assert flight.take().ids.tolist() == [0]
    assert flight.best_value == -1.0
    np.testing.assert_array_equal(flight.best_x, [0.0, 0.0])


def test_in_a_whole_round_what_is_not_finite_is_the_worst() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        flight = Flight(2)
        flight.tell(flight.add(*points(0, 3)), np.array([5.0, bad, 4.0]))
        np.testing.assert_array_equal(flight.take().values, [5.0, np.inf, 4.0])
        assert flight.best_value == 4.0
