# SPDX-License-Identifier: BSD-3-Clause
"""Which extensions are built, and how.

Why: everything else about the package stands in pyproject.toml; this is what a table cannot say. Every
`ext/covey/…/x.pyx` becomes the module `covey.….x`: there is no list to keep.

COVEY_DEBUG=1 builds with bounds checks, line tracing, symbols and Cython's annotated pages (build/c-debug/).
COVEY_JOBS bounds how many compilers run at once.
"""
import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("COVEY_DEBUG", "0") not in ("", "0")
JOBS = int(os.environ.get("COVEY_JOBS") or os.cpu_count() or 1)

# The only place that holds directives. boundscheck is off because wire_check has looked at whatever is walked.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
    "linetrace": DEBUG,
    # Methods as CPython's own are: called with a wrong `self`, as in `Client.submit(f)`, they refuse. Cython's binding
    # functions believe it, and crash.
    "binding": False,
    "embedsignature": True,
    "embedsignature.format": "clinic",
}

# Tracing only where the GIL is held: a traced nogil function would take it, perhaps under a socket's mutex.
MACROS = [("CYTHON_TRACE", "1")] if DEBUG else []
FLAGS = [] if os.name == "nt" else (["-O1", "-g", "-UNDEBUG"] if DEBUG else ["-O2"])


def extensions() -> list[Extension]:
    """One for every .pyx file, named by its place."""
    # setuptools wants paths relative to setup.py, with forward slashes, whatever the system.
    return [
        Extension(
            ".".join(path.with_suffix("").parts[1:]),
            [path.as_posix()],
            define_macros=MACROS,
            extra_compile_args=FLAGS,
        )
        for path in sorted(Path("ext").rglob("*.pyx"))
    ]


def mode_changed() -> bool:
    """Whether the last build had the other value of COVEY_DEBUG: neither make nor setuptools would notice."""
    note = Path("build", "mode")
    mode = "debug" if DEBUG else "release"
    changed = note.exists() and note.read_text() != mode
    note.parent.mkdir(exist_ok=True)
    note.write_text(mode)
    return changed


# Guarded because Cython's parallel workers may import this file again.
if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent)
    setup(
        ext_modules=cythonize(
            extensions(),
            include_path=["ext"],
            build_dir="build/c-debug" if DEBUG else "build/c",
            compiler_directives=DIRECTIVES,
            annotate=DEBUG,
            nthreads=JOBS if sys.platform == "linux" else 0,
        ),
        options={"build_ext": {"parallel": JOBS, "force": mode_changed()}},
    )
