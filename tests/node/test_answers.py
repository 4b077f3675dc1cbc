# SPDX-License-Identifier: BSD-3-Clause
"""What a node answers when it is asked, over a loop that only pretends."""
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from covey.node.answers import Answers
from covey.node.census import PATIENCE
from covey.node.memory import Memory
from covey.node.rate import Rate


@dataclass
class PretendedLoop:
    """Nodes below, and what was asked of them."""

    name: str = "meeting"
    below: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[int, str]] = field(default_factory=list)
    drained: list[str] = field(default_factory=list)
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def nodes(self) -> list[dict[str, Any]]:
        return self.below

    def drain(self, name: str) -> bool:
        self.drained.append(name)
        return any(row["name"] == name for row in self.below)

    def ask(self, handle: int, text: str) -> int:
        self.asked.append((handle, text))
        return len(self.asked)

    def answer(self, handle: int, text: str) -> None:
        self.answers.append((handle, json.loads(text)))


@dataclass
class PretendedNode:
    """A node with these slots."""

    loop: PretendedLoop = field(default_factory=PretendedLoop)
    own: list[dict[str, object]] = field(default_factory=list)
    finished: int = 0
    count: int = 0

    def slots(self) -> list[dict[str, object]]:
        return self.own

    def totals(self) -> dict[str, int]:
        return {"waiting": 5, "assigned": 4, "running": 3, "accepted": self.finished, "ended": 1, "retried": 0,
                "crashes": 4, "losses": 3, "ooms": 0, "stale": 2, "askers": 2}


