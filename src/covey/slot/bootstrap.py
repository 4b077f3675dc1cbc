# SPDX-License-Identifier: BSD-3-Clause
"""The few lines that a slot's interpreter is given to run (`python -c`).

Why: the child must find covey, and all that the caller could import, wherever the caller found it, so the
caller's `sys.path` comes before the first import. marshal is part of the interpreter, costs nothing to
import, and both ends are the same Python: the node starts slots with the one that it runs in.

May not know: anything that is not in the interpreter itself.
"""

__all__ = ["SOURCE"]

# Arguments: outfit file, slot number, kind of place, number of its GPU, the parent's pid, and the descriptors of
# lifeline, stderr and mark.
SOURCE = """\
import marshal, sys
with open(sys.argv[1], "rb") as file:
    outfit = marshal.load(file)
sys.path[:] = outfit["path"]
from covey.slot.main import main
main(outfit, *map(int, sys.argv[2:]))
"""
