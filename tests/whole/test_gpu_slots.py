# SPDX-License-Identifier: BSD-3-Clause
"""Slots with a GPU: real processes with pretended GPUs, and, where there is one, a real one."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

import covey
from covey.distributed.call import adapted
from covey.node import local
from covey.node.counts import Counted
from covey.node.devices import Gpu
from covey.node.memory import Memory
from covey.node.offer import Offer
from gates import hold

TWO = (Gpu("GPU-aaaa", "Fake", 8, 8, 0), Gpu("MIG-bbbb", "Fake", 8, 8, 1, is_mig=True))


def offer(cpus=1, gpus=TWO):
    return Offer(cpus, Counted(2, "a test"), gpus[:], "a test", Memory(1, 1, "a test"))


@pytest.fixture(scope="module")
def client() -> Iterator[covey.Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "detect_offer", lambda **wishes: offer())
        with covey.Client() as client:
            yield client


def where():
    here = covey.current()
    return here, os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("CUDA_DEVICE_ORDER"), os.getpid()


def test_the_client_knows_its_slots(client):
    assert (client.slots, client.gpu_slots) == (1, 2)
    assert client.statistics().slots == 3


def test_a_task_on_a_cpu_sees_no_gpu(client):
    here, shown, _, _ = client.submit(where).result()
    assert (here.host, here.slot, here.attempt, here.gpus, here.node) == (os.uname().nodename, 1, 1, (), None)
    assert not here.is_gpu
    assert shown == ""


def test_a_task_on_a_gpu_sees_exactly_that_one(client, gate):
    def held(folder):
        hold(folder)
        return where()

    both = [client.options(gpu=1).submit(held, gate.folder) for _ in range(2)]
    gate.wait_arrivals(2)
    gate.open()
    found = sorted((future.result() for future in both), key=lambda each: each[0].slot)
    assert [(here.slot, here.gpus, shown, order) for here, shown, order, _ in found] == [
        (2, ("GPU-aaaa",), "GPU-aaaa", "PCI_BUS_ID"),
        (3, ("MIG-bbbb",), "MIG-bbbb", "PCI_BUS_ID"),
    ]
    assert all(here.is_gpu for here, *_ in found)


def test_what_a_task_makes_of_its_environment_changes_nothing_that_it_is_told(client):
    def spoil():
        os.environ["CUDA_VISIBLE_DEVICES"] = "7"
        return covey.current().gpus

    assert client.options(gpu=1).submit(spoil).result() in (("GPU-aaaa",), ("MIG-bbbb",))


def test_a_map_over_gpus(client):
    found = set(client.options(gpu=1).map(lambda _: covey.current().is_gpu, range(20)))
    assert found == {True}
    assert set(client.map(lambda _: covey.current().is_gpu, range(20))) == {False}


def test_a_function_is_told_whether_it_has_a_gpu(client):
    def told(x, use_gpu=None):
        return use_gpu

    assert covey.distribute(told, executor=client, use_gpu=False)([1, 2]) == [False, False]
    assert covey.distribute(told, executor=client, gpu_policy="prefer_gpu")([1, 2]) == [True, True]
    assert covey.distribute(told, executor=client, gpu_policy="require_all")([1, 2]) == [True, True]
    assert client.options(gpu=1).submit(adapted(told, None), 1).result() is True
    assert covey.distribute(told, inline=True)([1]) == [False]


def test_one_call_a_slot_is_for_those_that_the_policy_names(client):
    def called(**words):
        return sorted(covey.distribute(lambda _: covey.current().is_gpu, executor=client, **words)(None))

    assert called() == [False, True, True]
    assert called(use_gpu=False) == [False]
    assert called(gpu_policy="require_all") == [True, True]


def test_a_context_on_a_cpu_is_refused_by_name(client):
    with pytest.raises(covey.CoveyError, match="called in CPU slot 1 on "):
        client.submit(lambda: covey.gpu.context()).result()  # `covey.gpu` is looked up in the slot


@pytest.mark.faults
def test_a_slot_that_dies_is_replaced_with_its_gpu_and_the_attempt_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "detect_offer", lambda **wishes: offer(gpus=TWO[:1]))
    path = str(tmp_path / "once")

    def die_once():
        if not os.path.exists(path):
            open(path, "w").close()
            os._exit(1)
        here = covey.current()
        return here.slot, here.attempt, here.gpus

    with covey.Client() as client:
        assert client.options(gpu=1).submit(die_once).result() == (2, 2, ("GPU-aaaa",))


def test_the_node_says_what_each_slot_has(client):
    client.options(gpu=1).submit(where).result()
    client.submit(where).result()
    rows = {row["number"]: row for row in client._node.slots()}
    assert rows[1]["gpu"] is None
    assert all(row["memory"] > 1 << 20 for row in rows.values())
    assert {rows[number]["gpu"] for number in rows if number > 1} <= {"GPU-aaaa", "MIG-bbbb"}


def test_wishes_reach_the_node(monkeypatch):
    seen = []

    def look(**wishes):
        seen.append(wishes)
        return offer(gpus=())

    monkeypatch.setattr(local, "detect_offer", look)
    with covey.Client(max_cpu=1, max_gpu=3, gpus=["GPU-a"], min_gpu_memory=5) as client:
        assert client.gpu_slots == 0
    (wishes,) = seen
    asked = {name: wishes[name] for name in ("max_cpu", "max_gpu", "gpus", "min_gpu_memory")}
    assert asked == {"max_cpu": 1, "max_gpu": 3, "gpus": ["GPU-a"], "min_gpu_memory": 5}


def test_a_client_without_a_cpu_is_refused():
    with pytest.raises(ValueError, match=r"max_cpu=0\) leaves nothing that could run a call, unless it asks for a GPU"):
        covey.Client(max_cpu=0)


def double_on_gpu(x):
    import pycuda.driver as driver
    from pycuda.compiler import SourceModule

    covey.gpu.context()
    kernel = SourceModule("__global__ void twice(float* x) { x[threadIdx.x] *= 2; }").get_function("twice")
    kernel(driver.InOut(x), block=(len(x), 1, 1), grid=(1, 1))
    return x, driver.Device.count()


@pytest.mark.gpu
@pytest.mark.slow
def test_a_real_gpu_doubles_ones(shown_gpus):
    pytest.importorskip("pycuda.driver", reason="PyCUDA is not installed", exc_type=ImportError)
    with covey.Client(max_cpu=1) as client:
        doubled, seen = client.options(gpu=1).submit(double_on_gpu, np.ones(64, dtype=np.float32)).result(120)
        again, _ = client.options(gpu=1).submit(double_on_gpu, doubled).result(120)
    assert seen == 1
    assert (doubled == 2).all()
    assert (again == 4).all()
