# SPDX-License-Identifier: BSD-3-Clause
"""Exceptions come home as what they were, with where they were raised; or as a RemoteError that says what they were."""
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.codec.outcome import not_loadable_result, not_picklable_result, open_error, seal_error
from covey.errors import RemoteError, ResultNotLoadable, ResultNotPicklable
from covey.testing import shelf
from interactive import elsewhere, typed


def raised(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def throw(error: BaseException) -> BaseException:
    def inner() -> None:
        raise error

    return raised(inner)


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


SURVIVORS: dict[str, BaseException] = {
    "builtin": ValueError("x"),
    "no arguments": ValueError(),
    "several arguments": ValueError(1, "b", None),
    "key error": KeyError("k"),
    "os error": FileNotFoundError(2, "gone", "/nowhere"),
    "unicode error": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "import error": ImportError("m", name="n", path="p"),
    "stop": StopIteration(5),
    "keyword only": shelf.KeywordOnly(code=4),
    "two arguments": shelf.TwoArguments("m", 5),
    "wraps its message": shelf.WrapsItsMessage("w"),
    "odd os error": shelf.OddSystemError(2, "t", "extra"),
    "of main": typed("class E(Exception): pass")["E"]("m"),
    "fails to print": shelf.FailsToPrint("x"),
    "bad notes": shelf.BadNotes(),
    "group": ExceptionGroup("g", [ValueError(1), KeyError("k")]),
    "own group": shelf.Group("g", [ValueError(1)]),
    "becomes another": shelf.BecomesAnother("me"),
    "base group": BaseExceptionGroup("g", [KeyboardInterrupt(), ExceptionGroup("inner", [OSError(1, "a")])]),
}


@pytest.mark.parametrize("what", SURVIVORS)
def test_the_type_survives(what: str) -> None:
    error = throw(SURVIVORS[what])
    back = open_error(seal_error(error))
    assert type(back) is type(error)
    assert back.args == error.args or isinstance(error, BaseExceptionGroup)
    if what != "fails to print":
        assert str(back) == str(error)
    kept = {key: value for key, value in vars(error).items() if key != "__notes__"}
    assert {key: vars(back)[key] for key in kept} == kept


def test_builtin_fields_survive() -> None:
    back: Any = open_error(seal_error(SURVIVORS["odd os error"]))
    assert (back.errno, back.strerror, back.extra) == (2, "t", "extra")
    back = open_error(seal_error(SURVIVORS["exit"]))
    assert back.code == 3
    back = open_error(seal_error(SURVIVORS["import error"]))
    assert (back.name, back.path) == ("n", "p")


LOST = {
    "lock": (shelf.HoldsLockError(), "HoldsLockError: holds a lock", "cannot pickle '_thread.lock' object"),
    "never loads": (shelf.NeverLoads("once"), "NeverLoads: once", "there is one already"),
    "lock argument": (ValueError(threading.Lock()), "ValueError: <unlocked", "cannot pickle"),
}


@pytest.mark.parametrize("what", LOST)
def test_what_does_not_survive_becomes_a_remote_error(what: str) -> None:
    lost, start, reason = LOST[what]
    error = throw(lost)
    error.add_note("the user's own")
    back = open_error(seal_error(error, "slot 2 (pid 31 on host)", "task f"))
    assert isinstance(back, RemoteError)
    assert start in str(back)
    assert reason in str(back)
    assert "Traceback in slot 2 (pid 31 on host) (most recent call last):" in back.traceback
    assert "in inner\n    raise error" in back.traceback
    assert back.__notes__ == ["the user's own", "task f"]


def test_the_remote_traceback_is_printed_like_python_s_own() -> None:
    def inner() -> None:
        raise ValueError("deep")

    def outer() -> None:
        inner()

    error = raised(outer)
    back = open_error(seal_error(error, note="task 7 on host"))
    text = shown(back)
    for line in shown(error).splitlines():
        assert line in text or set(line) <= set(" ~^")
    assert "^^^" not in text            # columns are not known here: better none than wrong ones
    assert text.endswith("ValueError: deep\ntask 7 on host\n")
    assert "note" not in vars(error)
    assert not hasattr(error, "__notes__")


def test_raising_it_again_shows_both_sides() -> None:
    back = open_error(seal_error(throw(ValueError("x"))))

    def caller() -> None:
        raise back

    names = [frame.name for frame in traceback.extract_tb(raised(caller).__traceback__)]
    assert names == ["raised", "caller", "raised", "inner"]


def test_the_slot_s_own_frames_are_left_out() -> None:
    names = typed("def run(f): f()")
    names["__name__"] = "covey.slot.somewhere"
    error = raised(lambda: names["run"](lambda: 1 / 0))
    while error.__traceback__ and error.__traceback__.tb_frame.f_code.co_name != "run":
        error.__traceback__ = error.__traceback__.tb_next
    back = open_error(seal_error(error))
    assert [frame.name for frame in traceback.extract_tb(back.__traceback__)] == ["<lambda>"]


def test_causes_and_contexts_survive_with_their_tracebacks() -> None:
    def work() -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise shelf.KeywordOnly(code=2)  # noqa: B904  a context is meant
        except shelf.KeywordOnly as second:
            raise ValueError("third") from second

    back = open_error(seal_error(raised(work)))
    cause = back.__cause__
    assert isinstance(cause, shelf.KeywordOnly)
    assert isinstance(cause.__context__, KeyError)
    assert cause.__context__.__traceback__ is not None
    assert cause.__cause__ is None
    assert back.__suppress_context__
    text = shown(back)
    assert text.index("KeyError: 'first'") < text.index("During handling") < text.index("code 2")
    assert text.index("code 2") < text.index("direct cause") < text.index("ValueError: third")


def test_from_none_stays_from_none() -> None:
    def work() -> None:
        try:
            raise KeyError("hidden")
        except KeyError:
            raise ValueError("shown") from None

    back = open_error(seal_error(raised(work)))
    assert back.__suppress_context__
    assert "hidden" not in shown(back)


def test_one_lost_cause_spoils_nothing_else() -> None:
    error = ValueError("outer")
    error.__cause__ = throw(shelf.HoldsLockError())
    back = open_error(seal_error(error))
    assert type(back) is ValueError
    assert isinstance(back.__cause__, RemoteError)
    assert "HoldsLockError" in str(back.__cause__)


def test_groups_keep_their_members_tracebacks_and_causes() -> None:
    member = ValueError("member")
    throw(member)
    member.__cause__ = KeyError("why")
    error = throw(ExceptionGroup("all", [member, shelf.KeywordOnly(code=1), shelf.HoldsLockError()]))
    back = open_error(seal_error(error))
    assert isinstance(back, ExceptionGroup)
    first, second, third = back.exceptions
    assert first.__traceback__ is not None
    assert isinstance(first.__cause__, KeyError)
    assert type(second) is shelf.KeywordOnly
    assert isinstance(third, RemoteError)


def test_chains_may_loop_and_be_long() -> None:
    one, two = ValueError(1), ValueError(2)
    one.__context__, two.__context__ = two, one
    back = open_error(seal_error(one))
    assert back.__context__ is not None
    assert back.__context__.__context__ is back
    error: BaseException = ValueError("last")
    for number in range(5000):
        before, error = error, ValueError(number)
        error.__cause__ = before
    back = open_error(seal_error(error))
    assert back.args == (4999,)
    assert back.__cause__ is not None
    for _ in range(5000):       # so that freeing it does not recurse
        error.__cause__, error = None, error.__cause__ or error


def test_an_endless_recursion_is_cut_in_the_middle() -> None:
    data = seal_error(raised(shelf.endless))
    assert len(data) < 50_000
    back = open_error(data)
    assert type(back) is RecursionError
    assert 100 < len(traceback.extract_tb(back.__traceback__)) < 300


def test_notes_of_the_user_come_first() -> None:
    error = ValueError("x")
    error.add_note("mine")
    assert open_error(seal_error(error, note="covey's")).__notes__ == ["mine", "covey's"]
    assert open_error(seal_error(shelf.BadNotes(), note="covey's")).__notes__ == ["covey's"]
    assert error.__notes__ == ["mine"]


@given(st.binary(max_size=100))
def test_bytes_that_are_no_error_give_an_error(data: bytes) -> None:
    for attempt in (data, b"\7" + data):
        assert isinstance(open_error(attempt), RemoteError)


def test_sealing_never_raises() -> None:
    class Evil(Exception):
        def __reduce__(self) -> Any:
            raise SystemExit("no")

        def __str__(self) -> str:
            raise KeyboardInterrupt

    class Worse(Evil):
        @property
        def __notes__(self) -> Any:  # type: ignore[override]
            raise MemoryError

    assert type(open_error(seal_error(Evil()))).__name__ == "Evil"
    back = open_error(seal_error(Worse()))
    assert isinstance(back, RemoteError)
    assert "Worse" in back.type_name
    assert "MemoryError" in back.reason


def test_an_exception_that_does_not_load_here_is_told_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    data = seal_error(throw(shelf.TwoArguments("m", 1)), "slot 1")
    monkeypatch.delattr(shelf, "TwoArguments")
    back = open_error(data)
    assert isinstance(back, RemoteError)
    assert back.type_name == "covey.testing.shelf.TwoArguments"
    assert back.message == "m"
    assert "Can't get attribute" in back.reason
    assert "in inner" in back.traceback


def test_an_exception_of_main_returns_from_another_process_as_itself() -> None:
    names = typed("class Mine(Exception):\n    def __init__(self, *, a): self.a = a\ndef f():\n    raise Mine(a=1)")
    from covey.codec import parcel

    data, _ = parcel.seal(names["f"])
    text = elsewhere(
        """
        from covey.codec import outcome, parcel
        try:
            parcel.unseal(data)()
        except Exception as error:
            print(outcome.seal_error(error).hex())
        """,
        data,
    )
    back: Any = open_error(bytes.fromhex(text))
    assert type(back) is names["Mine"]
    assert back.a == 1
    assert "in f" in shown(back)


def test_results_that_cannot_be_sent_or_loaded() -> None:
    error = not_picklable_result({"a": shelf.HoldsLock()}, TypeError("cannot"), "work()")
    assert isinstance(error, ResultNotPicklable)
    assert str(error) == ("work() returned a dict that cannot be sent back: ['a'].lock is of type lock: "
                          "cannot pickle '_thread.lock' object; return what it holds instead")
    failed = not_loadable_result(RuntimeError("no"), "work()")
    assert isinstance(failed, ResultNotLoadable)
    assert "the result of work() arrived" in str(failed)
    assert isinstance(failed.__cause__, RuntimeError)


def test_nothing_is_imported_for_errors_before_there_is_one() -> None:
    printed = elsewhere(
        """
        import sys
        import covey.codec.functions, covey.codec.values
        late = {"tblib", "traceback", "cloudpickle", "logging", "numpy", "typing", "covey.errors"}
        print(*sorted(late & set(sys.modules)))
        """
    )
    assert printed == "\n"
