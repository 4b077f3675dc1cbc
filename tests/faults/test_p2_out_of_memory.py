# SPDX-License-Identifier: BSD-3-Clause
"""P2: a slot that the kernel ends because memory ran out is told from one that somebody killed; its task is tried once
more, alone on its machine, and then ended with what it had and what there was. T16 is the first of them.
"""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import covey
from covey.node.memory import resident_memory
from figures import Figures
from memorygroup import memory_group
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SCRIPT = """
import json, os, sys, threading
import covey

def eat(megabytes):
    block = bytearray(megabytes << 20)
    block[::4096] = bytes(len(range(0, len(block), 4096)))
    return len(block)

def hold(path):
    with open(path) as end:                                     # work: until the test lets go
        end.read()
    return os.getpid()

if __name__ == "__main__":
    with open(sys.argv[1], "w") as group:
        group.write("0")
    os.mkfifo(sys.argv[2])
    with covey.Client(max_cpu=2) as client:
        bystander = client.submit(hold, sys.argv[2])
        greedy = client.submit(eat, 400)
        while client.statistics().ooms < 1:
            threading.Event().wait(0.01)
        after = [client.submit(pow, 2, n) for n in range(50)]
        with open(sys.argv[2], "w"):
            pass
        survivor = bystander.result(60)
        try:
            greedy.result(60)
        except covey.WorkerDied as error:
            print(json.dumps({
                "kind": type(error).__name__, "oom": error.oom, "peak": error.peak_rss, "text": str(error),
                "attempts": error.attempts, "survivor": survivor,
                "after": sum(future.result(60) for future in after) == 2**50 - 1,
                "crashes": client.statistics().crashes, "ooms": client.statistics().ooms}))
"""


@pytest.mark.parametrize("native", ["1", "0"], ids=["native", "on pyzmq"])
def test_t16_a_slot_in_a_group_of_200_megabytes(tmp_path: Path, native: str, figures: Figures) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with memory_group(200 << 20) as group:
        done = subprocess.run(
            [sys.executable, script, group, tmp_path / "fifo"],
            env={**os.environ, "COVEY_NATIVE": native, "PYTHONPATH": ":".join(map(os.path.abspath, sys.path))},
            capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["kind"], told["oom"]) == ("WorkerDied", True)
    assert 100 << 20 < told["peak"] <= 200 << 20
    assert (told["crashes"], told["ooms"], len(told["attempts"])) == (0, 2, 2)
    for attempt in told["attempts"]:
        assert "was killed because memory ran out: it had 1" in attempt
        assert attempt.endswith("the memory limit of this container is 200.0 MiB")
    assert "eat#" in told["text"]
    assert "max_cpu" in told["text"]
    assert told["after"]
    assert f"pid {told['survivor']} " not in told["attempts"][0], "who was beside it the first time lives on"
    figures.say("T16", f"`oom=True`, peak {told['peak'] / 1e6:.0f} MB, 51 other calls good")


def test_killed_by_somebody_is_a_crash(caplog: pytest.LogCaptureFixture) -> None:
    with covey.Client(max_cpu=1) as client, pytest.raises(covey.PoisonTask) as caught:
        client.submit(os.kill, 0, signal.SIGKILL).result(60)
    assert not caught.value.oom
    assert len(caught.value.attempts) == 3
    assert all("SIGKILL" in attempt and "because" not in attempt for attempt in caught.value.attempts)


def eat_slowly(megabytes: int) -> int:
    """Takes more and more until it has so many, or is ended."""
    blocks = []
    for _ in range(megabytes // 4):
        blocks.append(bytes(4 << 20))
        blocks[-1] = blocks[-1].replace(b"\0", b"x")
        time.sleep(0.01)        # work
    return len(blocks)


def eat_on_a_word(limit: int, word: str) -> int:
    """Takes 87 % of the limit, and more when it is told to."""
    blocks = []
    while (resident_memory(os.getpid()) or limit) < 0.87 * limit:
        blocks.append(bytes(1 << 20).replace(b"\0", b"x"))
    while not os.path.exists(word):
        time.sleep(0.01)        # work
    return len(blocks) + eat_slowly(400)


def note_and_eat(path: str) -> int:
    with open(path, "a") as notes:
        notes.write("began\n")
    return eat_slowly(400)


@pytest.mark.parametrize("native", ["1", "0"], ids=["native", "on pyzmq"])
def test_a_slot_over_its_own_limit_is_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, native: str
) -> None:
    monkeypatch.setenv("COVEY_NATIVE", native)
    with covey.Client(max_cpu=2, slot_max_rss=128 << 20) as client:
        greedy = client.submit(eat_on_a_word, 128 << 20, str(tmp_path / "word"))
        wait_until(lambda: "which runs eat_on_a_word()," in caplog.text, lambda: caplog.text)
        (tmp_path / "word").touch()
        with pytest.raises(covey.WorkerDied) as caught:
            greedy.result(60)
        assert client.submit(pow, 2, 3).result(60) == 8
        assert (client.statistics().ooms, client.statistics().crashes) == (2, 0)
    assert caught.value.oom
    assert len(caught.value.attempts) == 2
    assert all("of the 128.0 MiB that a slot may have (slot_max_rss)" in attempt for attempt in caught.value.attempts)
    assert "at 95 % it is ended" in caplog.text


@pytest.mark.parametrize("native", ["1", "0"], ids=["native", "on pyzmq"])
def test_a_call_that_must_not_run_twice_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, native: str
) -> None:
    monkeypatch.setenv("COVEY_NATIVE", native)
    with covey.Client(max_cpu=2, slot_max_rss=128 << 20) as client:
        once = client.options(on_lost="fail")
        with pytest.raises(covey.MaybeRan) as caught:
            once.submit(note_and_eat, str(tmp_path / "tries")).result(60)
        assert once.submit(pow, 2, 3).result(60) == 8
        assert (client.statistics().ooms, client.statistics().crashes) == (1, 0)
    assert (tmp_path / "tries").read_text() == "began\n"
    assert "of the 128.0 MiB that a slot may have (slot_max_rss)" in str(caught.value)


def test_a_bundle_in_which_one_item_takes_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    with covey.Client(max_cpu=1, slot_max_rss=128 << 20) as client:
        results = client.map(eat_slowly, [4, 8, 400, 4], chunksize=4)
        assert [next(results), next(results)] == [1, 2]
        with pytest.raises(covey.WorkerDied) as caught:
            next(results)
        assert caught.value.oom
        assert caught.value.__notes__ == ["covey: this was item 2 of a map"]
        wait_until(lambda: client.statistics().slots_up == 1)
