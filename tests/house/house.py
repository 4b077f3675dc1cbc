# SPDX-License-Identifier: BSD-3-Clause
"""Where the house's files are, for the tests that look at the house itself."""
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE_KINDS = {".py", ".pyi", ".pyx", ".pxd"}


def files(*folders: str) -> list[Path]:
    """The source files below these folders, caches left out."""
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in SOURCE_KINDS and "__pycache__" not in path.parts and ".hypothesis" not in path.parts
    ]


def name(path: Path) -> str:
    """A path as people say it; also the test's id."""
    return path.relative_to(ROOT).as_posix()


def compiled_modules() -> list[str]:
    """The dotted names of what is compiled."""
    sources = (path.relative_to(ROOT / "ext") for path in files("ext") if path.suffix == ".pyx")
    return [".".join(path.with_suffix("").parts) for path in sources]


def floors() -> dict[str, int]:
    """Each room's floor, 0 the highest, as pyproject.toml has it for import-linter."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = next(c for c in table["tool"]["importlinter"]["contracts"] if c["type"] == "layers")["layers"]
    return {room.strip(" ()"): number for number, layer in enumerate(layers) for room in layer.split("|")}


def rooms() -> Iterator[str]:
    """What stands on the floors: the packages and modules directly below covey."""
    for path in sorted((ROOT / "src/covey").iterdir()):
        if path.is_dir() and path.name != "__pycache__":
            yield path.name
        elif path.suffix == ".py" and path.stem != "__init__":
            yield path.stem
