# SPDX-License-Identifier: BSD-3-Clause
"""The command `covey`: the first word decides which module goes on.

Why: nodes are started by the thousand, so the command imports only what the word needs; argparse itself comes only for
`--help` and for what cannot be understood.

May not know: what the words do. Guarantees: exit code 0 for done, 1 for refused, with one sentence on stderr and no
traceback, 2 for a command that cannot be understood, 130 after Ctrl-C. No word has an option that takes a key, because
every user of a machine can read the commands that run on it.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from covey import __version__
from covey.errors import CoveyError

__all__ = ["WORDS", "main"]

# Each word: "module:function" that takes the rest of the command and returns the exit code, and what it is for.
WORDS = {
    "broker": ("covey.terminal.broker:run", "bring clients and nodes together"),
    "node": ("covey.terminal.node:run", "give this machine to callers, or to a broker"),
    "status": ("covey.terminal.status:run", "show nodes, slots and tasks of a broker or node"),
    "drain": ("covey.terminal.drain:run", "let a node finish what runs there, and leave"),
    "doctor": ("covey.terminal.doctor:run", "check this machine, and say what to do"),
    "keys": ("covey.terminal.keys:run", "make, show and rotate keys and connection files"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command says, and returns its exit code.

    >>> main(["--version"])
    covey 0.1...
    0
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments) == ["--version"]:
        sys.stdout.write(f"covey {__version__}\n")
        return 0
    if not arguments or arguments[0] not in WORDS:
        return _explain(arguments)
    module, _, function = WORDS[arguments[0]][0].partition(":")
    run: Callable[[Sequence[str]], int] = getattr(import_module(module), function)
    try:
        return run(arguments[1:])
    except CoveyError as error:
        sys.stderr.write(f"covey {arguments[0]}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _explain(arguments: Sequence[str]) -> int:
    """Help, or what is wrong with the command; argparse ends the process itself."""
    from argparse import ArgumentParser, RawDescriptionHelpFormatter

    words = "\n".join(f"  {word:<10}{purpose}" for word, (_, purpose) in WORDS.items())
    parser = ArgumentParser(
        prog="covey",
        description="Run Python functions over every core, GPU and machine you have.",
        epilog=f"words:\n{words}\n\n`covey WORD --help` says more.",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if not arguments:
        parser.exit(2, parser.format_help())
    parser.add_argument("--version", action="version", version=f"covey {__version__}")
    parser.add_argument("word", choices=WORDS, metavar="WORD", help="what to do; see below")
    parser.parse_args(arguments)
    return 2
