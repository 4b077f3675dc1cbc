# SPDX-License-Identifier: BSD-3-Clause
"""Tasks that take a part of a GPU: how many run at once, where, who waits; on pretended GPUs, here and elsewhere."""

import os
import signal
import threading
from collections import Counter

import pytest

import covey
from covey.node import local
from covey.node.counts import Counted
from covey.node.devices import Gpu
from covey.node.memory import Memory
from covey.node.offer import Offer
from far_node import far_node
from gates import arrive, hold
from waiting import wait_until

pytestmark = pytest.mark.slow

TWO = (Gpu("GPU-a", "Fake", 8, 8, 0), Gpu("GPU-b", "Fake", 8, 8, 1))


@pytest.fixture
def with_gpus(monkeypatch):
    """Says which GPUs this machine has."""

    def pretend(*gpus, cpus=1):
        offer = Offer(cpus, Counted(2, "a test"), gpus, "a test", Memory(1, 1, "a test"))
        monkeypatch.setattr(local, "detect_offer", lambda **wishes: offer)

    return pretend


def held(folder):
    here = covey.current()
    hold(folder)
    return os.getpid(), here.gpus, os.environ["CUDA_VISIBLE_DEVICES"], here.gpu_share


def running(client):
    return client.statistics().running


def check_four_share_one(client, gate):
    """Four quarters at once, in four processes on one GPU, while a task that wants all of it waits for each of them."""
    quarters = [client.options(gpu=0.25).submit(held, gate.folder) for _ in range(4)]
    assert len(set(gate.wait_arrivals(4))) == 4
    whole = client.options(gpu=1).submit(held, gate.folder)
    fifth = client.options(gpu=0.25).submit(held, gate.folder)
    # What has gone the same way behind it is here, so it is there.
    assert client.submit(abs, -1).result(20) == 1
    assert not whole.running()
    gate.open()
    found = [future.result(20) for future in quarters]
    assert len({pid for pid, *_ in found}) == 4
    assert {rest for _, *rest in map(tuple, found) for rest in [tuple(rest)]} == {(("GPU-a",), "GPU-a", 0.25)}
    assert whole.result(20)[1:] == (("GPU-a",), "GPU-a", 1.0)
    assert fifth.result(20)[3] == 0.25


def test_four_quarters_run_at_once_and_a_whole_one_waits(with_gpus, gate):
    with_gpus(TWO[0])
    with covey.Client() as client:
        check_four_share_one(client, gate)
        assert client.gpu_slots == 1, "GPUs are counted, not the slots on them"
        assert client.statistics().slots_up == 5


def test_the_same_on_a_node_of_another_program(tmp_path, gate):
    with far_node(tmp_path, gpus=["GPU-a"]) as far, covey.Client(machines=[far.machine], max_cpu=0) as client:
        check_four_share_one(client, gate)
        assert client.gpu_slots == 1


def test_a_whole_task_runs_alone(with_gpus, tmp_path):
    with_gpus(TWO[0])
    log = str(tmp_path / "log")

    def note(kind):
        import time

        with open(log, "a") as file:
            file.write(f"{kind}+")
        time.sleep(0.01)        # work
        with open(log, "a") as file:
            file.write(f"{kind}-")

    with covey.Client() as client:
        futures = [client.options(gpu=size).submit(note, kind) for size, kind in [(0.5, "p"), (0.5, "p"), (1, "w")] * 8]
        for future in futures:
            future.result(20)
    told = (tmp_path / "log").read_text()
    assert told.count("w+w-") == 8, told


def test_halves_on_two_gpus_are_never_three_on_one(with_gpus, gate):
    with_gpus(*TWO)
    with covey.Client() as client:
        halves = [client.options(gpu=0.5).submit(held, gate.folder) for _ in range(6)]
        gate.wait_arrivals(4)
        assert client.submit(abs, -1).result(20) == 1
        assert running(client) == 4
        gate.open()
        found = [future.result(20) for future in halves]
    first = found[:4]
    assert Counter(shown for _, _, shown, _ in first) == {"GPU-a": 2, "GPU-b": 2}


def test_a_part_that_does_not_fit_waits(with_gpus, gate):
    with_gpus(TWO[0])
    with covey.Client() as client:
        futures = [client.options(gpu=size).submit(held, gate.folder) for size in (0.6, 0.3, 0.2)]
        gate.wait_arrivals(2)
        assert client.submit(abs, -1).result(20) == 1
        assert running(client) == 2
        gate.open()
        assert [future.result(20)[3] for future in futures] == [0.6, 0.3, 0.2]


def test_cpus_go_on_beside(with_gpus, gate):
    with_gpus(TWO[0], cpus=2)
    with covey.Client() as client:
        parts = [client.options(gpu=0.5).submit(held, gate.folder) for _ in range(2)]
        gate.wait_arrivals(2)
        assert list(client.map(lambda x: (x, covey.current().gpu_share), range(50))) == [(x, 0.0) for x in range(50)]
        gate.open()
        assert len({part.result(20)[0] for part in parts}) == 2


