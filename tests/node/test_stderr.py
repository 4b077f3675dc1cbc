# SPDX-License-Identifier: BSD-3-Clause
"""What slots write to descriptor 2, passed on by the thread that reads it: real pipes, and readers of all kinds."""

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from covey.node.ending import Tail
from covey.node.stderr import BACKLOG, KEPT, PATIENCE, SlotStderr, StderrThread
from waiting import wait_until


class Slot:
    """One that writes there."""

    def __init__(self, source: SlotStderr, end: int) -> None:
        self.source = source
        self._end = end

    def write(self, data: bytes) -> None:
        assert os.write(self._end, data) == len(data)

    def die(self) -> Tail:
        os.close(self._end)
        return self.source.finish()


class Node:
    """A thread, and the pipe that was the process's stderr when it began."""

    def __init__(self) -> None:
        self.reader, self.stderr = os.pipe()
        self.thread = StderrThread()
        self._slots: list[Slot] = []
        saved = os.dup(2)
        os.dup2(self.stderr, 2)
        try:
            self.first = self.slot()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(self.stderr)

    def slot(self) -> Slot:
        source, end = self.thread.open()
        return Slot(source, end)

    def heard(self, size: int) -> bytes:
        """So many bytes of what arrived."""
        data = b""
        while len(data) < size:
            more = os.read(self.reader, size - len(data))
            assert more, f"after {data!r} there was an end"
            data += more
        return data

    def rest(self) -> bytes:
        """What arrives until nobody has the other end any more."""
        data = b""
        while more := os.read(self.reader, 1 << 16):
            data += more
        return data


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.thread.close()
    try:
        os.close(node.reader)
    except OSError:
        pass  # the test has


def in_a_thread(what: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=what)
    thread.start()
    return thread


def test_lines_are_passed_on_while_their_slot_lives(node: Node) -> None:
    other = node.slot()
    node.first.write(b"one\n")
    assert node.heard(4) == b"one\n"
    other.write(b"half a li")
    assert node.heard(9) == b"half a li"
    node.first.write(b"two\n")
    assert node.heard(4) == b"two\n"
    assert node.first.die().lines() == ["one", "two"]
    assert other.die().lines() == ["half a li"]


def test_what_was_written_last_is_passed_on_and_told_once(node: Node) -> None:
    node.first.write(b"its last\n")
    tail = node.first.die()
    assert (tail.text, tail.before) == (b"its last\n", 0)
    assert tail.age < 60
    assert node.first.source.finish().text == b"its last\n"
    node.thread.close()
    assert node.rest() == b"its last\n"


def test_who_wrote_nothing_has_no_tail(node: Node) -> None:
    assert node.first.die() == Tail()


def test_of_much_the_end_is_kept(node: Node) -> None:
    lines = [b"%07d\n" % number for number in range(1 << 18)]
    heard: list[bytes] = []
    reader = in_a_thread(lambda: heard.append(node.rest()))
    for at in range(0, len(lines), 1024):
        node.first.write(b"".join(lines[at : at + 1024]))
    tail = node.first.die()
    node.thread.close()
    reader.join()
    assert heard == [b"".join(lines)]
    assert tail.text == heard[0][-KEPT:]
    assert tail.before == len(heard[0]) - KEPT
    assert len(node.first.source.text) == KEPT


def test_a_slot_may_put_something_else_in_its_place(node: Node) -> None:
    node.first.write(b"before\n")
    tail = node.first.die
    other = node.slot()
    assert node.heard(7) == b"before\n"
    os.close(node.first._end)
    wait_until(lambda: node.first.source.ended)
    other.write(b"others go on\n")
    assert node.heard(13) == b"others go on\n"
    node.first._end = os.open(os.devnull, os.O_WRONLY)
    assert tail().lines() == ["before"]
    other.die()


def test_a_survivor_that_writes_for_ever_does_not_hold_up_the_death(node: Node) -> None:
    reader = in_a_thread(node.rest)
    over = threading.Event()

    def shout() -> None:
        while not over.is_set():
            try:
                os.write(node.first._end, b"and on\n" * 1000)
            except BrokenPipeError:
                return

    survivor = in_a_thread(shout)
    wait_until(lambda: node.first.source.count > 1 << 16)
    assert node.first.source.finish().before > 0
    wait_until(lambda: not survivor.is_alive())
    over.set()
    os.close(node.first._end)
    node.thread.close()
    reader.join()


def test_a_reader_that_has_gone_costs_nobody_anything(node: Node) -> None:
    os.close(node.reader)
    for _ in range(100):
        node.first.write(b"x" * 65536)
    assert node.first.die().before == 100 * 65536 - KEPT


def test_no_stderr_at_all() -> None:
    saved = os.dup(2)
    os.close(2)
    thread = StderrThread()
    try:
        slot = Slot(*thread.open())
    finally:
        os.dup2(saved, 2)
        os.close(saved)
    slot.write(b"to nobody\n" * 50_000)
    assert slot.die().lines() == ["to nobody"] * 20
    thread.close()


@pytest.mark.slow
def test_a_stderr_that_takes_nothing_holds_up_neither_deaths_nor_the_end(node: Node) -> None:
    others = [node.slot() for _ in range(40)]
    writers = [in_a_thread(lambda slot=slot: slot.write(b"y" * 65536)) for slot in others]  # type: ignore[misc]
    for writer in writers:
        writer.join()
    tails = [slot.die() for slot in others]
    assert [tail.before + len(tail.text) for tail in tails] == [65536] * 40
    assert node.thread._backlog_size <= BACKLOG + 40 * 100
    node.first.die()
    began = time.monotonic()
    node.thread.close()
    assert time.monotonic() - began < PATIENCE + 10
    heard = node.rest()
    assert b"y" in heard
    assert len(heard) < 1 << 17


@pytest.mark.slow
def test_a_stderr_that_takes_something_again_hears_what_was_left_out(node: Node) -> None:
    for _ in range(40):
        slot = node.slot()
        slot.write(b"y" * 65536)
        slot.die()
    node.first.die()
    heard: list[bytes] = []
    reader = in_a_thread(lambda: heard.append(node.rest()))
    node.thread.close()
    reader.join()
    assert b"\n[covey: 65536 bytes left out here]\n" in heard[0]
    assert heard[0].count(b"y") >= BACKLOG - 65536


def test_a_forked_child_lets_go_of_its_copies(node: Node) -> None:
    child = os.fork()
    if child == 0:
        try:
            os.close(node.first._end)
            node.thread.close()
            open_still = [name for name in os.listdir("/proc/self/fd") if int(name) == node.first.source.descriptor]
            os._exit(len(open_still))
        except BaseException:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    node.first.write(b"the parent's goes on\n")
    assert node.heard(21) == b"the parent's goes on\n"
    node.first.die()


def test_one_that_never_began_has_nothing_to_close() -> None:
    StderrThread().close()
