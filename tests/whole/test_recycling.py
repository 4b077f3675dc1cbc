# SPDX-License-Identifier: BSD-3-Clause
"""Slots that are replaced between two tasks: after so many, or when they have grown too large. Nothing is lost."""
import os
from collections import Counter

import pytest

import covey
from covey.errors import BadSetting
from covey.node.limits import SlotLimits
from covey.settings import Settings
from covey.terminal.node import parser

pytestmark = pytest.mark.slow

kept: list[bytes] = []


def leak(megabytes: int) -> int:
    """Never gives back what it takes."""
    kept.append(bytes(megabytes << 20).replace(b"\0", b"x"))
    return os.getpid()


@pytest.fixture(params=["1", "0"], ids=["native", "on pyzmq"], autouse=True)
def _both_loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVEY_NATIVE", request.param)


def test_after_so_many_tasks() -> None:
    with covey.Client(max_cpu=2, max_tasks_per_slot=5) as client:
        futures = [client.submit(os.getpid) for _ in range(40)]
        pids = Counter(future.result(60) for future in futures)
        statistics = client.statistics()
    assert max(pids.values()) <= 5
    assert sum(pids.values()) == 40
    assert (statistics.crashes, statistics.ooms, statistics.retried) == (0, 0, 0)


def test_after_a_task_that_leaves_it_too_large() -> None:
    with covey.Client(max_cpu=1, slot_max_rss=200 << 20) as client:
        small = {client.submit(leak, 1).result(60) for _ in range(3)}
        assert len(small) == 1, "a small one stays"
        # Over 160 MiB and under 190.
        assert client.submit(leak, 140).result(60) in small
        assert client.submit(leak, 1).result(60) not in small
        assert (client.statistics().crashes, client.statistics().ooms) == (0, 0)


def test_settings_and_keywords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVEY_MAX_TASKS_PER_SLOT", "1")
    with covey.Client(max_cpu=1) as client:
        assert len({client.submit(os.getpid).result(60) for _ in range(3)}) == 3
    with covey.Client(max_cpu=1, max_tasks_per_slot=3) as client:
        assert len({client.submit(os.getpid).result(60) for _ in range(3)}) == 1


def test_a_decorator_has_a_flock_of_its_own_limits() -> None:
    with covey.distribute(lambda _: os.getpid(), max_cpu=1, max_tasks_per_slot=1) as pids:
        first, second = pids([0]), pids([0])
    assert first != second


@pytest.mark.parametrize(
    ("tasks", "size", "kind", "said"),
    [
        (0, None, ValueError, r"f\(max_tasks_per_slot=0\): at least 1 is needed, or None for no limit"),
        (True, None, TypeError, r"f\(max_tasks_per_slot=True\): a whole number is needed, or None"),
        (None, 1 << 20, ValueError, r"f\(slot_max_rss=1048576\): at least 67108864 bytes \(64 MiB\) is needed"),
    ],
)
def test_bad_limits_are_refused(tasks: int | None, size: int | None, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        SlotLimits.checked("f", tasks, size)


def test_what_is_given_goes_before_the_settings() -> None:
    settings = Settings(max_tasks_per_slot=7, slot_max_rss=1 << 30)
    assert SlotLimits(max_tasks=3).under(settings) == SlotLimits(3, 1 << 30)
    assert SlotLimits(max_rss=10).under(settings).recycle_rss == 8


def test_a_setting_in_other_units_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"COVEY_SLOT_MAX_RSS=512: at least 67108864 bytes \(64 MiB\) is needed, or 0"):
        SlotLimits().under(Settings(slot_max_rss=512))


def test_the_command_takes_them() -> None:
    chosen = parser().parse_args(["--listen", "--max-tasks-per-slot", "9", "--slot-max-rss", "100"])
    assert (chosen.max_tasks_per_slot, chosen.slot_max_rss) == (9, 100)
