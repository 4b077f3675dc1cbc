# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the journal share."""
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightlab import NightLab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[NightLab]:
    """A home without processes in it; what a test starts there is ended."""
    made = NightLab(tmp_path)
    yield made
    made.close()
