# SPDX-License-Identifier: BSD-3-Clause
"""Numbers by place: the same place gives the same number, other places others, spread as they should be."""
import numpy as np
import pytest

from covey.swarm.draws import CHOICES, SAMPLES, Draws


def test_a_number_depends_on_its_place_alone() -> None:
    draws = Draws(42)
    whole = draws.uniforms(SAMPLES, 3, 0, (50, 7))
    for first in (0, 1, 17, 49):
        np.testing.assert_array_equal(draws.uniforms(SAMPLES, 3, first, (1, 7))[0], whole[first])
    np.testing.assert_array_equal(Draws(42).normals(SAMPLES, 3, 5, (2, 7)), draws.normals(SAMPLES, 3, 0, (50, 7))[5:7])


def test_other_places_have_other_numbers() -> None:
    pages = [
        Draws(seed).uniforms(stream, step, 0, (20, 20))
        for seed in (1, 2) for stream in (SAMPLES, CHOICES) for step in (0, 1, 2)
    ]
    assert len(np.unique(np.concatenate([page.ravel() for page in pages]))) == len(pages) * 400


def test_numbers_are_spread_as_they_should_be() -> None:
    u = Draws(7).uniforms(SAMPLES, 0, 0, (4000, 50))
    assert 0 < u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    assert abs(u.mean() - 0.5) < 0.003
    assert abs(u.var() - 1 / 12) < 0.001
    # Neighbours in each direction know nothing of each other.
    assert abs(np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1]) < 0.01
    z = Draws(7).normals(SAMPLES, 1, 0, (4000, 51))
    assert abs(z.mean()) < 0.01
    assert abs(z.var() - 1) < 0.015
    assert abs((z**4).mean() - 3) < 0.1
    assert abs(np.corrcoef(z[:, :-1].ravel(), z[:, 1:].ravel())[0, 1]) < 0.01


def test_a_fresh_seed_is_remembered() -> None:
    draws = Draws(None, entropy=lambda count: b"\x01" + bytes(count - 1))
    assert draws.seed == 1
    assert Draws().seed != Draws().seed
    assert Draws(1).seed_of(0) != Draws(1).seed_of(1) != Draws(2).seed_of(1)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", True])
def test_what_is_no_seed_is_refused(seed: object) -> None:
    with pytest.raises((TypeError, ValueError), match="seed is a whole number from 0"):
        Draws(seed)     # type: ignore[arg-type]  # on purpose