@dataclass
class Clock:
    """A time that stands still until it is set."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def node_row(
    name: str, handle: int, *, draining: bool = False, capacity: tuple[int, int, int] = (2, 0, 0)
) -> dict[str, Any]:
    return {"name": name, "handle": handle, "capacity": list(capacity), "running": 1, "queued": 2, "draining": draining}


def answers_of(node: PretendedNode, clock: Clock | None = None) -> Answers:
    return Answers(node, clock or Clock(), lambda: 7.0, lambda: Memory(16, 12, "an example"))


def test_reasons_why_tasks_ran_again_are_told_apart() -> None:
    tasks = json.loads(answers_of(PretendedNode()).answer("status"))["tasks"]
    assert {name: tasks[name] for name in ("crashes", "losses", "retried", "late")} == {
        "crashes": 4, "losses": 3, "retried": 0, "late": 2}


def test_tasks_that_wait_at_nodes_wait() -> None:
    found = json.loads(answers_of(PretendedNode()).answer("status"))
    assert found["tasks"]["waiting"] == 6
    assert found["tasks"]["running"] == 3
    assert (found["nodes"], found["slots"], found["more"], found["time"]) == ([], 0, None, 7.0)


def test_rows_are_sorted_and_say_their_state() -> None:
    rows = [node_row("c", 1, draining=True), node_row("b:7", 2, capacity=(0, 1, 3)),
            node_row("a", 3, capacity=(0, 0, 0))]
    found = json.loads(answers_of(PretendedNode(PretendedLoop(below=rows))).answer("status"))
    assert [(row["name"], row["host"], row["slots"], row["gpus"], row["state"]) for row in found["nodes"]] == [
        ("a", "a", 0, 0, "no slots"), ("b:7", "b", 4, 1, "up"), ("c", "c", 2, 0, "draining")]
    assert (found["slots"], found["gpus"]) == (6, 1)


def test_who_joins_is_asked_once_and_forgotten_when_it_leaves() -> None:
    loop = PretendedLoop(below=[node_row("a", 1 << 32)])
    answers = answers_of(PretendedNode(loop))
    answers.meet()
    answers.meet()
    assert loop.asked == [(1 << 32, "who")]
    answers.hear(1, '{"host": "lab7"}')
    assert json.loads(answers.answer("status"))["nodes"][0]["host"] == "lab7"
    # The same row of the loop's table, another birth: somebody else.
    loop.below = [node_row("b", 2 << 32)]
    answers.meet()
    assert loop.asked[-1] == (2 << 32, "who")
    answers.hear(1, '{"host": "late"}')
    assert json.loads(answers.answer("status"))["nodes"][0]["host"] == "b"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": 7}', "[" * 100_000])
def test_an_answer_that_makes_no_sense_changes_nothing(text: str) -> None:
    answers = answers_of(PretendedNode(PretendedLoop(below=[node_row("a", 1)])))
    answers.meet()
    answers.hear(1, text)
    assert json.loads(answers.answer("status"))["nodes"][0]["host"] == "a"


@pytest.mark.parametrize(
    "question", ["", "status -1", "status ²", "status 99999999999", "drain", "who are you", "x" * 999])
def test_what_cannot_be_answered_is_said(question: str) -> None:
    assert "cannot answer" in json.loads(answers_of(PretendedNode()).answer(question))["error"]


def test_a_long_table_comes_in_pages_that_fit() -> None:
    rows = [node_row(f"{number:04}" + "é" * 120, number) for number in range(1000)]
    answers = answers_of(PretendedNode(PretendedLoop(below=rows)))
    names: list[str] = []
    start: int | None = 0
    while start is not None:
        text = answers.answer(f"status {start}")
        assert len(text.encode()) <= 65536
        found = json.loads(text)
        assert found["slots"] == 2000
        names += [row["name"][:4] for row in found["nodes"]]
        start = found["more"]
    assert names == [f"{number:04}" for number in range(1000)]


def test_own_slots_are_listed() -> None:
    own: list[dict[str, object]] = [
        {"number": n, "pid": n, "host": "h", "running": n % 2, "gpu": None, "memory": 9} for n in (2, 1)]
    answers = answers_of(PretendedNode(own=own, count=2))
    answers.leaving = True
    row, = json.loads(answers.answer("status"))["nodes"]
    assert [slot["number"] for slot in row["own_slots"]] == [1, 2]
    assert (row["slots"], row["running"], row["state"]) == (2, 1, "draining")


def test_a_node_tells_its_memory_and_a_broker_none() -> None:
    own: list[dict[str, object]] = [{"number": 1, "pid": 7, "host": "h", "running": 0, "gpu": None, "memory": 9}]
    answers = answers_of(PretendedNode(own=own, count=1))
    row, = json.loads(answers.answer("status"))["nodes"]
    assert row["memory"] == {"total": 16, "available": 12}
    assert json.loads(answers.answer("memory")) == {
        "memory": {"total": 16, "available": 12}, "own_slots": [{"number": 1, "pid": 7, "memory": 9}]}
    assert json.loads(answers_of(PretendedNode()).answer("memory")) == {"memory": None, "own_slots": []}


SAID = '{"memory": {"total": 16, "available": 5}, "own_slots": [{"number": 1, "pid": 7, "memory": 9, "x": 1}, 3]}'


def test_a_status_waits_for_what_the_nodes_below_say_of_their_memory() -> None:
    loop = PretendedLoop(below=[node_row("a", 1), node_row("b", 2)])
    answers = answers_of(PretendedNode(loop))
    answers.take(71, "status")
    answers.take(72, "status")
    assert loop.asked == [(1, "memory"), (2, "memory")]
    answers.hear(1, SAID)
    assert loop.answers == []
    answers.hear(2, '{"error": "of an older covey"}')
    assert [handle for handle, _ in loop.answers] == [71, 72]
    rows = loop.answers[0][1]["nodes"]
    assert [(row["memory"], row["own_slots"]) for row in rows] == [
        ({"total": 16, "available": 5}, [{"number": 1, "pid": 7, "memory": 9}]), (None, [])]
    answers.take(73, "status 1")
    assert [row["name"] for row in loop.answers[-1][1]["nodes"]] == ["b"]
    assert len(loop.asked) == 2


def test_a_status_does_not_wait_for_who_is_silent_or_has_left() -> None:
    clock, loop = Clock(), PretendedLoop(below=[node_row("a", 1), node_row("b", 2)])
    answers = answers_of(PretendedNode(loop), clock)
    answers.take(71, "status")
    answers.note()
    assert loop.answers == []
    clock.now += PATIENCE
    answers.note()
    assert [handle for handle, _ in loop.answers] == [71]
    answers.take(72, "status")
    loop.below = []
    answers.meet()
    assert [handle for handle, _ in loop.answers] == [71, 72]


@pytest.mark.parametrize("text", ['{"memory": 7}', '{"memory": {"total": -1, "available": 2}, "own_slots": {}}',
                                  '{"memory": {"total": "1"}, "own_slots": [[]]}'])
def test_a_memory_that_makes_no_sense_is_none(text: str) -> None:
    loop = PretendedLoop(below=[node_row("a", 1)])
    answers = answers_of(PretendedNode(loop))
    answers.take(71, "status")
    answers.hear(1, text)
    (_, found), = loop.answers
    assert (found["nodes"][0]["memory"], found["nodes"][0]["own_slots"]) == (None, [])


def test_a_node_without_a_slot_yet_starts() -> None:
    row, = json.loads(answers_of(PretendedNode(count=2)).answer("status"))["nodes"]
    assert (row["slots"], row["state"]) == (0, "starting")


def test_drain_says_who_is_there() -> None:
    loop = PretendedLoop(below=[node_row("b c", 1), node_row("a", 2)])
    answers = answers_of(PretendedNode(loop))
    assert json.loads(answers.answer("drain b c")) == {"drained": "b c", "running": 1}
    assert json.loads(answers.answer("drain d"))["error"] == (
        "there is no node 'd' at meeting; the nodes there: a, b c")
    assert loop.drained == ["b c", "d"]


def test_drain_takes_a_host_that_has_one_node() -> None:
    loop = PretendedLoop(below=[node_row("a:7", 1), node_row("b:8", 2), node_row("b:9", 3), node_row("c", 4)])
    answers = answers_of(PretendedNode(loop))
    assert json.loads(answers.answer("drain a")) == {"drained": "a:7", "running": 1}
    assert "there is no node 'b'" in json.loads(answers.answer("drain b"))["error"]
    assert loop.drained == ["a:7", "b"]


def test_drain_takes_the_host_of_a_node_with_a_name() -> None:
    loop = PretendedLoop(below=[node_row("desk", 1), node_row("b", 2)])
    answers = answers_of(PretendedNode(loop))
    answers.meet()
    answers.hear(1, '{"host": "lab7"}')
    assert json.loads(answers.answer("drain lab7")) == {"drained": "desk", "running": 1}


def test_who_asks_is_not_counted() -> None:
    assert json.loads(answers_of(PretendedNode()).answer("status"))["clients"] == 1


def test_the_rate_is_that_of_the_last_seconds() -> None:
    clock, node = Clock(), PretendedNode()
    answers = answers_of(node, clock)
    for second in range(1, 31):
        clock.now += 1
        node.finished += 100 if second <= 15 else 10
        answers.note()
    assert json.loads(answers.answer("status"))["rate_per_s"] == pytest.approx(10.0)


def test_a_rate_remembers_a_bounded_time() -> None:
    rate = Rate(0.0)
    for number in range(10_000):
        rate.note(number * 0.001, number)
    assert rate.of(10.0, 10_000) == pytest.approx(1000.0)


def test_a_thousand_long_names_still_fit_into_an_answer() -> None:
    rows = [node_row("é" * 250 + str(number), number) for number in range(1000)]
    assert len(answers_of(PretendedNode(PretendedLoop(below=rows))).answer("drain x")) <= 65536
