# SPDX-License-Identifier: BSD-3-Clause
"""The modules that a peer's bytes reach, compiled a second time: with the sanitizers, beside the package.

Why not the whole package: it would take minutes. What is not built here is imported from where it always is: the two
fit together, since the sanitizers change no layout. Why gcc and not clang, for whom there are better fuzzers: it is
what a checkout is compiled with, so this runs wherever covey is built.

Guarantees: nothing is written outside of the folder that is named, but generated C that was out of date. A program of
its own, because setuptools changes the process that it runs in: sanitized.py FOLDER.
"""
import importlib
import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

# Rooms, or modules of them. Left out: what moves bytes and does not look at them (sockets, loops), and what only
# ever sees what covey itself has made.
REACHED = ("covey.wire.", "covey.broker.", "covey.link.", "covey.client.line", "covey.codec.values")
NOT_REACHED = {
    "covey.broker.board", "covey.broker.broker", "covey.broker.loop", "covey.broker.ports", "covey.link.callers",
    "covey.link.dial", "covey.link.kin", "covey.link.libzmq", "covey.link.wake", "covey.link.zap",
}

# Behind FLAGS of setup.py, so these count. No line of theirs is worth more speed: most of a run is Python.
FLAGS = ["-O1", "-g1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
    "-fsanitize-coverage=trace-pc", "-Wno-address-of-packed-member"]

# Python itself leaks by design; a request for too much memory is to fail, as it may anywhere.
ASAN = "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=1024:abort_on_error=0:exitcode=77"
UBSAN = "print_stacktrace=1:halt_on_error=1:exitcode=77"


def _runtime() -> str | None:
    """Where gcc's address sanitizer is."""
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    path = found.stdout.strip()
    # What it does not have, it names without a folder.
    return os.path.realpath(path) if os.path.isabs(path) else None


def lacking() -> str | None:
    """What is not here and would be needed; None: all is."""
    if sys.platform != "linux":
        return "the sanitizers are set up for Linux only"
    if shutil.which("gcc") is None:
        return "there is no gcc here"
    if _runtime() is None:
        return "gcc's address sanitizer (libasan) is not here"
    if not (ROOT / "setup.py").exists() or not (ROOT / "ext").is_dir():
        return "the sources are not here"
    if any(importlib.util.find_spec(name) is None for name in ("Cython", "setuptools")):
        return "Cython or setuptools is not here"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's header files are not here"
    return None


def environment(place: Path) -> dict[str, str]:
    """For a program that is to run with what was built there."""
    runtime = _runtime()
    assert runtime is not None
    return {
        **os.environ,
        "LD_PRELOAD": f"{runtime}:{place / 'edges.so'}",
        "ASAN_OPTIONS": ASAN,
        "UBSAN_OPTIONS": UBSAN,
        # Else most objects share blocks, and reading beyond one of them would be seen by nobody.
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": os.pathsep.join([str(place), str(ROOT / "src"), str(ROOT / "tests"), str(HERE)]),
    }


class Finder:
    """Finds what was built there, ahead of the package's own."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def find_spec(self, name: str, _path: object = None, _target: ModuleType | None = None) -> ModuleSpec | None:
        file = self._place.joinpath(*name.split(".")).with_suffix(SUFFIX)
        return importlib.util.spec_from_file_location(name, file) if file.exists() else None


def build(place: Path) -> None:
    """Builds it all into that folder."""
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", str(HERE / "edges.c"), "-o", str(place / "edges.so")], check=True)
    subprocess.run([sys.executable, __file__, str(place)], check=True, cwd=ROOT)


def _compile(place: Path) -> None:
    # Neither has types.
    cythonize = importlib.import_module("Cython.Build").cythonize
    setuptools = importlib.import_module("setuptools")
    house = runpy.run_path("setup.py")
    reached = [
        found for found in house["extensions"]() if found.name.startswith(REACHED) and found.name not in NOT_REACHED
    ]
    anvil = setuptools.Extension("anvil", [str(HERE / "anvil.pyx")])
    for found in (*reached, anvil):
        found.extra_compile_args += FLAGS
        found.extra_link_args += ["-fsanitize=address,undefined"]
    options = {"include_path": ["ext"], "compiler_directives": house["DIRECTIVES"], "quiet": True}
    # Where setup.py puts it, so that what is there already is not made again.
    generated = "build/c-debug" if house["DEBUG"] else "build/c"
    made = cythonize(reached, build_dir=generated, annotate=house["DEBUG"], **options)
    made += cythonize([anvil], build_dir=str(place / "c"), **options)
    setuptools.setup(
        script_args=["--quiet", "build_ext", "--build-lib", str(place), "--build-temp", str(place / "o")],
        ext_modules=made,
        options={"build_ext": {"parallel": os.cpu_count() or 1}},
    )


if __name__ == "__main__":
    _compile(Path(sys.argv[1]))
