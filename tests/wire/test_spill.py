# SPDX-License-Identifier: BSD-3-Clause
"""Large messages that are written out: what they say stays, what is held goes, and no file is ever seen."""
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.testing import wait_until
from covey.wire.protocol import KINDS, message
from covey.wire.spill import spill_begin, spill_end, spill_figures, spill_hold, spill_serve

MIB = 1 << 20
EVERYTHING = 0
NOTHING = 1 << 62
# The head of a message with one record.
ONE = message(KINDS["STARTED"], [bytes(8)])
SIZES = [(0, 3 * MIB), (5, MIB), (100_000, 0), (4 * MIB + 1, 17), (65536, 9 * MIB)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    spill_begin(str(tmp_path))
    thread = threading.Thread(target=spill_serve)
    thread.start()
    yield tmp_path
    spill_end()
    thread.join()


def _frames(first: int, second: int) -> list[bytes]:
    return [ONE + os.urandom(first), os.urandom(second)] if second else [ONE + os.urandom(first)]


@pytest.mark.parametrize(("first", "second"), SIZES)
def test_what_is_written_out_says_what_it_said(place: Path, first: int, second: int) -> None:
    held, spilled, ever, _ = spill_figures()
    frames = _frames(first, second)
    message = spill_hold(frames, EVERYTHING)
    wait_until(lambda: spill_figures()[1] > spilled, lambda: str(spill_figures()))
    # But for its beginning, which is written into, and what is no whole page on either side.
    wait_until(lambda: spill_figures()[2] - ever >= first + second - 3 * 4096, lambda: str(spill_figures()))
    wait_until(lambda: spill_figures()[0] < held + 8 * 4096, lambda: str(spill_figures()))
    assert message.frames() == frames
    assert not list(place.iterdir())
    del message
    assert spill_figures()[:2] == (held, spilled)


def test_nothing_is_written_while_it_is_not_too_much(place: Path) -> None:
    ever = spill_figures()[2]
    held = spill_figures()[0]
    first = spill_hold(_frames(0, 2 * MIB), NOTHING)
    assert spill_figures()[0] >= held + 2 * MIB
    # By the time that another one is written out, this one could have been.
    second = spill_hold(_frames(0, 3 * MIB), held + 2 * MIB + 65536)
    wait_until(lambda: spill_figures()[2] > ever, lambda: str(spill_figures()))
    wait_until(lambda: spill_figures()[0] <= held + 2 * MIB + 65536, lambda: str(spill_figures()))
    # What came last is needed last.
    assert spill_figures()[2] - ever <= 3 * MIB
    del first, second


def test_a_message_that_goes_while_it_is_written_leaves_nothing(place: Path) -> None:
    held, spilled, _, _ = spill_figures()
    for _ in range(20):
        del_me = spill_hold(_frames(0, 8 * MIB), EVERYTHING)
        del del_me
    wait_until(lambda: spill_figures()[:2] == (held, spilled), lambda: str(spill_figures()))


FULL = """
import resource, sys, threading
sys.path[:] = {path!r}
from covey.testing import wait_until
from covey.wire.spill import spill_begin, spill_end, spill_figures, spill_hold, spill_serve
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
spill_begin({folder!r})
thread = threading.Thread(target=spill_serve, daemon=True)
thread.start()
frames = [{one!r} + b"x" * (1 << 20)]
first = spill_hold(frames, 0)
wait_until(lambda: spill_figures()[3], lambda: "it was written")
assert first.frames() == frames and spill_figures()[1] == 0
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
def written():
    spill_hold(frames, 0)
    return spill_figures()[1] > 0 and not spill_figures()[3]
wait_until(written, lambda: str(spill_figures()))
assert first.frames() == frames
spill_end()
thread.join()
"""


def test_a_full_disk_changes_nothing_and_is_tried_again(tmp_path: Path) -> None:
    program = FULL.format(path=sys.path, one=ONE, folder=str(tmp_path))
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert not list(tmp_path.iterdir())


def test_without_a_place_it_is_only_counted() -> None:
    held = spill_figures()[0]
    message = spill_hold(_frames(0, MIB), EVERYTHING)
    assert spill_figures()[0] >= held + MIB
    del message
    assert spill_figures()[0] == held
