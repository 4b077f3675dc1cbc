# SPDX-License-Identifier: BSD-3-Clause
"""A reader of a how-to page: somebody who does what it says, on hosts of the lab under the names that the page uses.

Why: pages about several machines are read on several machines. Here each name is a namespace with a host name, a home
and a table of names of its own.

`ssh`, `sbatch` and `srun` are stand-ins (`fakessh.py`, `fakeslurm.py`): the page's commands are run as they are
written, and what is put to the test is what covey does beyond them; the log-on itself is not.

Guarantees: each block of the page is run, saved or looked for; a command that ends must end with 0; one that serves
goes on until the page is read, or until the page ends it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

import covey
from hosts import Host, Lab, Program
from pageblocks import Block, blocks_of, pattern_of
from waiting import wait_until

_SERVES = "Ctrl-C ends this"
_DEADLINE = 25.0
# Users of one machine: nobody has these numbers.
_USERS = {"ann": 61001, "ben": 61002}
_MAY_LOG_ON = [f"--{kind}-caps=-all,+setuid,+setgid" for kind in ("inh", "ambient")]
_TOOLS = Path(__file__).parent


class Reader:
    """Reads a page. `hosts` are the page's names for hosts; `knows` are the names that a host can look up, where it
    does not know all; with `one_home` they share a home, as on a cluster."""

    def __init__(
        self, lab: Lab, hosts: Mapping[str, Host], *, knows: Mapping[str, Sequence[str]] = {}, one_home: bool = False
    ) -> None:
        self.lab = lab
        self._hosts = dict(hosts)
        self._homes: dict[tuple[str, str | None], Path] = {}
        self._one_home = one_home
        self._latest: list[Program] = []
        self.programs: list[Program] = []
        self._tools = lab.folder / "tools"
        for host in self._hosts.values():
            # The page says where keys come from.
            host.key_file.unlink()
        self._make_tools()
        for name, host in self._hosts.items():
            known = [other for other in self._hosts if other in knows.get(name, self._hosts)]
            table = "".join(f"{self._hosts[other].ip} {other}\n" for other in known)
            lab.spaces.set_names(host.name, f"127.0.0.1 localhost\n{table}")

    def read(self, page: str) -> None:
        """Does what the page says, from its first block to its last."""
        for block in blocks_of(page):
            try:
                self._do(block)
            except AssertionError as error:
                others = "\n".join(program.picture() for program in self.programs if program not in self._latest)
                place = f"{page}.md, line {block.line}"
                raise AssertionError(f"{place}:\n{block.text}\n{error}\n\nbefore that:\n{others}") from None
        for program in self.programs:
            assert program.process.poll() in (None, 0), program.picture()

    def _do(self, block: Block) -> None:
        if block.language == "text":
            assert self._latest, "nothing has run yet that could say this"
            self._look_again(block)
            for line in filter(None, block.text.splitlines()):
                self._wait_said(pattern_of(line))
        elif block.file is not None:
            for host in block.hosts:
                (self._home(host, block.user) / block.file).write_text(block.text, encoding="utf-8")
        else:
            assert block.language == "sh", "who runs this? Write `# FILE on HOST` above it"
            self._run(block)

    def _run(self, block: Block) -> None:
        self._block = block
        self._latest = [self._type(block, host) for host in block.hosts]
        for program in self._latest:
            wait_until(lambda program=program: _ends_or_serves(program), program.picture, _DEADLINE)
            assert program.process.poll() in (None, 0), program.picture()

    def _look_again(self, said: Block) -> None:
        """Who asks for the status before the nodes are there asks once more."""
        patterns = [pattern_of(line) for line in said.text.splitlines() if line]
        asked = [line for line in self._block.text.splitlines() if line and not line.startswith("#")]
        until = monotonic() + _DEADLINE
        while (
            len(asked) == 1 and asked[0].startswith("covey status") and monotonic() < until
            and not all(re.search(each, program.printed) for each in patterns for program in self._latest)
        ):
            self._run(self._block)

    def _wait_said(self, pattern: str) -> None:
        wait_until(
            lambda: all(re.search(pattern, program.printed + program.said) for program in self._latest),
            lambda: f"{pattern!r} is not in:\n" + "\n".join(program.picture() for program in self._latest),
        )

    def _type(self, block: Block, name: str) -> Program:
        home = self._home(name, block.user)
        enter = 'hostname "$0" && exec "$@"'
        if block.user is None:
            words = ["unshare", "--uts", "sh", "-c", enter, name]
        else:
            number = str(_USERS[block.user])
            words = ["unshare", "--uts", "--mount", "sh", "-e", "-c", f"{self._open_to_all()}\n{enter}", name]
            # The last is for our ssh, which must become another user; it opens no file.
            words += ["setpriv", "--reuid", number, "--regid", number, "--clear-groups", *_MAY_LOG_ON]
        # In the reader's own terminal what was exported before holds on.
        script = f"cd {shlex.quote(str(home))}\n[ -f .exported ] && . ./.exported\n{block.text}"
        for line in block.text.splitlines():
            if line.startswith("export "):
                with open(home / ".exported", "a", encoding="utf-8") as file:
                    file.write(f"{line}\n")
        program = Program(self._hosts[name], [*words, "sh", "-e", "-c", script], **self._environment(name, block.user))
        self.lab.programs.append(program)
        self.programs.append(program)
        return program

    def _environment(self, name: str, user: str | None) -> dict[str, str]:
        home = self._home(name, user)
        run = home / ".run"
        run.mkdir(mode=0o700, exist_ok=True)
        _give(run, user)
        return {
            "HOME": str(home), "XDG_RUNTIME_DIR": str(run), "TMPDIR": str(run),
            "PATH": f"{self._tools}:{os.environ['PATH']}",
            "FAKE_HOSTS": str(self._tools / "hosts.json"),
        }

    def _home(self, name: str, user: str | None = None) -> Path:
        key = ("" if self._one_home else name, user)
        if key not in self._homes:
            home = self.lab.folder / "h" / (user or key[0] or "all")
            home.mkdir(parents=True, mode=0o755)
            home.chmod(0o700)
            _give(home, user)
            self._homes[key] = home
        return self._homes[key]

    def _make_tools(self) -> None:
        self._tools.mkdir()
        for tool, program in {
            "python": [sys.executable, "-u"],
            "covey": [sys.executable, "-m", "covey"],
            "ssh": [sys.executable, str(_TOOLS / "fakessh.py")],
            "sbatch": [sys.executable, str(_TOOLS / "fakeslurm.py"), "sbatch"],
            "srun": [sys.executable, str(_TOOLS / "fakeslurm.py"), "srun"],
        }.items():
            path = self._tools / tool
            path.write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@"\n', encoding="utf-8")
            path.chmod(0o755)
        known = {
            name: {"space": self.lab.spaces.name_of(host.name), "users": _USERS, "home": str(self._home(name))}
            for name, host in self._hosts.items()
        }
        (self._tools / "hosts.json").write_text(json.dumps(known), encoding="utf-8")

    def _open_to_all(self) -> str:
        """Shell commands after which other users see this Python and this checkout, wherever they lie, in the mount
        namespace in which they are run only. A Python in root's own home is out of others' reach."""
        # The second is the session's own temporary directory.
        for place in (self.lab.folder, self.lab.folder.parent):
            place.chmod(0o711)
        needed = {Path(sys.base_prefix), Path(sys.prefix), Path(covey.__file__).parents[1]}
        closed = {path: top for path in needed if (top := _closed_above(path)) is not None}
        kept = {path: self.lab.folder / f"kept{number}" for number, path in enumerate(closed)}
        return "\n".join([
            *(f"mkdir -p {there} && mount --bind {path} {there}" for path, there in kept.items()),
            *(f"mount -t tmpfs -o mode=0755 tmpfs {top}" for top in set(closed.values())),
            *(f"mkdir -p {path} && mount --bind {there} {path}" for path, there in kept.items()),
        ])


def _closed_above(path: Path) -> Path | None:
    """The topmost folder on the way there that others may not enter."""
    return next((top for top in reversed(path.parents) if not top.stat().st_mode & stat.S_IXOTH), None)


def _ends_or_serves(program: Program) -> bool:
    return program.process.poll() is not None or _SERVES in program.said


def _give(place: Path, user: str | None) -> None:
    if user is not None:
        os.chown(place, _USERS[user], _USERS[user])
