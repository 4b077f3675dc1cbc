# SPDX-License-Identifier: BSD-3-Clause
"""The checks of `covey doctor`: what was looked at, what was found, and what to do about it.

May not know: how they are printed. Guarantees: a check never raises; it ends within some seconds; nothing secret is
said, and nothing is made or changed.
"""

from __future__ import annotations

import errno
import os
import platform
import socket
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from covey import __version__
from covey import settings as settings_module
from covey.errors import CoveyError
from covey.keys.secret import Secret, key_path
from covey.node.machines import PORT
from covey.node.occupant import occupant_of
from covey.node.offer import detect_offer
from covey.terminal.inquiry import Inquiry, Target
from covey.wire.protocol import PROTOCOL

__all__ = ["Check", "all_checks", "clock_check", "key_check", "peer_check", "port_check", "speed_check"]

_LEAST_PYTHON = (3, 11)
# What differs by less, people do not notice in two logs.
_CLOCK_LIMIT = 5.0
# Slower than gigabit Ethernet: then encryption is what a link waits for.
_SLOW = 100e6


@dataclass(frozen=True, slots=True)
class Check:
    """One line: `todo` is empty if nothing must be done.

    >>> str(Check("clock", "as the broker's"))
    "ok   clock        as the broker's"
    """

    name: str
    found: str
    todo: str = ""

    def __str__(self) -> str:
        line = f"{'FIX' if self.todo else 'ok':<5}{self.name:<13}{self.found}{': ' * bool(self.todo)}{self.todo}"
        # Some of it comes from another machine, and a terminal obeys what it is sent.
        return "".join(c if c.isprintable() else " " for c in line)


def all_checks(file: str | None) -> Iterator[Check]:
    """Each check, as it is done; with a connection file also those of its broker."""
    yield python_check(sys.version_info[:3])
    yield Check("covey", f"{__version__}, protocol {PROTOCOL}")
    yield from package_checks()
    yield native_check()
    yield key_check(key_path())
    yield port_check(PORT)
    if file is not None:
        yield from broker_checks(file)
    yield speed_check()
    yield from gpu_checks()


def python_check(version: tuple[int, int, int]) -> Check:
    """
    >>> python_check((3, 9, 1)).todo
    'covey needs 3.11 or later'
    """
    text = ".".join(map(str, version))
    todo = "" if version >= _LEAST_PYTHON else f"covey needs {'.'.join(map(str, _LEAST_PYTHON))} or later"
    return Check("python", f"{platform.python_implementation()} {text}", todo)


def package_checks() -> Iterator[Check]:
    """What covey stands on, and what others may send."""
    for name in ("pyzmq", "cloudpickle", "numpy"):
        try:
            yield Check(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, "not installed", f"pip install {name}")


def native_check() -> Check:
    """Whether libzmq can be called from C, and encrypts."""
    try:
        import zmq

        from covey.link import libzmq

        version = zmq.zmq_version()
        where = libzmq.load()
    except ImportError as error:
        return Check("libzmq", f"cannot be called natively ({error})", "pip install --upgrade --force-reinstall pyzmq")
    if not zmq.has("curve"):
        return Check("libzmq", f"{version} has no CURVE", "pip install --force-reinstall pyzmq, and take the wheel: "
                     "other machines are reached with encryption or not at all")
    off = "" if settings_module.read().native else "unset COVEY_NATIVE: machines need the native loop"
    return Check("libzmq", f"{version}, called natively, with CURVE ({os.path.basename(where)})", off)


def key_check(path: str) -> Check:
    """The key file: there, private, and which."""
    if not os.path.lexists(path):
        return Check(
            "key", f"{path} is not there yet; it is made on first use, or copy it from a machine that has it")
    try:
        secret = Secret.read(path)
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except (CoveyError, OSError) as error:
        return Check("key", "cannot be used", str(error))
    return Check("key", f"{path}, mode {mode:04o}, fingerprint {secret.fingerprint}")


