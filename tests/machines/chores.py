# SPDX-License-Identifier: BSD-3-Clause
"""What the tests have done on other machines. They are functions in functions: those travel by content, and the tests'
modules are on none of these machines."""

from collections.abc import Callable

import covey


def places(client: covey.Client) -> set[object]:
    """The names of the nodes on which a few calls at once have run."""

    def where() -> object:
        import time

        import covey

        # Long enough that one machine does not take them all.
        time.sleep(0.002)       # work
        found = covey.current()
        return found and found.node

    return {future.result(30) for future in [client.submit(where) for _ in range(8)]}


def marked(folder: str) -> Callable[[int], int]:
    """Gives its argument back, having left a file named as the node in the folder."""

    def mark(number: int) -> int:
        import os
        import time

        import covey

        found = covey.current()
        assert found is not None
        open(os.path.join(folder, str(found.node)), "w").close()
        time.sleep(0.02)        # work
        return number

    return mark
