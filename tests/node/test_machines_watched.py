# SPDX-License-Identifier: BSD-3-Clause
"""Machines that are watched: when nobody being there is an error, and when it is only a pause."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from covey.errors import CoveyError, NobodyThere
from covey.node import machines as page
from covey.node.machines import Machine, Machines
from waiting import wait_until


class FakeLoop:
    """One link, that is open or not; the test rings its bell."""

    def __init__(self) -> None:
        self.news_fd, self._bell = os.pipe()
        os.set_blocking(self.news_fd, False)
        self.present = False
        self.looked = 0

    def ring(self) -> None:
        before = self.looked
        os.write(self._bell, b"n")
        wait_until(lambda: self.looked > before)

    def read_news(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.news_fd, 1)

    def dial(self, address: str, asks: bool, keys: object = None) -> int:
        return 0

    def redirect(self, link: int, address: str) -> None: ...

    def links(self) -> list[dict[str, Any]]:
        return [{"port": 2, "why": "" if self.present else "nobody listens there"}]

    def nodes(self) -> list[dict[str, Any]]:
        self.looked += 1
        return [{"port": 2, "capacity": [1, 0, 0]}] if self.present else []

    def close(self) -> None:
        os.close(self.news_fd)
        os.close(self._bell)


@pytest.fixture
def loop() -> Iterator[FakeLoop]:
    loop = FakeLoop()
    yield loop
    loop.close()


def watch(loop: FakeLoop, told: list[CoveyError], *, asks: bool) -> Machines:
    machines = Machines(loop, told.append)
    machines.dial(Machine("lab", "tcp://10.0.0.7:2718"), asks=asks, keys=None)
    machines.start()
    return machines


@pytest.mark.parametrize("asks", [True, False])
def test_nobody_there_is_an_error_for_one_who_asks(
    loop: FakeLoop, monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    monkeypatch.setattr(page, "PATIENCE", 0.0)
    told: list[CoveyError] = []
    machines = watch(loop, told, asks=asks)
    wait_until(lambda: loop.looked > 1)
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
