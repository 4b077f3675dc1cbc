# SPDX-License-Identifier: BSD-3-Clause
"""Hosts: a network namespace with a home and a key of its own, and the programs that run there.

Why: a machine is more than an address. Two hosts share neither key file nor run directory unless a test copies them.

Guarantees: a program that a test started, and whatever that started in turn, is killed when the test ends; a wait for
something that does not come fails with what the program said.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

import covey
from covey.keys.connection import ConnectionFile
from covey.keys.secret import Secret
from namespaces import NAMES, Namespaces
from waiting import wait_until

Found = TypeVar("Found")

PORT = 2718
# Whatever a host's programs start inherits this, so that nothing of a test's can hide.
_MARK = "TESTED_BY"
_DEADLINE = 30.0


class Program:
    """A process on a host; what it says goes to files."""

    def __init__(self, host: Host, arguments: list[str], **environment: str) -> None:
        number = host.next_number()
        self._out = host.folder / f"out{number}"
        self._err = host.folder / f"err{number}"
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", host.lab.spaces.name_of(host.name), *arguments],
                cwd=host.folder,
                env=host.environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                # a group of its own, as a shell gives it
                process_group=0,
            )
        self.pid = self.process.pid

    @property
    def said(self) -> str:
        """What it has said on stderr."""
        return self._err.read_text(errors="replace")

    @property
    def printed(self) -> str:
        """What it has printed."""
        return self._out.read_text(errors="replace")

    def wait_said(self, pattern: str, deadline: float = _DEADLINE) -> str:
        """The line of stderr in which the pattern is found."""
        self._wait(lambda: re.search(pattern, self.said, re.MULTILINE), f"it did not say {pattern!r}", deadline)
        return next(line for line in self.said.splitlines() if re.search(pattern, line))

    def wait_printed(self, pattern: str, deadline: float = _DEADLINE) -> None:
        """Waits until it has printed that."""
        self._wait(lambda: re.search(pattern, self.printed), f"it did not print {pattern!r}", deadline)

    def wait_end(self, deadline: float = _DEADLINE) -> int:
        """Its exit code."""
        self._wait(lambda: self.process.poll() is not None, "it did not end", deadline)
        return self.process.wait()

    def result(self, deadline: float = _DEADLINE) -> Any:
        """What the last line that it printed says, as JSON, once it has ended well."""
        assert self.wait_end(deadline) == 0, self.picture()
        return json.loads(self.printed.splitlines()[-1])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after this signal."""
        self.process.send_signal(number)
        return self.wait_end()

    def kill(self) -> None:
        """SIGKILL, and waits for the end."""
        self.process.kill()
        self.process.wait()

    def children(self) -> set[int]:
        """The processes that it started."""
        return {pid for pid in pids_marked() if _parent_of(pid) == self.pid}

    def picture(self) -> str:
        """All that is known of it."""
        return (f"pid {self.pid}, exit code {self.process.poll()}\n--- stdout\n{self.printed}\n--- stderr\n{self.said}")

    def _wait(self, condition: Callable[[], object], what: str, deadline: float) -> None:
        def or_over() -> object:
            return condition() or self.process.poll() is not None

        wait_until(or_over, lambda: f"{what}: {self.picture()}", deadline)
        assert condition(), f"{what}: {self.picture()}"


