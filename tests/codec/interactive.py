# SPDX-License-Identifier: BSD-3-Clause
"""Code as if typed into `__main__`, and another process to load it in."""
import base64
import os
import subprocess
import sys
import textwrap
from typing import Any


def typed(source: str, **names: Any) -> dict[str, Any]:
    """The namespace after running a script: its functions and classes belong to `__main__`, and none resolves there."""
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    exec(textwrap.dedent(source), namespace)
    return namespace


def elsewhere(program: str, data: bytes = b"", **environment: str) -> str:
    """What a fresh interpreter prints that runs `program` with `data` as its variable `data`."""
    code = f"import base64\ndata = base64.b64decode({base64.b64encode(data)!r})\n{textwrap.dedent(program)}"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, cwd="/",
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
