# SPDX-License-Identifier: BSD-3-Clause
"""Generates docs/reference/commands.md from the parsers of the command `covey`: run it after an edit there.

Why: a page that lists options by hand lies after the next edit. `python tools/commands_page.py` writes the page;
tests/house compares it. argparse's own help is not used: it differs between versions of Python.
"""
import sys
from argparse import Action, ArgumentParser, _HelpAction, _SubParsersAction
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/commands.md"


def parsers() -> dict[str, tuple[str, ArgumentParser]]:
    """Each word of the command, what it is for, and what may stand behind it."""
    sys.path.insert(0, str(ROOT / "src"))
    words = import_module("covey.terminal.main").WORDS
    return {
        word: (purpose, import_module(place.partition(":")[0]).parser())
        for word, (place, purpose) in sorted(words.items())
    }


def _call(action: Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None and action.metavar is None:
        value = " | ".join(map(str, action.choices))
    if not action.option_strings:
        return f"[{value}]" if action.nargs == "?" else value
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    return f"{', '.join(action.option_strings)} {f'[{value}]' if action.nargs == '?' else value}"


def _section(level: int, title: str, parser: ArgumentParser) -> list[str]:
    lines = [f"{'#' * level} `{title}`", "", *([parser.description, ""] if parser.description else [])]
    below: list[str] = []
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            purposes = {choice.dest: choice.help for choice in action._choices_actions}
            for name, inner in action.choices.items():
                purpose = purposes[name] or ""
                inner.description = inner.description or f"{purpose[:1].upper()}{purpose[1:]}."
                below += _section(level + 1, f"{title} {name}", inner)
        elif not isinstance(action, _HelpAction):
            lines.append(f"- `{_call(action)}`: {action.help}")
    return [*lines, *([""] if lines[-1] else []), *below]


def page() -> str:
    """The page's text."""
    out = [
        "<!-- Generated from the parsers in src/covey/terminal by tools/commands_page.py; do not edit. -->",
        "# The command `covey`",
        "",
        "The exit code is 0 for done, 1 for refused, with one sentence on stderr, and 2 for a command that cannot be",
        "understood. No option takes a key: every user of a machine can read the commands that run on it.",
        "",
    ]
    for word, (_, parser) in parsers().items():
        out += _section(2, f"covey {word}", parser)
    return "\n".join(out).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
