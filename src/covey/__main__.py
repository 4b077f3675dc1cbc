# SPDX-License-Identifier: BSD-3-Clause
"""`python -m covey`, for where the command `covey` is not on the path. Guarantees: it is the same command."""
import sys

from covey.terminal.main import main

if __name__ == "__main__":
    sys.exit(main())
