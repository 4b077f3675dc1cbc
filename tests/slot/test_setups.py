# SPDX-License-Identifier: BSD-3-Clause
"""Initializers in a slot: once each, and what becomes of one that raised."""

from collections.abc import Iterator

import numpy as np
import pytest

from covey import slot
from covey.codec.functions import FunctionBook, Setup, load_function
from covey.errors import InitializerFailed
from covey.slot import setups

seen: list[object] = []


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(setups, "_done", {})
    monkeypatch.setattr(slot, "number", 3)
    yield
    seen.clear()


def see(thing: object) -> None:
    seen.append(thing)


def refuse() -> None:
    seen.append("refused")
    raise LookupError("no licence")


def run(setup: Setup) -> None:
    setups.set_up(setup.token, setup.name, setup.data, setup.buffers)


def test_once() -> None:
    setup = Setup(see, ["it"])
    run(setup)
    run(setup)
    assert seen == ["it"]
    run(Setup(see, ["it"]))
    assert seen == ["it", "it"]


def test_what_ran_at_the_start_does_not_run_again() -> None:
    setup = Setup(see, ["it"])
    setups.note(setup.token)
    run(setup)
    assert seen == []


def test_one_that_raises_raises_again_without_running() -> None:
    setup = Setup(refuse, ())
    for _ in range(2):
        with pytest.raises(InitializerFailed, match=r"initializer refuse raised LookupError in slot 3 .*: no licence"):
            run(setup)
    assert seen == ["refused"]


def test_a_body_brings_it_and_its_buffers_before_the_function() -> None:
    book = FunctionBook()
    given, mine = np.arange(5_000), np.ones(6_000)
    book.bring(Setup(see, [given]))
    sealed = book.find(lambda: mine.sum())
    assert len(sealed.buffers) == 2
    assert load_function(sealed.body, sealed.buffers, None, setups.set_up)() == 6_000
    assert np.array_equal(seen[0], given)  # type: ignore[call-overload]
    caller = book.caller
    assert load_function(caller.body, caller.buffers, None, setups.set_up)(len, "abc") == 3
    assert len(seen) == 1


def test_without_one_nothing_is_asked() -> None:
    sealed = FunctionBook().find(see)

    def never(*_: object) -> None:
        raise AssertionError

    load_function(sealed.body, sealed.buffers, None, never)(1)
    assert seen == [1]
