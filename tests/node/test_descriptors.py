# SPDX-License-Identifier: BSD-3-Clause
"""Room for descriptors: raised where a node needs it, and never lowered. In a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from covey.node.descriptors import make_room
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
make_room({arguments})
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "arguments", "then"),
    [
        (512, 4096, "slots=8", "512 4096"),
        (512, 4096, "slots=200", "1256 4096"),
        (512, 1000, "slots=200", "1000 1000"),
        (512, 4096, "connections=65536", "4096 4096"),
    ],
)
def test_it_is_raised_as_far_as_it_is_needed_and_may_be(soft: int, hard: int, arguments: str, then: str) -> None:
    source = PROGRAM.format(soft=soft, hard=hard, arguments=arguments)
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == then, done.stderr
