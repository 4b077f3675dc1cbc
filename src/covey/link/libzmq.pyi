# SPDX-License-Identifier: BSD-3-Clause
"""libzmq's functions, as far as Python asks for them: whether they can be had."""

# Where pyzmq's compiled module lies; ImportError if there is none.
def find_library() -> str: ...

# Finds the functions and returns the file they were found in; ImportError where they cannot be had.
def load(path: str | None = None) -> str: ...

# The process's libzmq context; all of it is for C.
class Context: ...
