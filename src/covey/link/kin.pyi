# SPDX-License-Identifier: BSD-3-Clause
"""What tasks have started and left running, as Python sees it; ext/covey/link/kin.pxd says how it is found."""

from collections.abc import Sequence

# Kills the processes whose environment began with `mark` in it, and those of the `groups` but their leaders; how
# many.
def kill_kin(mark: bytes, groups: Sequence[int] = ()) -> int: ...

# Whether the orphans of this process's descendants become its children from now on; False: not to be had here.
def adopt_orphans(wanted: bool) -> bool: ...