class Host:
    """One of the lab's machines."""

    def __init__(self, lab: Lab, name: str, folder: Path) -> None:
        self.lab = lab
        self.name = name
        self.folder = folder
        self.ip = lab.spaces.address(name)
        self._number = 0
        for place in ("home", "run"):
            (folder / place).mkdir(parents=True, mode=0o700)

    def next_number(self) -> int:
        self._number += 1
        return self._number

    @property
    def key_file(self) -> Path:
        return self.folder / "home/.config/covey/key"

    def give_key(self, secret: Secret) -> None:
        """As if somebody had copied the key file here."""
        self.key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.key_file.unlink(missing_ok=True)
        self.key_file.touch(0o600)
        self.key_file.write_bytes(secret.file_bytes())

    def environment(self, **more: str) -> dict[str, str]:
        place = os.path.dirname(os.path.dirname(os.path.abspath(covey.__file__)))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COVEY_", "XDG_"))}
        return kept | {
            "HOME": str(self.folder / "home"), "XDG_RUNTIME_DIR": str(self.folder / "run"), "TMPDIR": str(self.folder),
            "PYTHONPATH": place, "PYTHONWARNINGS": "default", "COVEY_MAX_CPU": "2", _MARK: tempfile.gettempdir(),
        } | more

    def covey(self, *words: str, **environment: str) -> Program:
        """`covey WORDS` at a terminal there."""
        return self._keep(Program(self, [sys.executable, "-m", "covey", *words], **environment))

    def script(self, source: str, **environment: str) -> Program:
        """A user's program there."""
        path = self.folder / f"program{self.next_number()}.py"
        path.write_text(textwrap.dedent(source))
        return self._keep(Program(self, [sys.executable, "-u", path.name], **environment))

    def worker(self, words: str = "max_cpu=1", *, ready: bool = True) -> Program:
        """A worker script, called as its host is; `ready`: waits until it listens."""
        program = self.script(f"import covey\ncovey.funworker({words}, name={self.name!r})\n")
        if ready:
            program.wait_said("slots?, at")
        return program

    def listening(self, *words: str) -> Program:
        """`covey node --listen`, ready."""
        node = self.covey("node", "--listen", "--max-cpu", "1", "--name", self.name, *words)
        node.wait_said("slots?, at")
        return node

    def ask_names_of(self, server: str) -> None:
        """Programs that are started from now on look names up there."""
        self.lab.spaces.set_name_server(self.name, server)

    def inside(self, function: Callable[[], Found]) -> Found:
        """What the function returns when it is called in this host's network."""
        return self.lab.spaces.inside(self.name, function)

    @contextmanager
    def client(self, *arguments: Any, **named: Any) -> Iterator[covey.Client]:
        """A client in the tests' own process, whose network is this host's."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COVEY_KEY_FILE", str(self.key_file))
            client = self.inside(lambda: covey.Client(*arguments, **named))
        try:
            yield client
        finally:
            client.kill()

    def _keep(self, program: Program) -> Program:
        self.lab.programs.append(program)
        return program


class Lab:
    """Three hosts with one key."""

    def __init__(self, spaces: Namespaces, folder: Path) -> None:
        self.spaces = spaces
        self.folder = folder
        self.programs: list[Program] = []
        self.secret = Secret(os.urandom(32))
        self.alpha, self.beta, self.gamma = (Host(self, name, folder / name[0]) for name in NAMES)
        for host in (self.alpha, self.beta, self.gamma):
            spaces.mend(host.name)
            host.give_key(self.secret)

    def broker(self, host: Host, *words: str, file: str = "lab.json") -> tuple[Program, str]:
        """`covey broker` there, and its connection file, which every host can read."""
        path = str(self.folder / file)
        here = f"tcp://{host.ip}:{PORT}"
        broker = host.covey("broker", path, "--name", f"broker-{host.name}", "--listen", here, *words)
        broker.wait_said("covey broker: at")
        assert ConnectionFile.read(path).addresses
        return broker, path

    def node_of(self, host: Host, path: str, *words: str) -> Program:
        """`covey node --connect` there."""
        node = host.covey("node", "--connect", path, "--max-cpu", "1", "--name", host.name, *words)
        node.wait_said("for the broker of")
        return node

    def close(self) -> None:
        """Kills whatever is left, and removes the hosts' folders."""
        for program in self.programs:
            program.kill()
        for pid in pids_marked():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until(lambda: not pids_marked(), lambda: f"processes {pids_marked()} do not die")
        shutil.rmtree(self.folder, ignore_errors=True)


def pids_marked() -> set[int]:
    """The processes that hosts started and that live, whoever their parents are now."""
    mark = f"{_MARK}={tempfile.gettempdir()}".encode()
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                found.add(int(name))
        except OSError:
            continue            # it ended while we looked
    return found


def _parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def resident_of(pid: int) -> int:
    """The memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
