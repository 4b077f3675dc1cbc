# SPDX-License-Identifier: BSD-3-Clause
"""Says whether an sdist and the wheel made of it hold what they must: package_contents.py SDIST WHEEL

Why: a stub, a test or a source that is left out of a package is noticed by its users first.
"""
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def faults(sdist: Path, wheel: Path) -> list[str]:
    """One sentence for each thing that is missing or too much."""
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as archive_:
        built = set(archive_.namelist())
    modules = [path.relative_to(ROOT / "ext").with_suffix("").as_posix() for path in ROOT.glob("ext/**/*.pyx")]
    python = [path.relative_to(ROOT / "src").as_posix() for path in ROOT.glob("src/covey/**/*.py*") if "." in path.name]
    python = [name for name in python if name.endswith((".py", ".pyi", "py.typed"))]
    kept = [
        path.relative_to(ROOT).as_posix()
        for folder in ("ext", "tests", "docs", "examples", "benchmarks", "tools")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    ]
    kept += ["Makefile", "setup.py", "LICENSE", ".ci/run"]
    found = [f"the wheel lacks {name}" for name in python if name not in built]
    found += [
        f"the wheel lacks the compiled {name}"
        for name in modules
        if not any(entry.startswith(name + ".") and entry.endswith((".so", ".pyd")) for entry in built)
    ]
    found += [f"the wheel holds {name}" for name in built if name.endswith((".pyx", ".pxd", ".c"))]
    found += [f"the sdist lacks {name}" for name in kept if name not in source]
    found += [f"the sdist lacks src/{name}" for name in python if "src/" + name not in source]
    found += [f"the sdist holds {name}" for name in source if name.endswith((".so", ".pyc"))]
    return found


if __name__ == "__main__":
    complaints = faults(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(complaints) or "sdist and wheel are complete")
    sys.exit(bool(complaints))
