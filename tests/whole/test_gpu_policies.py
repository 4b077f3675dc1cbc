# SPDX-License-Identifier: BSD-3-Clause
"""The words about GPUs in `distribute()`, each over machines with a GPU and without: which places compute."""

import os
import threading

import pytest

import covey
from covey.client.options import NEEDS_ANY, NEEDS_CPU, NEEDS_GPU, NEEDS_GPU_FIRST, TaskSettings
from far_node import far_node
from gates import hold
from waiting import wait_until

pytestmark = pytest.mark.slow

HERE, PLAIN, BESIDE, ON_GPU = (None, False), ("plain", False), ("rich", False), ("rich", True)
QUARTER = TaskSettings(needs=NEEDS_GPU, share=2500)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A CPU here, one on a machine without a GPU, one on a machine with a GPU, and that GPU."""
    folder = tmp_path_factory.mktemp("far")
    with (
        far_node(folder, "plain") as plain,
        far_node(folder, "rich", gpus=["GPU-a"]) as rich,
        covey.Client(machines=[plain.machine, rich.machine], max_cpu=1) as client,
    ):
        wait_until(lambda: client._node.machines.capacity == (1, 1, 1), client._node.loop.nodes)
        yield client


def place(folder, use_gpu):
    here = covey.current()
    assert use_gpu == here.is_gpu == bool(os.environ["CUDA_VISIBLE_DEVICES"])
    hold(folder)
    return here.node, here.is_gpu


@pytest.mark.parametrize(
    ("words", "places"),
    [
        ({}, {HERE, PLAIN, BESIDE, ON_GPU}),
        ({"use_gpu": True}, {HERE, PLAIN, BESIDE, ON_GPU}),
        ({"use_gpu": False}, {HERE, PLAIN, BESIDE}),
        ({"gpu_policy": "no_gpu"}, {HERE, PLAIN, BESIDE}),
        ({"gpu_policy": "prefer_gpu"}, {HERE, PLAIN, ON_GPU}),
        ({"gpu_policy": "require_all"}, {ON_GPU}),
    ],
)
def test_the_places_that_compute(client, gate, words, places):
    found = []
    distributed = covey.distribute(place, executor=client, **words)
    caller = threading.Thread(target=lambda: found.extend(distributed([gate.folder] * 8)))
    caller.start()
    try:
        # All of them at once: none of these places is left idle.
        gate.wait_arrivals(len(places))
    finally:
        gate.open()
        caller.join()
    assert set(found) == places
    assert len(found) == 8


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (TaskSettings(needs=NEEDS_CPU), 3),
        (TaskSettings(needs=NEEDS_ANY), 4),
        (TaskSettings(needs=NEEDS_GPU_FIRST), 3),
        (TaskSettings(needs=NEEDS_GPU), 1),
        (QUARTER, 4),
    ],
)
def test_an_array_is_cut_for_those_places(client, settings, count):
    assert client.slots_for(settings) == count


def test_gpus_and_nothing_else_where_there_is_none():
    sentence = r"wants GPUs and nothing else \(gpu_policy='require_all'\)"
    with (
        covey.distribute(abs, max_cpu=1, gpu_policy="require_all") as dabs,
        pytest.raises(ValueError, match=sentence),
    ):
        dabs([1])
