# SPDX-License-Identifier: BSD-3-Clause
"""How large bundles get: facts in, sizes out."""

import pytest

from covey.client.bundles import ALONE_ABOVE, GROWTH, MOST_ITEMS, SMALL, WINDOW_BYTES, Sizer


def grown(sizer: Sizer, item_seconds: float, bundles: int = 30) -> Sizer:
    """The sizer after it has seen so many bundles, each as large as it wished."""
    for _ in range(bundles):
        size = sizer.size(0, 0)
        sizer.on_done(size, size * item_seconds)
    return sizer


def test_begins_with_single_items():
    assert Sizer(2, None, None, None).size(0, 0) == 1


def test_grows_at_most_by_the_factor():
    sizer = Sizer(2, None, None, None)
    sizer.on_done(1, 1e-7)
    assert sizer.size(1, 0) == GROWTH
    sizer.on_done(GROWTH, GROWTH * 1e-7)
    assert sizer.size(1 + GROWTH, 0) == GROWTH * GROWTH


def test_fast_calls_travel_in_large_bundles():
    assert grown(Sizer(2, None, None, None), 1e-8).size(0, 0) == MOST_ITEMS


@pytest.mark.parametrize("item_seconds", [2e-6, 1e-5, 1e-4, 5e-4])
def test_a_bundle_holds_some_milliseconds_of_work(item_seconds):
    size = grown(Sizer(2, None, None, None), item_seconds).size(0, 0)
    assert 0.004 <= size * item_seconds <= 0.010


def test_slow_calls_travel_alone():
    assert grown(Sizer(2, None, None, None), ALONE_ABOVE).size(0, 0) == 1


def test_heavy_tails_travel_alone():
    sizer = Sizer(2, None, None, None)
    for _ in range(10):
        for milliseconds in (1, 1, 1, 2, 100):
            sizer.on_done(1, milliseconds / 1000)
            assert sizer.size(0, 0) == 1


def test_shrinks_toward_a_known_end():
    sizer = grown(Sizer(2, None, None, 1_000_000), 1e-6)
    sizes = [sizer.size(pulled, 0) for pulled in (0, 900_000, 990_000, 999_000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 5


def test_does_not_shrink_to_nothing():
    sizer = grown(Sizer(2, None, None, 1_000_000), 1e-6)
    assert sizer.size(999_999, 0) >= 100


def test_slow_iterables_give_small_bundles():
    sizer = Sizer(2, None, None, None)
    for _ in range(30):
        size = sizer.size(0, 0)
        sizer.on_pulled(size, size * 0.002)
        sizer.on_done(size, size * 1e-7)
    assert sizer.size(0, 0) <= 5


def test_large_items_give_small_bundles():
    sizer = grown(Sizer(2, None, None, None), 1e-6)
    sizer.on_sample(1 << 20)
    assert sizer.size(0, 0) <= 4


def test_large_items_bound_what_is_under_way():
    sizer = grown(Sizer(2, None, None, None), 1e-6)
    sizer.on_sample(16 << 20)
    assert sizer.ahead(1) * (16 << 20) <= WINDOW_BYTES


def test_chunksize_is_kept():
    sizer = grown(Sizer(2, 7, None, None), 1e-8)
    assert sizer.size(0, 0) == 7


def test_buffersize_bounds_the_bundle():
    sizer = Sizer(2, 100, 10, None)
    assert sizer.size(0, 0) == 10
    assert sizer.size(8, 8) == 2


def test_a_buffer_is_shared_by_the_slots():
    assert grown(Sizer(2, None, 100, None), 1e-8).size(0, 0) <= 25


def test_small_known_lengths_are_sent_at_once():
    assert Sizer(2, None, None, 200).depth(1) >= 200
    assert Sizer(2, None, None, SMALL + 1).depth(1) < SMALL


def test_every_slot_has_more_than_one_bundle_under_way():
    for item_seconds in (1e-8, 1e-4, 1.0):
        sizer = grown(Sizer(4, None, None, None), item_seconds)
        assert sizer.depth(sizer.size(0, 0)) > 8
    assert Sizer(4, None, None, None).depth(1) > 8


def test_few_bundles_are_under_way_while_they_grow():
    sizer = Sizer(2, None, None, None)
    sizer.on_done(1, 1e-7)
    assert sizer.depth(sizer.size(1, 0)) <= 8


def test_small_bundles_of_fast_calls_are_sent_many_at_a_time():
    sizer = grown(Sizer(2, 1, None, None), 1e-6)
    assert sizer.depth(1) >= 512
