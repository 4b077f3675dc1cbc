# SPDX-License-Identifier: BSD-3-Clause
"""Slot code that changes its whole process (its streams, its logging), run in a process of its own.

`run_in_slot(program)` runs the program's lines where `sent` is the list of (stream, bytes) that were handed over,
`install()` makes it so (with `host=` as on another machine than the caller's), and `output` is covey.slot.output; it
returns what `sent` held at the end, and the process.
"""

import ast
import subprocess
import sys

PRELUDE = """\
import sys
sys.path[:] = {path!r}
from covey.slot import output
import os
sent = []
def install(levels={{"": 30}}, host=""):
    output.install(lambda stream, data: sent.append((stream, data)), levels, host)
def program():
"""

EPILOGUE = """
try:
    program()
except BaseException:
    import traceback
    os.write(2, traceback.format_exc().encode())
    os._exit(1)
os.write(2, b"\\nSENT" + repr(sent).encode())
os._exit(0)
"""


def run_in_slot(program: str) -> tuple[list[tuple[int, bytes]], str, str]:
    """What was sent, and what went to the descriptors 1 and 2."""
    body = "".join(f"    {line}\n" for line in program.strip("\n").splitlines())
    code = PRELUDE.format(path=sys.path) + body + EPILOGUE
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    stderr, mark, sent = done.stderr.decode().rpartition("\nSENT")
    assert mark, done.stderr.decode()
    return ast.literal_eval(sent), done.stdout.decode(), stderr