def port_check(port: int) -> Check:
    """Whether a node could listen there; that somebody does already is no fault."""
    with socket.socket() as probe:
        # As libzmq does it: a connection that has ended and is not forgotten yet is in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                found = f"{port} cannot be had ({error.strerror}); a node can listen at another (--listen)"
                return Check("port", found)
            who = occupant_of(port) or "a process of somebody else"
            return Check("port", f"{port} is in use by {who}; a second node must listen at another (--listen)")
    return Check("port", f"{port} is free")


def broker_checks(file: str) -> Iterator[Check]:
    """Whether the broker is there, and fits; and its clock."""
    try:
        with Inquiry(Target.of_file(file)) as inquiry:
            inquiry.ask("who")
            # The second time nothing but the way there and back lies between.
            before = time.time()
            said = inquiry.ask("who")
            after = time.time()
    except CoveyError as error:
        yield Check("broker", "cannot be used", str(error))
        return
    yield peer_check(said)
    theirs = said.get("time")
    if isinstance(theirs, int | float):
        yield clock_check(theirs - (before + after) / 2, (after - before) / 2)


def peer_check(said: Mapping[str, Any]) -> Check:
    """Whether what a broker says of itself fits to what is here.

    >>> peer_check({"name": "b", "host": "login", "version": "0.0", "python": "3.11.2", "protocol": 1}).todo
    'use the same covey on both sides (here: ...)'
    """
    found = (f"{said.get('name')} on {said.get('host')}: covey {said.get('version')}, protocol {said.get('protocol')}, "
             f"Python {said.get('python')}")
    todo = ""
    if said.get("protocol") != PROTOCOL or said.get("version") != __version__:
        todo = f"use the same covey on both sides (here: {__version__}, protocol {PROTOCOL})"
    elif str(said.get("python")).split(".")[:2] != [str(part) for part in sys.version_info[:2]]:
        todo = f"use the same Python minor version on both sides (here: {platform.python_version()})"
    return Check("broker", found, todo)


def clock_check(ahead: float, doubt: float) -> Check:
    """How far the broker's clock is from ours.

    >>> clock_check(60.0, 0.01).todo
    'set both by the network (NTP), or their logs cannot be compared'
    """
    if abs(ahead) <= max(doubt, 0.001):
        return Check("clock", "as the broker's")
    found = f"the broker's is {abs(ahead):.3g} s {'ahead' if ahead > 0 else 'behind'}"
    far = abs(ahead) - doubt > _CLOCK_LIMIT
    return Check("clock", found, "set both by the network (NTP), or their logs cannot be compared" if far else "")


def speed_check(seconds: float = 0.5) -> Check:
    """What one encrypted connection carries."""
    try:
        from covey.terminal.crypto import curve_speed

        speed = curve_speed(seconds)
    # Whatever a broken libzmq raises: a doctor reports it.
    except Exception as error:
        return Check("crypto", f"cannot be measured ({error})", "pip install --force-reinstall pyzmq")
    if not speed:
        return Check("crypto", "nothing came through an encrypted connection on this machine",
                     "see whether a firewall blocks 127.0.0.1")
    slow = "; slower than a gigabit network, most likely a libzmq without libsodium" if speed < _SLOW else ""
    return Check("crypto", f"{speed / 1e6:,.0f} MB/s through one encrypted connection{slow}")


def gpu_checks() -> Iterator[Check]:
    """What a node would offer here."""
    try:
        offer = detect_offer(limit=settings_module.read().max_cpu)
    except (CoveyError, ValueError, OSError) as error:
        yield Check("offer", "cannot be told", str(error))
        return
    yield Check("CPUs", f"{offer.cpus} would be offered ({offer.present.because})")
    names = ", ".join(gpu.name for gpu in offer.gpus)
    notes = "".join(f"; {note}" for note in offer.notes)
    yield Check("GPUs", f"{names or 'none'} would be offered ({offer.because}){notes}")
