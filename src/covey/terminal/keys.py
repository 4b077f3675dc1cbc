# SPDX-License-Identifier: BSD-3-Clause
"""`covey keys`: makes, shows and rotates keys and connection files.

Why: a key is made once, on one machine, and copied; whoever does that needs to see which file, and whether two are the
same.

May not know: sockets, what keys are made of. Guarantees: nothing secret is printed, and nothing secret is an argument.
"""
from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from covey import __version__
from covey.keys.connection import ConnectionFile
from covey.keys.pairs import ROLES
from covey.keys.rotation import rotate
from covey.keys.secret import Secret, key_path

__all__ = ["parser", "run"]


def run(arguments: Sequence[str]) -> int:
    """`covey keys …`."""
    reader = parser()
    chosen = reader.parse_args(arguments)
    connection = chosen.action != "rotate" and (chosen.connection or (chosen.path or "").endswith(".json"))
    if connection and chosen.path is None:
        reader.error("--connection needs the PATH of the connection file")
    if chosen.action == "new":
        if connection and not chosen.address:
            reader.error("a connection file needs at least one --address, where the broker will listen")
        if not connection and (chosen.address or chosen.role):
            reader.error("--address and --role are for a connection file: name one that ends with .json, or add "
                         "--connection")
        said = _new_connection(chosen) if connection else _new_key(chosen.path or key_path())
    elif chosen.action == "show-public":
        said = _show_connection(chosen.path) if connection else _show_key(chosen.path or key_path())
    else:
        said = rotate(chosen.path or key_path()).advice
    sys.stdout.write(said + "\n")
    return 0


def parser() -> ArgumentParser:
    """What may stand behind `covey keys`.

    >>> parser().parse_args(["new", "lab.json", "--address", "tcp://login:2718"]).path
    'lab.json'
    """
    whole = ArgumentParser(prog="covey keys", description="Make, show and rotate keys and connection files. Nothing "
                           "secret is ever printed.", allow_abbrev=False)
    actions = whole.add_subparsers(dest="action", required=True, metavar="new | show-public | rotate")
    new = actions.add_parser("new", allow_abbrev=False, help="make a key file, or a connection file in advance")
    new.add_argument("path", nargs="?", metavar="PATH", help="the file to make (default: the user's own key file); a "
                     "connection file if it ends with .json")
    new.add_argument("--connection", action="store_true", help="PATH is a connection file, whatever its name")
    new.add_argument("--address", action="append", metavar="tcp://HOST:PORT", help="where the broker will listen; "
                     "may be given again")
    new.add_argument("--role", choices=ROLES, help="put only the key of this role into the connection file")
    show = actions.add_parser("show-public", allow_abbrev=False, help="print fingerprint and public keys, to compare "
                              "two machines")
    show.add_argument("path", nargs="?", metavar="PATH", help="the file to look at (default: the user's own key file)")
    show.add_argument("--connection", action="store_true", help="PATH is a connection file, whatever its name")
    turn = actions.add_parser("rotate", allow_abbrev=False, help="put a new key in the place of the old one")
    turn.add_argument("path", nargs="?", metavar="PATH", help="the key file (default: the user's own)")
    return whole


def _new_key(path: str) -> str:
    made = Secret.make(path)
    return (f"made the key file {path}, fingerprint {made.fingerprint}\n"
            f"copy it to every machine that shall take part, for instance: "
            f"ssh HOST 'umask 77; mkdir -p .config/covey; cat > .config/covey/key' < {shlex.quote(path)}")


def _new_connection(chosen: Namespace) -> str:
    # Only the compiled page knows its version, and only this needs it.
    from covey.wire.protocol import PROTOCOL

    name = Path(chosen.path).stem
    made = ConnectionFile.of(Secret.find(), chosen.address, protocol=PROTOCOL, version=__version__, name=name)
    if chosen.role:
        made = made.for_role(chosen.role)
    made.create(chosen.path)
    return (f"made the connection file {chosen.path} for {', '.join(made.addresses)}, fingerprint {made.fingerprint}, "
            f"with the key of a {' and a '.join(made.pairs)}\n"
            f"copy it to the machines that shall take part, for instance: scp -p {shlex.quote(chosen.path)} HOST:")


def _show_key(path: str) -> str:
    secret = Secret.read(path)
    keys = secret.keys()
    lines = [f"{path}: fingerprint {secret.fingerprint}"]
    lines += [f"{role:<7} {pair.public.hex()}" for role, pair in
              (("broker", keys.broker), ("client", keys.client), ("node", keys.node))]
    return "\n".join(lines)


def _show_connection(path: str) -> str:
    found = ConnectionFile.read(path)
    where = found.host or "this machine"
    lines = [
        f"{path}: fingerprint {found.fingerprint}, {found.name} on {where}",
        f"written by covey {found.version}, protocol {found.protocol}",
        *(f"address {address}" for address in found.addresses),
        f"{'broker':<7} {found.broker.hex()}",
        *(f"{role:<7} {pair.public.hex()}" for role, pair in found.pairs.items()),
    ]
    return "\n".join(lines)
