# SPDX-License-Identifier: BSD-3-Clause
"""The GPUs that CUDA shows, asked by PyCUDA in a process of its own.

Why another process: `cuInit` takes a second, keeps descriptors and threads, and after it a process must not fork.
Why at all: there are machines where CUDA works and NVML does not (WSL, Jetson, a container without its library).

May not know: which GPUs are wanted; CUDA itself applies the CUDA_VISIBLE_DEVICES that it is given.
Guarantees: returns within the deadline, and leaves no process behind.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping

__all__ = ["ask_pycuda"]

# cuInit takes up to some seconds on a machine with many GPUs and no persistence daemon.
DEADLINE = 20.0

# A line each, marked, because a library may have something to say as well.
_PROGRAM = """\
import pycuda.driver as driver
driver.init()
for number in range(driver.Device.count()):
    device = driver.Device(number)
    print("covey-gpu", device.total_memory(), device.name())
"""


def ask_pycuda(environment: Mapping[str, str], *, deadline: float = DEADLINE) -> list[tuple[str, int]]:
    """The name and memory of each GPU that is visible under `environment`, in order.

    ImportError: pycuda is not installed. OSError: it could not say, and why.
    """
    if not sys.executable or importlib.util.find_spec("pycuda") is None:
        raise ImportError("pycuda is not installed")
    try:
        # -P: a file pycuda.py in the directory that the user happens to be in is not meant.
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"PyCUDA did not answer within {deadline:.3g} s") from None
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise OSError(f"PyCUDA finds no GPU: {last[:200]}")
    found = []
    for line in done.stdout.splitlines():
        mark, _, rest = line.partition(" ")
        memory, _, name = rest.partition(" ")
        if mark == "covey-gpu" and memory.isdigit():
            found.append((name, int(memory)))
    return found
