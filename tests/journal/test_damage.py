# SPDX-License-Identifier: BSD-3-Clause
"""P12, T4: a journal that was torn or changed on its disk is recovered, or refused by a sentence that says where.

What must never come of it: a result that nobody returned, a call that nobody made, or a traceback.
"""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from covey.errors import JournalRefused
from covey.journal.store import Call, Outcome, Store
from covey.journal.tail import damage_of
from covey.wire.records import manner
from figures import Figures

DIGEST = b"d" * 16
FLIPS = pytest.mark.parametrize("flips", [500, pytest.param(1000, marks=pytest.mark.soak)])
STEPS = 12

# Of each state, what can be read from the store.
State = tuple[tuple[int, bytes], ...]


def state_of(store: Store) -> State:
    job = store.find_job("j")
    if job is None:
        return ()
    queued = [(call.index, call.frames[0]) for call in store.queued(job, 0, -1, 1000)]
    assert all(call.digest == DIGEST and call.manner == manner() for call in store.queued(job, 0, -1, 1000))
    finished = [(1000 + found.index, found.frames[0]) for found in store.finished_after(job, 0)]
    if queued:
        assert store.body(DIGEST) == [b"body" * 100]
    return tuple(sorted(queued + finished))


def write(folder: Path, *, large: bool = False) -> list[State]:
    """A journal of some transactions; the state before and after each. It is left as a killed process leaves it."""
    store = Store(str(folder))
    states: list[State] = [()]

    def step(work: Callable[[], object]) -> None:
        with store.writing():
            work()
        states.append(state_of(store))

    job = 1
    step(lambda: store.open_job("j", 0.0))
    step(lambda: store.learn(job, DIGEST, [b"body" * 100]))
    for number in range(STEPS):
        first = 3 * number
        size = 80_000 if large and number == 3 else 50
        step(lambda first=first, size=size: store.keep(
            job, [Call(first + k, DIGEST, manner(), [b"%03d" % (first + k) * size]) for k in range(3)]))
        step(lambda first=first: store.finish(job, Outcome(first, 1, 1, 9, [b"=%d" % first * 20])))
    copy = folder.with_suffix(".copy")
    shutil.copytree(folder, copy)
    store.close()
    shutil.rmtree(folder)
    copy.rename(folder)
    return states


def opened(folder: Path) -> State | str:
    """What is recovered, or why it is refused; whatever else is raised fails the test."""
    try:
        store = Store(str(folder))
    except JournalRefused as error:
        sentence = str(error)
    else:
        sentence = ""
    if sentence:
        assert str(folder) in sentence
        assert "\n" not in sentence
        return sentence
    try:
        return state_of(store)
    finally:
        store.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[State]]:
    folder = tmp_path_factory.mktemp("damage") / "journal"
    return folder, write(folder)


def copy_of(folder: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.soak)])
def test_torn_at_every_byte_of_its_last_record(
    written: tuple[Path, list[State]], tmp_path: Path, step: int, figures: Figures
) -> None:
    folder, states = written
    log = folder / "journal.sqlite-wal"
    size = log.stat().st_size
    # A frame is a page and its head; the last two transactions are a few of them.
    lengths = [*range(size - 4200, size - 4080), *range(size - 4000, size, step), size - 1, size]
    for length in lengths:
        copy = copy_of(folder, tmp_path / "copy")
        os.truncate(copy / "journal.sqlite-wal", length)
        found = opened(copy)
        assert found in states, f"torn at {length} of {size}: {found}"
        assert found == states[-1] or length < size
        assert len(states) - states.index(found) <= 3, f"more than the tail is lost at {length}"
    figures.say("T4 torn", f"at {len(set(lengths)):,} bytes of its tail: recovered each time")


@pytest.mark.slow
@FLIPS
def test_bits_that_flip(written: tuple[Path, list[State]], tmp_path: Path, flips: int, figures: Figures) -> None:
    folder, states = written
    source = random.Random(4)
    refused = 0
    for _ in range(flips):
        copy = copy_of(folder, tmp_path / "copy")
        name = source.choice(["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-wal"])
        data = bytearray((copy / name).read_bytes())
        at = source.randrange(len(data))
        data[at] ^= 1 << source.randrange(8)
        (copy / name).write_bytes(data)
        found = opened(copy)
        if isinstance(found, str):
            refused += 1
            continue
        assert found in states, f"byte {at} of {name}"
        assert len(states) - states.index(found) <= 3, f"byte {at} of {name}: more than the tail is lost"
    assert refused > flips / 10
    figures.say("T4 flipped bits", f"{flips:,} times: refused {refused:,}, recovered {flips - refused:,}, wrong 0")


@pytest.mark.slow
@FLIPS
def test_bits_that_flip_in_the_tables_alone(tmp_path: Path, flips: int, figures: Figures) -> None:
    folder = tmp_path / "journal"
    states = write(folder, large=True)
    # Closed in good order, so that all of it is in the tables.
    Store(str(folder)).close()
    source = random.Random(5)
    refused = 0
    for _ in range(flips):
        copy = copy_of(folder, tmp_path / "copy")
        data = bytearray((copy / "journal.sqlite").read_bytes())
        at = source.randrange(len(data))
        data[at] ^= 1 << source.randrange(8)
        (copy / "journal.sqlite").write_bytes(data)
        found = opened(copy)
        refused += isinstance(found, str)
        assert isinstance(found, str) or found == states[-1], f"byte {at}"
    assert refused > flips / 10
    figures.say(
        "T4 flipped bits in the tables",
        f"{flips:,} times: refused {refused:,}, recovered {flips - refused:,}, wrong 0")


def test_a_large_file_that_is_gone_or_short_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    write(folder, large=True)
    name = next(iter(sorted(path for path in (folder / "large").iterdir() if path.suffix == ".call")))
    os.truncate(name, 7)
    assert f"{name} has 7 bytes, and" in str(opened(folder))
    name.unlink()
    assert f"{name} is not there" in str(opened(folder))


def test_a_large_file_that_has_changed_is_never_handed_out(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    write(folder, large=True)
    name = next(iter(sorted(path for path in (folder / "large").iterdir() if path.suffix == ".call")))
    data = bytearray(name.read_bytes())
    data[len(data) // 2] ^= 1
    name.write_bytes(data)
    store = Store(str(folder))
    try:
        with pytest.raises(JournalRefused, match="is damaged: it is not what was written"):
            list(store.queued(1, 0, -1, 1000))
    finally:
        store.close()


def test_a_log_that_is_damaged_before_its_end_is_refused_with_the_place(
    written: tuple[Path, list[State]], tmp_path: Path
) -> None:
    copy = copy_of(written[0], tmp_path / "copy")
    log = copy / "journal.sqlite-wal"
    data = bytearray(log.read_bytes())
    data[32 + 24 + 100] ^= 4
    log.write_bytes(data)
    assert damage_of(log) == f"{log}, byte 32: frame 1 of SQLite's log"
    assert f"the journal {copy} is damaged ({log}, byte 32: frame 1" in str(opened(copy))
