# SPDX-License-Identifier: BSD-3-Clause
"""A flock that the tests of a module share, and gates that hold tasks."""

from collections.abc import Iterator

import pytest

import covey
from gates import Gate


@pytest.fixture(scope="module")
def client() -> Iterator[covey.Client]:
    with covey.Client(max_cpu=2) as client:
        yield client


@pytest.fixture
def gate(tmp_path) -> Iterator[Gate]:
    gate = Gate(str(tmp_path))
    yield gate
    gate.close()
