# SPDX-License-Identifier: BSD-3-Clause
"""The doors of the house: public names, what importing costs, and that what the pages show is true."""
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import covey
from house import ROOT, files, name
from pageblocks import find_title

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
MODULES = [
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    for path in files("src")
    if path.suffix == ".py" and ">>>" in path.read_text(encoding="utf-8")
]
PUBLIC = [x for x in covey.__all__ if not x.startswith("_")]


def run(*command: str, folder: Path) -> str:
    """What a fresh interpreter prints; two slots at most, as on the smallest machine."""
    environment = dict(os.environ, COVEY_MAX_CPU="2", PYTHONPATH=str(ROOT / "src"))
    whole = [sys.executable, *command]
    done = subprocess.run(whole, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("public", PUBLIC)
def test_public_name_is_documented(public: str) -> None:
    value = getattr(covey, public)
    text = value.__doc__ or ""
    assert text.strip(), f"covey.{public} has no docstring"
    if not (isinstance(value, type) and issubclass(value, BaseException)):
        assert ">>>" in text, f"covey.{public} shows no example"


def test_dir_lists_the_public_names_and_no_others() -> None:
    assert dir(covey) == sorted(covey.__all__)
    with pytest.raises(AttributeError, match="no name 'distrbute'"):
        _ = covey.distrbute


def test_every_error_of_covey_is_public(tmp_path: Path) -> None:
    errors = importlib.import_module("covey.errors")
    mine = {x for x, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.CoveyError)}
    inner = {"BundleBroken"}        # caught by covey's own map
    assert mine - inner == {x for x in PUBLIC if isinstance(getattr(covey, x), type)} & mine


def test_import_loads_nothing_else(tmp_path: Path) -> None:
    code = "import sys; before = set(sys.modules); import covey; print(sorted(set(sys.modules) - before))"
    assert run("-c", code, folder=tmp_path) == "['covey']\n"


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module: str, tmp_path: Path) -> None:
    code = (
        "import doctest, importlib, sys\n"
        f"found = doctest.testmod(importlib.import_module({module!r}), optionflags=doctest.ELLIPSIS)\n"
        "sys.exit(found.failed)\n"
    )
    run("-c", code, folder=tmp_path)


# Those for several machines are run by tests/machines.
BLOCKS = [
    (page, number)
    for page in PAGES if page.exists()
    for number, text in enumerate(BLOCK.findall(page.read_text())) if find_title(text) is None
]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "number"), BLOCKS, ids=[f"{name(page)}-{number}" for page, number in BLOCKS])
def test_code_on_a_page_runs(page: Path, number: int, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(BLOCK.findall(page.read_text())[number])
    run(str(script), folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=name)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    said = run(str(example), folder=tmp_path)
    if said.startswith("This example needs"):
        pytest.skip(said.strip())
    assert said
