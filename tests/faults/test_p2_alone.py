# SPDX-License-Identifier: BSD-3-Clause
"""P2: the second try of a task under which memory ran out is alone on its machine, and then the others go on."""
import time
from pathlib import Path

import pytest

import covey

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def grow(folder: str, megabytes: int) -> tuple[float, float]:
    """Too large at the first try, a second of small work at the next; when that began and ended."""
    began = time.monotonic()
    if not (Path(folder) / "tried").exists():
        (Path(folder) / "tried").touch()
        blocks = []
        for _ in range(megabytes // 4):
            blocks.append(bytes(4 << 20).replace(b"\0", b"x"))
            time.sleep(0.01)        # work
    time.sleep(0.5)                 # work
    return began, time.monotonic()


def small(_: int) -> tuple[float, float]:
    began = time.monotonic()
    time.sleep(0.05)                # work
    return began, time.monotonic()


@pytest.mark.parametrize("native", ["1", "0"], ids=["native", "on pyzmq"])
def test_no_other_slot_runs_anything_meanwhile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, native: str) -> None:
    monkeypatch.setenv("COVEY_NATIVE", native)
    with covey.Client(max_cpu=2, slot_max_rss=128 << 20) as client:
        greedy = client.submit(grow, str(tmp_path), 400)
        others = [client.submit(small, number) for number in range(60)]
        began, ended = greedy.result(60)
        times = [future.result(60) for future in others]
        assert (client.statistics().ooms, client.statistics().crashes) == (1, 0)
    beside = [(start, end) for start, end in times if end > began and start < ended]
    assert beside == []
