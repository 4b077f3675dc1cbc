# SPDX-License-Identifier: BSD-3-Clause
"""Three hosts in namespaces for every test here; skipped where they cannot be made."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts import Lab
from namespaces import Namespaces, NotPermitted


@pytest.fixture(scope="session")
def _spaces() -> Iterator[Namespaces | str]:
    try:
        spaces = Namespaces()
    except NotPermitted as error:
        yield str(error)
        return
    yield spaces
    spaces.close()


@pytest.fixture
def lab(_spaces: Namespaces | str) -> Iterator[Lab]:
    if isinstance(_spaces, str):
        pytest.skip(_spaces)
    # A short name: named pipes stand below it, and a local socket's path has a hundred bytes.
    lab = Lab(_spaces, Path(tempfile.mkdtemp(prefix="lab")))
    try:
        yield lab
    finally:
        lab.close()
