# SPDX-License-Identifier: BSD-3-Clause
"""The blocks of a how-to page: what a reader would type, save or see, in the order of the page.

Why: a page that nobody runs is wrong within a year. The comment that opens a block says who its reader is:

    # on lab7                       typed there                  (sh)
    # on big as ann                 typed there by this user     (sh)
    # fit.py on desk and lab7       saved there under this name  (any language)

A block of `text` is what the block of `sh` before it says, where … stands for anything. A block of Python without such
a comment is a whole program.

May not know: hosts, processes. Guarantees: a block of a language it does not know, or of a shell without a host, is an
error: no block is passed over in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HOWTO = Path(__file__).parents[1] / "docs/howto"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^# (?:(?P<file>[\w.-]+) )?on (?P<hosts>[\w-]+(?:(?:, | and )[\w-]+)*)(?: as (?P<user>\w+))?$")


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its language and text; the hosts that it is for, none for a whole program; the file that it is saved
    as, or the user who types it, if the page says so."""

    language: str
    text: str
    line: int
    hosts: tuple[str, ...] = ()
    file: str | None = None
    user: str | None = None


def blocks_of(name: str) -> list[Block]:
    """The blocks of the page of this name."""
    return parse((HOWTO / f"{name}.md").read_text(encoding="utf-8"))


def parse(page: str) -> list[Block]:
    """The blocks of a page.

    >>> parse("```sh\\n# on lab7\\ncovey status\\n```\\n")
    [Block(language='sh', text='# on lab7\\ncovey status\\n', line=1, hosts=('lab7',), file=None, user=None)]
    """
    found = []
    for fence in _FENCE.finditer(page):
        language, text = fence[1], fence[2]
        line = page.count("\n", 0, fence.start()) + 1
        title = find_title(text)
        if language not in ("python", "sh", "text"):
            raise ValueError(f"line {line}: a block of {language or 'no language'} is none that a test can read")
        if title is None:
            if language == "sh":
                raise ValueError(f"line {line}: who types this? Write `# on HOST` above it")
            found.append(Block(language, text, line))
            continue
        hosts = tuple(re.split(r", | and ", title["hosts"]))
        found.append(Block(language, text, line, hosts, title["file"], title["user"]))
    return found


def find_title(text: str) -> re.Match[str] | None:
    """The comment that says who a block is for.

    >>> find_title("# fit.py on desk\\nimport covey\\n")["file"]
    'fit.py'
    """
    # A script that a shell is to run opens with the shell's own line.
    return next(filter(None, map(_TITLE.match, text.splitlines()[:2])), None)


def pattern_of(line: str) -> str:
    """A regular expression for a line of a `text` block.

    >>> pattern_of("lab9 is not there: …")
    'lab9\\\\ is\\\\ not\\\\ there:.*'
    """
    return ".*".join(re.escape(part.strip()) for part in line.split("…"))
