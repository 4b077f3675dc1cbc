# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the command share."""
from collections.abc import Iterator
from pathlib import Path

import pytest

from laboratory import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A home without processes in it; what a test starts there is ended."""
    made = Lab(tmp_path)
    yield made
    made.close()
