# SPDX-License-Identifier: BSD-3-Clause
"""A fresh interpreter that finds this covey, for tests of what a shell sees."""
import os
import subprocess
import sys


def command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What it printed, and its exit code."""
    whole = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run([sys.executable, *arguments], env=whole, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)
