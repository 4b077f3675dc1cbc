# SPDX-License-Identifier: BSD-3-Clause
"""Functions: one number as long as they stay the same, a new one when something is rebound, none when they die."""
import functools
import gc
import hashlib
import logging
import operator
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from covey.codec import functions
from covey.codec.functions import Function, FunctionBook, call_object, callable_name, load_function
from covey.errors import ModuleMissing, NotPicklable
from covey.testing import shelf
from interactive import elsewhere, typed

gone: list[int] = []


@pytest.fixture
def book() -> Iterator[FunctionBook]:
    gone.clear()
    book = FunctionBook(gone.append)
    yield book
    book.clear()


def load(sealed: Function) -> Any:
    assert sealed.body is not None
    return load_function(sealed.body, [bytearray(buffer.raw()) for buffer in sealed.buffers])


def test_a_function_keeps_its_number(book: FunctionBook) -> None:
    square = typed("def square(x): return x * x")["square"]
    first = book.find(square)
    assert book.find(square) is first
    assert book.find(len) is not first
    assert book.find(square) is first
    assert first.name == "square"
    assert len(first.digest) == 16
    assert first.number > 0
    assert load(first)(7) == 49
    assert "square" in repr(first)


def test_the_digest_is_over_body_and_buffers(book: FunctionBook) -> None:
    array = np.arange(10_000.0)
    sealed = book.find(lambda: array[1])
    assert sealed.body is not None
    assert sealed.digest == hashlib.blake2b(sealed.body + array.tobytes(), digest_size=16).digest()
    assert [memoryview(buffer).nbytes for buffer in sealed.buffers] == [80_000]
    assert load(sealed)() == 1.0


REBINDINGS = {
    "global": ("n = 1\ndef f(): return n", "n = 2", 1, 2),
    "global that was missing": ("n = 1\ndef f(): return n if 'm' not in globals() else m", "m = 5", 1, 5),
    "global inside a nested function": ("n = 1\ndef f(): return [(lambda: n)() for _ in 'a'][0]", "n = 2", 1, 2),
    "a helper": ("def g(): return 1\ndef f(): return g()", "def g(): return 2", 1, 2),
    "a helper's global": ("n = 1\ndef g(): return n\ndef f(): return g()", "n = 2", 1, 2),
    "builtin shadowed": ("def f(): return len('a')", "len = lambda x: 9", 1, 9),
    "cell": (("def make():\n    n = 1\n    def f(): return n\n    def put(x):\n        nonlocal n; n = x\n"
              "    return f, put\nf, put = make()"), "put(2)", 1, 2),
    "helper's cell": (("def make():\n    n = 1\n    def g(): return n\n    def put(x):\n        nonlocal n; n = x\n"
                      "    return (lambda: g()), put\nf, put = make()"), "put(2)", 1, 2),
    "defaults": ("def f(x=1): return x", "f.__defaults__ = (2,)", 1, 2),
    "keyword defaults": ("def f(*, x=1): return x", "f.__kwdefaults__ = {'x': 2}", 1, 2),
    "code": ("def f(): return 1", "f.__code__ = (lambda: 2).__code__", 1, 2),
    "method's global": ("n = 1\nclass C:\n    def __new__(cls): return n\nf = C", "n = 2", 1, 2),
}


@pytest.mark.parametrize("what", REBINDINGS)
def test_rebinding_is_noticed(book: FunctionBook, what: str) -> None:
    source, change, before, after = REBINDINGS[what]
    names = typed(source)
    first = book.find(names["f"])
    assert book.find(names["f"]) is first
    if what != "global that was missing" and what != "method's global":
        assert load(first)() == before
    exec(change, names)
    second = book.find(names["f"])
    assert second is not first
    assert book.find(names["f"]) is second
    if what != "global that was missing" and what != "method's global":
        assert load(second)() == after


def test_rebinding_back_gives_an_equal_body_again(book: FunctionBook) -> None:
    names = typed("n = 1\ndef f(): return n")
    first = book.find(names["f"])
    names["n"] = 2
    second = book.find(names["f"])
    names["n"] = 1
    third = book.find(names["f"])
    assert first is third
    assert second is not first


def test_a_value_that_died_cannot_be_mistaken_for_a_new_one_at_its_address(book: FunctionBook) -> None:
    names = typed("def f(): return n")
    for number in range(50):
        names["n"] = float(number)
        assert load(book.find(names["f"]))() == number
        names["n"] = shelf.HoldsLock
        names["n"] = lambda number=number: number + 100
        assert load(book.find(names["f"]))()() == number + 100
        del names["n"]


