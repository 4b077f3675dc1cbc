# SPDX-License-Identifier: BSD-3-Clause
"""`optimize()` and slots with a GPU: pretended ones, since what is shown here is who is told what."""

from collections.abc import Iterator

import numpy as np
import pytest

import covey
from covey.node import local
from covey.node.counts import Counted
from covey.node.devices import Gpu
from covey.node.memory import Memory
from covey.node.offer import Offer

pytestmark = pytest.mark.slow

BOX = {"x": [-5, 5]}


@pytest.fixture(scope="module")
def client() -> Iterator[covey.Client]:
    offer = Offer(1, Counted(2, "a test"), (Gpu("GPU-aaaa", "Fake", 8, 8, 0),), "a test", Memory(1, 1, "a test"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "detect_offer", lambda **wishes: offer)
        with covey.Client() as client:
            yield client


def told(args, use_gpu):
    """Worse by a thousand where there is no GPU."""
    return np.abs(args["x"]) + (0 if use_gpu else 1000)


class Compiled:
    def __init__(self, use_gpu):
        self.made_for = use_gpu

    def __call__(self, args, use_gpu):
        assert self.made_for is use_gpu
        return told(args, use_gpu)


@pytest.mark.parametrize("fun", [told, Compiled])
@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_a_fitness_is_told_the_truth_of_its_slot(client, fun, mode):
    options = {"executor": client, "mode": mode, "inline": False, "on_error": "raise", "group_size": 20}
    only = covey.minimize(fun, BOX, gpu_policy="require_all", **options)
    assert only.workers_used == 1
    assert (only.history.mean < 1000).all()
    without = covey.minimize(fun, BOX, use_gpu=False, **options)
    assert without["fitness"][0] >= 1000
    preferred = covey.minimize(fun, BOX, gpu_policy="prefer_gpu", **options)
    assert preferred["fitness"][0] < 1000


@pytest.mark.parametrize("fun", [told, Compiled])
def test_a_cheap_fitness_is_not_taken_away_from_its_gpu(client, fun):
    found = covey.minimize(
        fun, BOX, gpu_policy="require_all", executor=client, on_error="raise", group_size=20, iterations=30
    )
    assert found.workers_used == 1
    assert (found.history.mean[:, 0] < 1000).all()
