# SPDX-License-Identifier: BSD-3-Clause
"""What a keeper stands between: a broker's loop that records, and slot processes that do what a test tells them.

A fake slot is a real process, started by the real Launcher, whose program is a few lines of the test's own. They find
`number`, `kind`, `device`, `parent`, `lifeline`, `stderr`, `mark` and `up()`; a slot that has nothing more to do waits
for its end in `hold()`.
"""

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from covey.node.launch import Launcher
from covey.settings import Settings
from waiting import wait_until

FAKE_SLOT = """\
import os, signal, sys
program, (number, kind, device, parent, lifeline, stderr, mark) = sys.argv[1], map(int, sys.argv[2:])
def up():
    os.write(2, b"up\\n")
def hold():
    os.read(lifeline, 1)
exec(open(program).read())
"""


class FakeLoop:
    """A broker's loop as the keeper sees it: it records facts and hands out the orders that a test puts in."""

    def __init__(self, settings: Settings | None = None, address: str = "", inproc: str = "") -> None:
        self.address = address
        self.inproc = inproc
        self.expected: list[tuple[int, int]] = []
        self.deaths: list[tuple[int, bool, str]] = []
        self.tokens: list[int] = []
        self.starved: list[bool] = []
        self.peaks: list[int] = []
        self.waits_for_work = 0
        self.busy = False
        self.precious: set[int] = set()     # tokens of tasks that would not be tried again
        self.told_to_leave = 0
        self.byes = 0
        self._orders: list[tuple[str, int, bytes]] = []
        self.orders_fd, self._orders_end = os.pipe()
        self._stopped = threading.Event()

    def expect_slot(self, number: int, pid: int) -> None:
        self.expected.append((number, pid))

    def slot_died(
        self, pid: int, planned: bool, report: str, token: int, starved: bool = False, peak: int = 0
    ) -> None:
        self.tokens.append(token)
        self.starved.append(starved)
        self.peaks.append(peak)
        self.deaths.append((pid, planned, report))

    def await_work(self) -> bool:
        self.waits_for_work += 1
        return not self.busy

    def may_starve(self, token: int) -> bool:
        return token not in self.precious

    def order(self, verb: str, pid: int, why: bytes) -> None:
        self._orders.append((verb, pid, why))
        os.write(self._orders_end, b"o")

    def take_orders(self) -> list[tuple[str, int, bytes]]:
        os.read(self.orders_fd, 4096)
        orders, self._orders = self._orders, []
        return orders

    def run(self) -> None:
        self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()

    def stop_slots(self) -> None:
        self.told_to_leave += 1

    def say_bye(self) -> None:
        self.byes += 1

    def totals(self) -> Mapping[str, int]:
        return {"doers": len(self.expected) - len(self.deaths)}

    def slots(self) -> list[dict[str, object]]:
        return [{"number": number, "pid": pid} for number, pid in self.expected]

    def pid_of(self, number: int, nth: int = 0) -> int:
        """The process that was the nth to be this slot; waits for it."""
        wait_until(lambda: len(self._pids_of(number)) > nth, lambda: f"{self.expected} {self.deaths}")
        return self._pids_of(number)[nth]

    def wait_deaths(self, count: int) -> list[tuple[int, bool, str]]:
        wait_until(lambda: len(self.deaths) >= count, lambda: f"{self.expected} {self.deaths}")
        return self.deaths

    def _pids_of(self, number: int) -> list[int]:
        return [pid for slot, pid in self.expected if slot == number]

    def close(self) -> None:
        os.close(self.orders_fd)
        os.close(self._orders_end)


def fake_launcher(folder: Path, program: str) -> Launcher:
    """A launcher of fake slots that run `program`."""
    path = folder / "program"
    path.write_text(program)
    launcher = Launcher(str(path), dict(os.environ), str(folder))
    launcher.command = [sys.executable, "-S", "-E", "-c", FAKE_SLOT, str(path)]
    return launcher