def test_changes_in_place_count_for_seal_now_only(book: FunctionBook) -> None:
    names = typed("table = {'n': 1}\ndef f(): return table['n']")
    found = book.find(names["f"])
    assert book.seal_now(names["f"]) is found
    names["table"]["n"] = 2
    assert book.find(names["f"]) is found
    sealed = book.seal_now(names["f"])
    assert sealed is not found
    assert load(sealed)() == 2


def test_numbers_are_told_when_functions_die(book: FunctionBook) -> None:
    function = typed("def f(): return f")["f"]      # refers to itself through its globals
    number = book.find(function).number
    del function
    gc.collect()
    assert gone == [number]


def test_a_recursive_closure_is_not_kept_alive(book: FunctionBook) -> None:
    def make() -> Any:
        def fib(n: int) -> int:
            return n if n < 2 else fib(n - 1) + fib(n - 2)
        return fib

    function = make()
    function.__module__ = "__main__"
    watch = weakref.ref(function)
    number = book.find(function).number
    assert load(book.find(function))(10) == 55
    del function
    gc.collect()
    assert watch() is None
    assert gone == [number]


def test_a_function_with_a_new_body_forgets_the_old_number(book: FunctionBook) -> None:
    names = typed("n = 1\ndef f(): return n")
    first = book.find(names["f"]).number
    names["n"] = 2
    book.find(names["f"])
    assert gone == [first]


def test_an_on_forget_that_raises_disturbs_nobody() -> None:
    def refuse(number: int) -> None:
        raise RuntimeError(str(number))

    book = FunctionBook(refuse)
    book.find(lambda: 0)
    book.clear()
    gc.collect()


def test_nothing_is_printed_when_the_interpreter_ends() -> None:
    printed = elsewhere(
        """
        import sys
        sys.stderr = sys.stdout
        from covey.codec.functions import FunctionBook
        book = FunctionBook(lambda number: print("forgot", number))
        kept = lambda: book
        import math
        book.find(math.sin)
        book.seal_now(lambda: 1)
        """
    )
    assert "Exception" not in printed
    assert "Error" not in printed


@pytest.mark.parametrize(
    ("function", "args", "result"),
    [
        (len, ("abc",), 3),
        (np.linalg.inv, (np.eye(2),), np.eye(2)),
        (np.add, (1, 2), 3),
        (str.upper, ("a",), "A"),
        (np.ndarray.sum, (np.ones(3),), 3),
        (dict.fromkeys, ("a",), {"a": None}),
        (int, ("3",), 3),
        (os.path.basename, ("a/b",), "b"),
        (shelf.deep_list, (1,), [[]]),
        (functools.lru_cache(shelf.deep_list), (1,), [[]]),
        (functools.partial(pow, 2), (5,), 32),
        ([1, 2, 1].count, (1,), 2),
        (operator.itemgetter(1), ("ab",), "b"),
        (shelf.MyInt(4).__add__, (1,), 5),
        (typed("class C:\n    def __call__(self, x): return x + 1")["C"](), (1,), 2),
        (typed("class C:\n    def __init__(self): self.n = 3\n    def plus(self, x): return x + self.n")["C"]().plus,
         (1,), 4),
        (typed("class C:\n    def __new__(cls, x): return x + 7")["C"], (1,), 8),
    ],
    ids=lambda value: callable_name(value) if callable(value) else "",
)
def test_whatever_users_have_can_be_called(book: FunctionBook, function: Any, args: Any, result: Any) -> None:
    sealed = book.find(function)
    passed = (function, *args) if sealed is book.caller else args
    assert np.array_equal(load(sealed)(*passed), result)
    assert np.array_equal(load(book.seal_now(function))(*args), result)


def test_callables_with_a_state_are_passed_to_call_object(book: FunctionBook) -> None:
    stateful: tuple[Any, ...] = (functools.partial(len), [].append, shelf.MyInt(1).bit_length, operator.itemgetter(0))
    stateless: tuple[Any, ...] = (len, int, shelf.deep_list, np.sin, np.linalg.inv, dict.fromkeys)
    for function in stateful:
        assert book.find(function) is book.caller
    for function in stateless:
        assert book.find(function) is not book.caller
    assert book.caller.name == "call_object"
    assert call_object(operator.itemgetter(0), "ab") == "a"


