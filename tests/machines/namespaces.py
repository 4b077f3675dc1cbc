# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces: several hosts on one machine, each with a network of its own, joined by a bridge.

Why: what becomes of a lost machine, a stranger or a cable can only be seen where there is a network, and the machine's
own must not be touched by tests.

May not know: covey. Guarantees: names are this process's own; everything made is removed by `close`, and what a killed
process left is removed by the next one; the machine's own network is left as it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

NAMES = ("alpha", "beta", "gamma")
_CLONE_NEWNET = 0x40000000
_PREFIX = "coveytest"
_libc = ctypes.CDLL(None, use_errno=True)


class NotPermitted(Exception):
    """Why this machine makes no namespaces."""


class Namespaces:
    """Three hosts at `address(name)`, joined by a bridge that stands in a fourth namespace."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise NotPermitted("only root may make network namespaces")
        if shutil.which("ip") is None:
            raise NotPermitted("there is no command `ip` (Debian: apt-get install iproute2)")
        _remove_abandoned()
        self._hub = self.name_of("hub")
        try:
            self._make()
        except subprocess.CalledProcessError as error:
            self.close()
            raise NotPermitted(f"network namespaces cannot be made here: {error.stderr.strip()}") from None

    def _make(self) -> None:
        run_ip("netns", "add", self._hub)
        run_ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        run_ip("-n", self._hub, "link", "set", "bridge", "up")
        for name in NAMES:
            space = self.name_of(name)
            run_ip("netns", "add", space)
            run_ip("-n", self._hub, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", space)
            run_ip("-n", self._hub, "link", "set", name, "master", "bridge", "up")
            run_ip("-n", space, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
            run_ip("-n", space, "link", "set", "eth0", "up")
            run_ip("-n", space, "link", "set", "lo", "up")

    def name_of(self, name: str) -> str:
        """What the kernel calls the host's namespace."""
        return f"{_PREFIX}-{os.getpid()}-{name}"

    def address(self, name: str) -> str:
        return f"10.77.0.{NAMES.index(name) + 1}"

    def cut(self, name: str) -> None:
        """Pulls the host's cable."""
        run_ip("-n", self._hub, "link", "set", name, "down")

    def mend(self, name: str) -> None:
        """As it was in the beginning."""
        shutil.rmtree(self._etc(name), ignore_errors=True)
        run_ip("-n", self._hub, "link", "set", name, "up")

    def set_name_server(self, name: str, server: str) -> None:
        """Until `mend`, programs that are started there look names up at this server."""
        self._lay_over(name, "resolv.conf", f"nameserver {server}\n")

    def set_names(self, name: str, table: str) -> None:
        """Until `mend`, this is the table of names for programs that are started there."""
        self._lay_over(name, "hosts", table)

    def _lay_over(self, name: str, file: str, text: str) -> None:
        # `ip netns exec` lays what it finds there over /etc for what it starts, and touches nothing else.
        os.makedirs(self._etc(name), exist_ok=True)
        with open(f"{self._etc(name)}/{file}", "w", encoding="utf-8") as found:
            found.write(text)

    def _etc(self, name: str) -> str:
        return f"/etc/netns/{self.name_of(name)}"

    def inside(self, name: str, function: Callable[[], Found]) -> Found:
        """What the function returns when it is called in the host's network. Sockets that it makes, and threads that it
        starts, stay there."""
        found: list[Found] = []
        errors: list[BaseException] = []

        def enter() -> None:
            try:
                space = os.open(f"/run/netns/{self.name_of(name)}", os.O_RDONLY)
                try:
                    if _libc.setns(space, _CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), f"no way into the namespace of {name}")
                finally:
                    os.close(space)
                found.append(function())
            except BaseException as error:
                errors.append(error)

        # A thread of its own: a network is a property of a thread, and the tests' own shall keep theirs.
        thread = threading.Thread(target=enter, name=f"in {name}")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return found[0]

    def close(self) -> None:
        """Removes all of it."""
        for name in (*NAMES, "hub"):
            _remove(self.name_of(name))


def run_ip(*arguments: str) -> None:
    """`ip` with these words."""
    subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True, timeout=20)


def _remove(space: str) -> None:
    found = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, check=False, timeout=20)
    for pid in found.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    shutil.rmtree(f"/etc/netns/{space}", ignore_errors=True)
    with contextlib.suppress(OSError):
        # Only if nobody else keeps anything there.
        os.rmdir("/etc/netns")
    subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False, timeout=20)


def _remove_abandoned() -> None:
    try:
        present = os.listdir("/run/netns")
    except FileNotFoundError:
        return
    for name in present:
        match = re.fullmatch(rf"{_PREFIX}-(\d+)-\w+", name)
        if match and not os.path.exists(f"/proc/{match[1]}"):
            _remove(name)
