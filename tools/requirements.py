# SPDX-License-Identifier: BSD-3-Clause
"""Prints what pyproject.toml requires, one line each, for pip.

Why: a checkout is compiled in place, by make, which recompiles only what changed; pip would compile all of it again
just to learn what it needs. Usage: requirements.py base | the name of an extra ...
"""
import sys
import tomllib
from pathlib import Path


def requirements(names: list[str]) -> list[str]:
    """The requirements of the build and of running (`base`), and of extras."""
    table = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8"))
    project = table["project"]
    found: list[str] = []
    for name in names:
        if name == "base":
            found += table["build-system"]["requires"] + project["dependencies"]
        else:
            found += project["optional-dependencies"][name]
    return found


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))
