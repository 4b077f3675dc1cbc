# SPDX-License-Identifier: BSD-3-Clause
"""The shelf keeps what its labels say."""
import pickle

import pytest

from covey.testing import shelf


@pytest.mark.parametrize("name", shelf.UNPICKLABLE)
def test_what_cannot_be_pickled(name: str) -> None:
    with pytest.raises(Exception):      # noqa: B017  of every kind, that is the point
        pickle.dumps(shelf.UNPICKLABLE[name])


@pytest.mark.parametrize("name", shelf.UNLOADABLE)
def test_what_cannot_be_loaded(name: str) -> None:
    data = pickle.dumps(shelf.UNLOADABLE[name])
    with pytest.raises((RuntimeError, ImportError)):
        pickle.loads(data)


def test_each_thing_is_there_once_under_a_name_of_its_own() -> None:
    names = [name for name, _ in shelf.everything()]
    assert len(names) == len(set(names))
    assert {"lock", "fails to load", "keyword only", "surrogate", "masked"} <= set(names)
