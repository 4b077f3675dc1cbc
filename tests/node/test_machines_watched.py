# SPDX-License-Identifier: BSD-3-Clause
"""Machines that are watched: when nobody being there is an error, and when it is only a pause."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from covey.errors import CoveyError, NobodyThere
from covey.node import machines as page
from covey.node.absences import Lacking, sentence_of, why_missing
from covey.node.machines import Machine, Machines, machine_of
from waiting import wait_until


class FakeLoop:
    """One link, that is open or not; the test rings its bell."""

    def __init__(self) -> None:
        self.news_fd, self._bell = os.pipe()
        os.set_blocking(self.news_fd, False)
        self.present = False
        self.capacity = [1, 0, 0]
        self.journal = False
        self.asks = True
        self.looked = 0

    def ring(self) -> None:
        before = self.looked
        os.write(self._bell, b"n")
        wait_until(lambda: self.looked > before)

    def read_news(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.news_fd, 1)

    def dial(self, address: str, asks: bool, keys: object = None) -> int:
        self.asks = asks
        return 0

    def redirect(self, link: int, address: str) -> None: ...

    def links(self) -> list[dict[str, Any]]:
        return [{"port": 2, "why": "" if self.present else "nobody listens there", "joined": self.present}]

    def nodes(self) -> list[dict[str, Any]]:
        self.looked += 1
        # Whoever is above is no doer of ours.
        there = {"port": 2, "name": "there", "capacity": self.capacity, "journal": self.journal}
        return [there] if self.present and self.asks else []

    def close(self) -> None:
        os.close(self.news_fd)
        os.close(self._bell)


@pytest.fixture
def loop() -> Iterator[FakeLoop]:
    loop = FakeLoop()
    yield loop
    loop.close()


LAB = Machine("lab", "tcp://10.0.0.7:2718")
BROKER = Machine.of_broker("lab.json", "tcp://10.0.0.7:2718")


def watch(loop: FakeLoop, told: list[CoveyError], *, asks: bool, machine: Machine = LAB) -> Machines:
    machines = Machines(loop, told.append)
    machines.dial(machine, asks=asks, keys=None)
    machines.start()
    return machines


@pytest.mark.parametrize("asks", [True, False])
def test_nobody_there_is_an_error_for_one_who_asks(
    loop: FakeLoop, monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    monkeypatch.setattr(page, "PATIENCE", 0.0)
    told: list[CoveyError] = []
    machines = watch(loop, told, asks=asks)
    wait_until(lambda: loop.looked)
    loop.ring()
    machines.close()
    assert [type(error) for error in told] == [NobodyThere] * asks


def test_one_that_was_there_is_waited_for(loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PATIENCE", 0.0)
    told: list[CoveyError] = []
    loop.present = True
    machines = watch(loop, told, asks=True)
    wait_until(lambda: loop.looked)
    loop.present = False
    loop.ring()
    machines.close()
    assert told == []
    assert machines.missing() == {"lab": "nobody listens there"}


def test_a_broker_above_is_there_while_it_is_joined(
    loop: FakeLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(page, "PATIENCE", 0.0)
    loop.present = True
    machines = watch(loop, [], asks=False, machine=BROKER)
    wait_until(lambda: loop.looked)
    loop.ring()
    assert caplog.messages == []
    for present in (False, True):
        loop.present = present
        loop.ring()
        loop.ring()
    machines.close()
    assert caplog.messages == [
        "the broker of lab.json is not there: nobody listens there (tcp://10.0.0.7:2718); it is joined when it comes",
        "the broker of lab.json is there now",
    ]


def test_a_broker_without_slots_is_named_to_who_asks(
    loop: FakeLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(page, "PATIENCE", 0.0)
    loop.present, loop.capacity = True, [0, 0, 0]
    machines = watch(loop, [], asks=True, machine=BROKER)
    wait_until(lambda: loop.looked)
    loop.ring()
    machines.close()
    assert caplog.messages == [
        "the broker there has no slots yet; calls wait until a node joins it: covey node --connect lab.json"
    ]


def test_a_broker_that_comes_back_without_its_journal_is_named_to_who_needs_it(
    loop: FakeLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(page, "PATIENCE", 0.0)
    loop.present = loop.journal = True
    machines = watch(loop, [], asks=True, machine=BROKER)
    machines.wait(lambda: machines.journal, 5.0)
    for needed in (False, True):
        machines.needs_journal = needed
        for journal in (True, False):
            loop.journal = journal
            loop.ring()
            loop.ring()
    machines.close()
    assert caplog.messages == [
        "the broker there keeps no journal now; detached calls wait until it does: covey broker lab.json --journal DIR"
    ]


def test_a_broker_that_has_had_what_it_lacked_is_named_again() -> None:
    brokers = Lacking(4.0)
    assert (brokers.overdue(["a"], 1.0), brokers.next_time) == ([], 5.0)
    assert (brokers.overdue(["a"], 5.0), brokers.next_time) == (["a"], float("inf"))
    assert brokers.overdue([], 6.0) == brokers.overdue(["a"], 7.0) == []
    assert brokers.overdue(["a"], 11.0) == ["a"]


@pytest.mark.parametrize(
    ("why", "broker", "said"),
    [
        ("it refused our key", False, "lab7 (at) refuses our key, the one here (fingerprint 1a2b): copy the key file"),
        (
            "it hung up during the handshake: its key differs from ours, or it is no covey at all",
            True,
            "lab7 (at) has another key than the one here (fingerprint 1a2b), or is no covey at all: copy the broker's",
        ),
        (
            "a node of its name is connected already: alpha",
            False,
            "lab7 (at) calls itself 'alpha', as lab8 (there) does, and one of them is used: if they are two",
        ),
        ("it turns us away: its Python is another", True, "lab7 (at) turns us away: its Python is another"),
    ],
)
def test_what_is_said_where_more_is_known(why: str, broker: bool, said: str) -> None:
    why = why_missing(why, "1a2b", broker=broker, namesake="lab8 (there)")
    assert sentence_of("lab7", "at", why, broker=broker).startswith(said)


@pytest.mark.parametrize("why", ["it refused our key", "it hung up during the handshake: its key differs from ours"])
def test_who_gave_an_authkey_is_told_of_it_and_of_no_file(why: str) -> None:
    said = sentence_of("lab7", "at", why_missing(why, "1a2b", authkey=True))
    assert said.endswith(": give both the same authkey")
    assert "file" not in said
    assert said.startswith("lab7 (at) ")


@pytest.mark.parametrize("written", ["::1", "fe80::1%eth0", "2001:db8::7"])
def test_a_bare_address_of_ipv6_is_told_its_brackets(written: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"write it in brackets, '[{written}]'")):
        machine_of(written)
    assert machine_of(f"[{written}]").address == f"tcp://[{written}]:2718"


def test_what_is_missing_is_named_before_an_early_end(loop: FakeLoop, caplog: pytest.LogCaptureFixture) -> None:
    machines = watch(loop, [], asks=True)
    wait_until(lambda: loop.looked)
    assert caplog.messages == []
    machines.name_before_the_end()
    machines.name_before_the_end()
    machines.close()
    assert caplog.messages == [
        "lab is not there: nobody listens there (tcp://10.0.0.7:2718); it joins when it comes"
    ]


def test_machines_that_were_told_to_leave_are_not_missed(loop: FakeLoop, caplog: pytest.LogCaptureFixture) -> None:
    machines = watch(loop, [], asks=True)
    machines.expect_farewells()
    machines.name_before_the_end()
    machines.close()
    assert caplog.messages == []
