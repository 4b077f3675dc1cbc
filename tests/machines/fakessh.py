# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for `ssh` between the hosts of a how-to page: forwards ports, and runs commands.

Why: an ssh server is on few machines that run tests, and how one logs on is not covey's affair. What the pages need of
ssh is that bytes go through it: from a port there to a port here (-R), the other way (-L), and to a command's standard
input.

May not know: covey. Guarantees: it ends when its command ends; without one (-N) it goes on, and says so in the words
that the reader of the page waits for.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
from argparse import REMAINDER, ArgumentParser
from typing import Any

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    reader = ArgumentParser()
    reader.add_argument("-N", action="store_true")
    reader.add_argument("-J")
    reader.add_argument("-L", action="append", default=[])
    reader.add_argument("-R", action="append", default=[])
    reader.add_argument("host")
    reader.add_argument("command", nargs=REMAINDER)
    chosen = reader.parse_args()
    with open(os.environ["FAKE_HOSTS"], encoding="utf-8") as file:
        known = json.load(file)
    user, _, name = chosen.host.rpartition("@")
    there = known[name]
    if chosen.L or chosen.R:
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        far = os.open(f"/run/netns/{there['space']}", os.O_RDONLY)
        for forward in chosen.L:
            Tunnel(forward, here, far).start()
        for forward in chosen.R:
            Tunnel(forward, far, here).start()
    if chosen.N:
        sys.stderr.write("the tunnel stands; Ctrl-C ends this\n")
        threading.Event().wait()
    return run_there(there, name, user, " ".join(chosen.command))


def run_there(there: dict[str, Any], name: str, user: str, command: str) -> int:
    """The command in a shell of that host, as a log-on would start it."""
    home = there["home"]
    words = ["ip", "netns", "exec", there["space"], "unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]
    if user:
        # It is on the same machine: those who are not root cannot go to another here.
        words = []
        number = str(there["users"][user])
        home = os.path.join(os.path.dirname(home), user)
        words += ["setpriv", "--reuid", number, "--regid", number, "--clear-groups"]
    words += ["sh", "-c", f"cd {shlex.quote(home)} && mkdir -p .run && chmod 700 .run && {command}"]
    run = os.path.join(home, ".run")
    environment = {**os.environ, "HOME": home, "XDG_RUNTIME_DIR": run, "TMPDIR": run}
    return subprocess.run(words, env=environment, cwd="/", check=False).returncode


class Tunnel:
    """`PORT:HOST:HOSTPORT`: listens on the loopback of one network, and dials in the other."""

    def __init__(self, forward: str, listening: int, dialling: int) -> None:
        port, self._host, self._to = forward.split(":")
        self._dialling = dialling
        self._listener = in_network(listening, lambda: socket.create_server(("127.0.0.1", int(port))))

    def start(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            near, _ = self._listener.accept()
            try:
                far = in_network(self._dialling, lambda: socket.create_connection((self._host, int(self._to))))
            except OSError:
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=pump, args=(source, sink), daemon=True).start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Until either end hangs up; then both have."""
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass
    for one in (source, sink):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass            # the other direction was first


def in_network(space: int, make: Any) -> Any:
    """A socket of that network: in a thread of its own, because a network is a property of a thread."""
    found: list[Any] = []

    def enter() -> None:
        if _libc.setns(space, _CLONE_NEWNET) != 0:
            found.append(OSError(ctypes.get_errno(), "no way into that network"))
            return
        try:
            found.append(make())
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
