# SPDX-License-Identifier: BSD-3-Clause
"""Names of machines: found beside the links that wait for them, and sought until the link is open."""

import socket
import threading

from covey.node.names import Names
from waiting import wait_until


class FakeLoop:
    def __init__(self) -> None:
        self.addresses: dict[int, str] = {}

    def redirect(self, link: int, address: str) -> None:
        self.addresses[link] = address


def test_a_link_gets_the_address_of_its_name() -> None:
    loop, told = FakeLoop(), threading.Event()
    names = Names(loop, told.set, lambda named: named.replace("lab", "10.0.0."))
    names.seek(3, "tcp://lab7:2718")
    assert told.wait(20)
    assert loop.addresses == {3: "tcp://10.0.0.7:2718"}
    assert names.why(3) == ""
    names.close()


def test_a_name_that_is_not_known_says_so() -> None:
    def find(named: str) -> str:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    loop, told = FakeLoop(), threading.Event()
    names = Names(loop, told.set, find)
    names.seek(0, "tcp://nobody:2718")
    assert told.wait(20)
    assert names.why(0) == "its name cannot be looked up (Name or service not known)"
    assert not loop.addresses
    names.close()


def test_a_slow_name_delays_no_other_and_nobody_waits_for_it_at_the_end() -> None:
    answer = threading.Event()

    def find(named: str) -> str:
        if "slow" in named:
            assert answer.wait(20)
        return named

    loop = FakeLoop()
    names = Names(loop, lambda: None, find)
    names.seek(0, "tcp://slow:1")
    names.seek(1, "tcp://quick:1")
    wait_until(lambda: loop.addresses)
    names.close()
    answer.set()
    wait_until(lambda: not any(thread.name == "covey-name" for thread in threading.enumerate()))
    assert loop.addresses == {1: "tcp://quick:1"}


def test_a_name_is_sought_once_at_a_time_and_again_after_it_was_lost() -> None:
    asked: list[str] = []

    def find(named: str) -> str:
        asked.append(named)
        return named

    names = Names(FakeLoop(), lambda: None, find)
    for _ in range(3):
        names.seek(0, "tcp://lab7:1")
    wait_until(lambda: len(asked) == 1)
    names.found(0)
    names.seek(0, "tcp://lab7:1")
    wait_until(lambda: len(asked) == 2)
    names.close()
