# SPDX-License-Identifier: BSD-3-Clause
"""T6: whatever a peer sends is read without a byte beyond it, under gcc's address and undefined-behaviour sanitizers.

Sound messages of every kind, from everybody at once, are changed a little and a little more, and what goes a new way
through the compiled code is changed further: the parser, what joins pieces, what the broker's desk makes of each
message in each state of its peers and tasks, the client's end, the slot's, and the reader of small values. Each frame
stands in a block of memory of its own size.

Why not atheris: its coverage of compiled code needs clang, with which nobody builds covey; gcc has the same sanitizers,
and can tell which ways were taken. So the fuzzer is `striker.py`, which writes `plays.py`; `sanitized.py` builds;
`found.py` holds what was found.
"""
import faulthandler
import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import sanitized
from figures import Figures

LACKING = sanitized.lacking()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LACKING is not None, reason=f"nothing can be built with the sanitizers: {LACKING}"),
]

# Beyond what was asked for, on a machine that does other things too.
PATIENCE = 120


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is built with the sanitizers."""
    # Compilers take longer than a test may; every wait here has a limit of its own.
    faulthandler.cancel_dump_traceback_later()
    made = tmp_path_factory.mktemp("sanitized")
    sanitized.build(made)
    return made


@dataclass(frozen=True, slots=True)
class Done:
    """How a run of the striker ended."""

    code: int
    said: str
    last: str


def strike(place: Path, seconds: int, seed: int, *plays: Path) -> Done:
    faulthandler.cancel_dump_traceback_later()
    last = place / f"last-{seed}"
    last.touch()
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("striker.py"), place, str(seconds), str(seed), last, *plays],
        env=sanitized.environment(place), cwd=place, timeout=seconds + PATIENCE, check=False, capture_output=True,
        text=True)
    return Done(done.returncode, done.stdout + done.stderr, last.read_text().partition("\n")[0])


# Every run begins as the last one did; the long form looks elsewhere each time, and says where.
@pytest.mark.parametrize(
    ("seconds", "seed"), [(20, 6), pytest.param(600, random.SystemRandom().randrange(1 << 32), marks=pytest.mark.soak)],
    ids=["short", "long"])
def test_t6_nothing_is_read_beyond_what_was_sent(place: Path, seconds: int, seed: int, figures: Figures) -> None:
    done = strike(place, seconds, seed)
    # The play that did it is the failure's whole story: `striker.py PLACE 0 0 OTHER FILE` shows it again.
    assert done.code == 0, f"seed {seed}: {done.said}\nthe play:\n{done.last}"
    counts = json.loads(next(line for line in done.said.splitlines() if line.startswith("{")))
    # A fuzzer whose messages are refused at the door has looked at nothing but the door.
    assert counts["sound"] > counts["messages"] / 2
    assert counts["ways"] > 5000
    figures.say(
        f"T6 {seconds} s",
        f"{counts['messages']:,} messages in {counts['plays']:,} plays that went {counts['ways']:,} ways: 0 crashes")


def test_one_byte_too_many_is_seen(place: Path) -> None:
    """The sanitizer is there, and sees what it is there for."""
    play = place / "beyond"
    play.write_text(json.dumps([["beyond", 0, ["00"]]]) + "\n")
    done = strike(place, 0, 0, play)
    assert done.code != 0
    assert "heap-buffer-overflow" in done.said, done.said
    assert done.last == play.read_text().strip()
