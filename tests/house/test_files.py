# SPDX-License-Identifier: BSD-3-Clause
"""What every file of the house obeys: it says why it exists, is short enough to read, and leaves nothing for later."""
import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from house import ROOT, compiled_modules, files, name, rooms

WALL = 600
ALL = files("src", "ext", "tests", "tools", "benchmarks", "examples")
# In pieces, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + "X)\\b")
BANNER = re.compile(r"^\s*#\s*[-=*#~]{4,}", re.MULTILINE)


@pytest.mark.parametrize("path", ALL, ids=name)
def test_opens_with_licence_and_reason(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if not text and path.name == "__init__.pxd":
        return
    lines = [line for line in text.splitlines() if not line.startswith("#!")]
    assert lines[:1] == ["# SPDX-License-Identifier: BSD-3-Clause"]
    body = "\n".join(line for line in lines if not line.startswith("#"))
    says_why = body.lstrip().startswith(('"""', 'r"""'))
    assert says_why, "no docstring that says why this file exists"


@pytest.mark.parametrize("path", ALL, ids=name)
def test_is_short_enough(path: Path) -> None:
    length = len(path.read_text(encoding="utf-8").splitlines())
    assert length <= WALL, f"{length} lines: look for the second noun"


@pytest.mark.parametrize("path", ALL, ids=name)
def test_leaves_nothing_for_later(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not UNFINISHED.findall(text)
    assert not BANNER.search(text), "a section banner: the second section is a second file"


@pytest.mark.parametrize("path", [path for path in files("tests") if path.suffix == ".py"], ids=name)
def test_nothing_sleeps(path: Path) -> None:
    """A test waits for conditions. Only the work of a task may sleep, and says so: `time.sleep(x)  # work`."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep"):
            assert "# work" in lines[node.lineno - 1], f"line {node.lineno} sleeps: use waiting.wait_until"


def test_names_of_test_files_occur_once() -> None:
    """pytest imports them by their bare names."""
    names = Counter(path.name for path in files("tests"))
    assert not [found for found, n in names.items() if n > 1 and found not in ("__init__.py", "conftest.py")]


def test_rooms_are_packages_and_nobodys_drawer() -> None:
    found = set(rooms())
    assert not found & {"utils", "util", "common", "helpers", "misc"}
    packages = [ROOT / "src/covey" / room for room in found if (ROOT / "src/covey" / room).is_dir()]
    assert not [name(path) for path in packages if not (path / "__init__.py").exists()]


def test_nothing_compiled_outlives_its_source() -> None:
    wanted = set(compiled_modules())
    built = (path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*.so"))
    assert not [str(path) for path in built if ".".join((*path.parts[:-1], path.name.partition(".")[0])) not in wanted]