def test_a_map_fills_the_parts(with_gpus, gate):
    with_gpus(TWO[0])
    with covey.Client() as client:
        found = client.options(gpu=0.25).map(held, [gate.folder] * 8)
        gate.wait_arrivals(4)
        gate.open()
        assert {row[1:] for row in found} == {(("GPU-a",), "GPU-a", 0.25)}


def test_smaller_parts_bring_more_slots_and_a_setting_bounds_them(with_gpus, gate, monkeypatch):
    monkeypatch.setenv("COVEY_SLOTS_PER_GPU", "3")
    with_gpus(TWO[0])
    with covey.Client() as client:
        assert client.options(gpu=0.5).submit(abs, -1).result(20) == 1
        parts = [client.options(gpu=0.01).submit(held, gate.folder) for _ in range(5)]
        gate.wait_arrivals(3)
        assert client.submit(abs, -1).result(20) == 1
        assert running(client) == 3
        gate.open()
        assert len({part.result(20)[0] for part in parts}) == 3


def test_a_gpu_that_may_not_be_shared(with_gpus, gate, monkeypatch):
    monkeypatch.setenv("COVEY_SLOTS_PER_GPU", "1")
    with_gpus(TWO[0])
    with covey.Client() as client:
        parts = [client.options(gpu=0.25).submit(held, gate.folder) for _ in range(3)]
        gate.wait_arrivals(1)
        assert client.submit(abs, -1).result(20) == 1
        assert running(client) == 1
        gate.open()
        assert len({part.result(20)[0] for part in parts}) == 1


def test_two_machines_fill_up_alike(tmp_path, gate):
    """What one machine has no slots for goes to the other, though its GPU has units left."""
    limit = {"COVEY_SLOTS_PER_GPU": "2"}
    with (
        pytest.MonkeyPatch.context() as patch,
        far_node(tmp_path, "one", gpus=["GPU-a"], **limit) as one,
        far_node(tmp_path, "two", gpus=["GPU-b"], **limit) as two,
    ):
        patch.setenv(*next(iter(limit.items())))
        with covey.Client(machines=[one.machine, two.machine], max_cpu=0) as client:
            wait_until(lambda: client.gpu_slots == 2, client.__repr__)
            parts = [client.options(gpu=0.1).submit(held, gate.folder) for _ in range(4)]
            gate.wait_arrivals(4)
            gate.open()
            assert Counter(part.result(20)[2] for part in parts) == {"GPU-a": 2, "GPU-b": 2}


@pytest.mark.faults
def test_a_slot_that_dies_is_replaced_on_its_gpu(with_gpus, gate, tmp_path):
    with_gpus(*TWO)
    once = str(tmp_path / "once")

    def die_once(folder):
        if not os.path.exists(once):
            open(once, "w").close()
            arrive(folder)
            signal.pause()
        return os.environ["CUDA_VISIBLE_DEVICES"]

    with covey.Client() as client:
        client.options(gpu=0.5).submit(abs, -1).result(20)
        wait_until(lambda: client.statistics().slots_up == 5, client.statistics)
        before = Counter(row["gpu"] for row in client._node.slots())
        future = client.options(gpu=0.5).submit(die_once, gate.folder)
        (victim,) = gate.wait_arrivals(1)
        os.kill(victim, signal.SIGKILL)
        assert future.result(20) in ("GPU-a", "GPU-b")
        wait_until(lambda: client.statistics().slots_up == 5, client.statistics)
        rows = client._node.slots()
        assert Counter(row["gpu"] for row in rows) == before == {None: 1, "GPU-a": 2, "GPU-b": 2}
        assert victim not in {row["pid"] for row in rows}


def test_who_asks_for_no_part_gets_no_further_slot(with_gpus):
    with_gpus(TWO[0])
    with covey.Client() as client:
        assert client.options(gpu=1).submit(abs, -1).result(20) == 1
        threads = threading.active_count()
        assert client.submit(abs, -1).result(20) == 1
        assert client.statistics().slots_up == 2
        assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("gpu", "error", "sentence"),
    [
        (1.5, ValueError, r"options\(gpu=1.5\): a task runs on one GPU at most"),
        (-1, ValueError, r"options\(gpu=-1\): 0, 1, or a part of one GPU"),
        (0.00001, ValueError, "from 0.0001 on"),
        ("all", TypeError, r"options\(gpu='all'\): a number is needed"),
    ],
)
def test_parts_that_make_no_sense(with_gpus, gpu, error, sentence):
    with_gpus(TWO[0])
    with covey.Client() as client, pytest.raises(error, match=sentence):
        client.options(gpu=gpu)