def test_seal_now_ships_nothing_twice(book: FunctionBook) -> None:
    part = functools.partial(pow, 2)
    first = book.seal_now(part)
    assert book.seal_now(part) is first
    number = first.number
    del first
    assert not gone
    del part
    assert gone == [number]

    class Holder:
        def method(self) -> int:
            return 1

    holder = Holder()
    number = book.seal_now(holder.method).number
    assert book.seal_now(holder.method).number == number


def test_what_seal_now_made_lives_as_long_as_somebody_holds_it(book: FunctionBook) -> None:
    sealed = book.seal_now(operator.itemgetter(1))      # allows no weak reference
    number = sealed.number
    gc.collect()
    assert not gone
    del sealed
    assert gone == [number]


@pytest.mark.parametrize("thing", [3, None, "f", object()])
def test_what_is_not_callable_is_refused(book: FunctionBook, thing: object) -> None:
    with pytest.raises(TypeError, match="is not callable, and covey was asked to call it"):
        book.find(thing)
    with pytest.raises(TypeError, match="is not callable"):
        book.seal_now(thing)


def test_a_function_that_cannot_travel_says_why(book: FunctionBook) -> None:
    lock = threading.Lock()
    with pytest.raises(NotPicklable, match=r"<lambda> cannot be sent: variable 'lock' is of type lock: cannot pickle"):
        book.find(lambda: lock)
    names = typed("def work(x): return table[x]", table={"a": shelf.HoldsLock()})
    with pytest.raises(NotPicklable, match=r"work cannot be sent: global 'table'\['a'\].lock is of type lock"):
        book.seal_now(names["work"])


def test_names_for_messages() -> None:
    assert callable_name(shelf.deep_list) == "deep_list"
    assert callable_name(functools.partial(functools.partial(shelf.deep_list))) == "deep_list"
    assert callable_name(shelf.HoldsLock) == "HoldsLock"
    assert callable_name(operator.itemgetter(1)) == "itemgetter"


def test_threads_share_one_number(book: FunctionBook) -> None:
    functions_ = [typed(f"def f(): return {number}")["f"] for number in range(20)]
    barrier = threading.Barrier(4)
    seen: list[list[int]] = []

    def look() -> None:
        barrier.wait()
        seen.append([book.find(function).number for function in functions_])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(numbers == seen[0] for numbers in seen)


@pytest.fixture
def own_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scenes change the process; this puts it back."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    place, level = Path.cwd(), logging.getLogger().level
    yield
    os.chdir(place)
    logging.getLogger().setLevel(level)


@pytest.mark.usefixtures("own_place")
def test_the_scene_is_entered_before_the_function_is_loaded(tmp_path: Path) -> None:
    module = tmp_path / "only_there.py"
    module.write_text("def f(x): return x + 1\n")
    printed = elsewhere(
        """
        import os, sys, logging
        os.chdir(data.decode())
        sys.path.insert(0, "")
        logging.getLogger().setLevel(11)
        import only_there
        from covey.codec.functions import FunctionBook
        print(FunctionBook().find(only_there.f).body.hex())
        """,
        str(tmp_path).encode(),
    )
    assert load_function(bytes.fromhex(printed))(1) == 2
    assert sys.path[0] == str(tmp_path)
    assert Path.cwd() == tmp_path
    assert logging.getLogger().level == 11


@pytest.mark.usefixtures("own_place")
def test_a_scene_that_is_not_here_is_no_error(tmp_path: Path) -> None:
    place = Path.cwd()
    functions.enter_scene(((str(tmp_path / "none"), ""), str(tmp_path / "none"), logging.WARNING))
    assert Path.cwd() == place
    assert str(tmp_path / "none") in sys.path
    assert "" not in sys.path[:1]


def test_the_same_function_in_another_directory_is_another_body(
    book: FunctionBook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = book.seal_now(shelf.deep_list)
    assert book.seal_now(shelf.deep_list) is first
    monkeypatch.chdir(tmp_path)
    assert book.seal_now(shelf.deep_list) is not first


def test_a_module_that_the_slot_lacks_is_named(book: FunctionBook, tmp_path: Path) -> None:
    (tmp_path / "mine_alone.py").write_text("def f(x): return x\n")
    printed = elsewhere(
        """
        import sys
        sys.path.insert(0, data.decode())
        import mine_alone
        sys.path.remove(data.decode())
        from covey.codec.functions import FunctionBook
        print(FunctionBook().find(mine_alone.f).body.hex())
        """,
        str(tmp_path).encode(),
    )
    with pytest.raises(ModuleMissing, match="'mine_alone' cannot be imported on ") as caught:
        load_function(bytes.fromhex(printed))
    assert caught.value.name == "mine_alone"
    assert "sys.path" in str(caught.value)
