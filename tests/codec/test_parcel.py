# SPDX-License-Identifier: BSD-3-Clause
"""The careful pickler: by reference or by value, in band or beside, and what it says when it cannot."""
import functools
import io
import logging
import sys
import types
from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
import pytest

from covey.codec import parcel
from covey.errors import ModuleMissing, NotPicklable
from covey.testing import shelf
from interactive import elsewhere, typed


def round_trip(obj: object) -> Any:
    data, buffers = parcel.seal(obj)
    return parcel.unseal(data, [bytearray(buffer.raw()) for buffer in buffers])


@pytest.mark.parametrize("thing", [len, io.StringIO, functools.partial, shelf.deep_list, shelf.Colour, np.sin])
def test_what_a_module_has_is_importable(thing: object) -> None:
    assert parcel.importable(thing)


@pytest.mark.parametrize(
    "thing",
    [lambda: None, typed("def f(): pass")["f"], typed("class C: pass")["C"], types.FunctionType, functools.partial(len),
     types.FunctionType(shelf.deep_list.__code__, {}, "deep_list")],
)
def test_what_no_module_has_is_not_importable(thing: object) -> None:
    assert not parcel.importable(thing)


def test_references_stay_references() -> None:
    data, _ = parcel.seal([shelf.deep_list, shelf.HoldsLock, np.linalg.inv, len])
    assert len(data) < 200
    assert round_trip([shelf.deep_list, np.linalg.inv]) == [shelf.deep_list, np.linalg.inv]


@pytest.fixture
def by_value() -> Iterator[None]:
    cloudpickle.register_pickle_by_value(shelf)
    yield
    cloudpickle.unregister_pickle_by_value(shelf)


@pytest.mark.usefixtures("by_value")
def test_registered_modules_go_by_value() -> None:
    assert not parcel.importable(shelf.deep_list)
    assert round_trip(shelf.deep_list) is not shelf.deep_list
    assert round_trip(shelf.deep_list)(1) == [[]]


def test_main_goes_by_value_into_another_process() -> None:
    names = typed(
        """
        import enum, dataclasses
        class Shade(enum.Enum):
            RED = 1
        @dataclasses.dataclass
        class Box:
            inside: object
            def doubled(self): return helper(self.inside)
        def helper(x): return x * factor
        factor = 2
        thing = [Box(21), Shade.RED, lambda: factor, {"f": helper}]
        """
    )
    data, _ = parcel.seal(names["thing"])
    printed = elsewhere(
        """
        from covey.codec import parcel
        box, shade, function, rest = parcel.unseal(data)
        print(box.doubled(), shade.name, function(), rest["f"](4), type(box).__module__)
        """,
        data,
    )
    assert printed == "42 RED 2 8 __main__\n"


def test_classes_of_main_keep_their_identity() -> None:
    kind = typed("class C:\n    def __init__(self): self.x = 1")["C"]
    back = round_trip({"a": kind(), "kind": kind})
    assert back["kind"] is kind
    assert type(back["a"]) is kind


def test_an_instance_of_a_class_of_main_returns_as_that_class_from_another_process() -> None:
    kind = typed("class C:\n    pass")["C"]
    data, _ = parcel.seal(kind())
    printed = elsewhere("from covey.codec import parcel; print(parcel.seal(parcel.unseal(data))[0].hex())", data)
    assert type(parcel.unseal(bytes.fromhex(printed))) is kind


def test_shared_and_recursive_structures_stay_so() -> None:
    back = round_trip(shelf.recursive_list())
    assert back[0] is back
    back = round_trip(shelf.recursive_dict())
    assert back["me"][0] is back
    inner = [1]
    back = round_trip([inner, inner])
    assert back[0] is back[1]


def test_functions_that_share_globals_still_share_them() -> None:
    names = typed("count = 0\ndef up():\n    global count\n    count += 1\ndef read():\n    return count")
    up, read = round_trip((names["up"], names["read"]))
    up()
    assert read() == 1


@pytest.mark.parametrize("name", shelf.ARRAYS)
def test_arrays(name: str) -> None:
    array = shelf.ARRAYS[name]
    back = round_trip(array)
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert np.array_equal(back, array)
    # A broadcast array is read-only only as long as it is a view; the copy that arrives is nobody else's.
    assert back.flags.writeable or not array.flags.writeable


def test_read_only_arrays_stay_read_only() -> None:
    array = np.arange(10_000)
    array.flags.writeable = False
    assert not round_trip(array).flags.writeable
    assert round_trip(array.copy()).flags.writeable


def test_large_buffers_go_beside_the_pickle_and_small_ones_inside() -> None:
    large, small = np.zeros(parcel.OUT_OF_BAND, "u1"), np.zeros(parcel.OUT_OF_BAND - 1, "u1")
    data, buffers = parcel.seal({"large": large, "small": small})
    assert [memoryview(buffer).nbytes for buffer in buffers] == [parcel.OUT_OF_BAND]
    assert parcel.OUT_OF_BAND < len(data) < parcel.OUT_OF_BAND + 1000
    assert np.shares_memory(np.frombuffer(memoryview(buffers[0]), "u1"), large)
    assert len(parcel.seal_whole(large)) > parcel.OUT_OF_BAND


def test_arrays_are_views_of_the_given_buffers() -> None:
    data, buffers = parcel.seal(np.zeros(4000))
    mine = bytearray(buffers[0].raw())
    array = parcel.unseal(data, [mine])
    array[0] = 1.0
    assert any(mine[:8])


def test_columns_are_copied_once_and_sent_beside() -> None:
    data, buffers = parcel.seal(shelf.ARRAYS["columns"])
    assert len(buffers) == 1
    assert len(data) < 1000


@pytest.mark.parametrize("value", shelf.ODD_VALUES.values(), ids=shelf.ODD_VALUES)
def test_odd_values_keep_value_and_type(value: object) -> None:
    back = round_trip(value)
    assert back == value
    assert type(back) is type(value)


def test_bound_methods_partials_and_cached_functions() -> None:
    names = typed(
        """
        import functools
        class C:
            def __init__(self, n): self.n = n
            def plus(self, x): return self.n + x
        @functools.lru_cache(maxsize=7)
        def cached(x): return x * 2
        part = functools.partial(cached, 4)
        """
    )
    assert round_trip(names["C"](2).plus)(3) == 5
    assert round_trip(names["part"])() == 8
    assert round_trip(names["cached"]).cache_parameters() == {"maxsize": 7, "typed": False}
    assert round_trip(logging.getLogger("a.b")) is logging.getLogger("a.b")


def test_cloudpickle_is_imported_only_for_what_goes_by_value() -> None:
    printed = elsewhere(
        """
        import sys, functools, math, os.path, collections
        from covey.codec import parcel
        for thing in (math.sin, os.path.join, ValueError("x"), functools.partial(len), [range(3)], str.upper, "a".split,
                      collections.OrderedDict(a=1), list(range(1000)), collections.Counter("ab").most_common):
            parcel.unseal(parcel.seal(thing)[0])
        print("cloudpickle" in sys.modules)
        parcel.seal(lambda: 0)
        print("cloudpickle" in sys.modules)
        """
    )
    assert printed.split() == ["False", "True"]


def test_a_missing_module_is_named_with_its_remedy() -> None:
    with pytest.raises(ModuleMissing, match=r"no_such_module_anywhere.*register_pickle_by_value") as caught:
        round_trip(shelf.MissingModule())
    assert caught.value.name == "no_such_module_anywhere"
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_another_version_of_a_module_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = parcel.seal(shelf.deep_list)
    monkeypatch.delattr(shelf, "deep_list")
    with pytest.raises(AttributeError, match="deep_list") as caught:
        parcel.unseal(data)
    assert "not the one that the sender has" in caught.value.__notes__[0]


def test_a_load_that_fails_fails_with_its_own_error() -> None:
    with pytest.raises(RuntimeError, match="does not want"):
        round_trip(shelf.FailsToLoad())


CALLS = [
    (parcel.ARGS, lambda bad: (1, bad), "argument 2 of f() cannot be sent: "),
    (parcel.CALL, lambda bad: ((1, 2, bad), {}), "argument 3 of f() cannot be sent: "),
    (parcel.CALL, lambda bad: ((), {"a": 1, "key": bad}), "argument 'key' of f() cannot be sent: "),
    (parcel.ITEMS, lambda bad: [1, bad], "item 11 of f() cannot be sent: "),
    (parcel.STAR, lambda bad: [(1, 2), (3, bad)], "argument 2 of item 11 of f() cannot be sent: "),
]


@pytest.mark.parametrize("what", shelf.UNPICKLABLE)
@pytest.mark.parametrize(("form", "build", "start"), CALLS)
def test_the_argument_at_fault_is_named(form: int, build: Any, start: str, what: str) -> None:
    with pytest.raises(NotPicklable) as caught:
        parcel.seal_args(form, build(shelf.UNPICKLABLE[what]), "f", 10)
    assert str(caught.value).startswith(start)
    assert caught.value.__cause__ is not None
    assert "leave it out" in str(caught.value)


def test_the_way_to_the_fault_is_told() -> None:
    with pytest.raises(NotPicklable, match=r"\['a'\]\[1\]\.lock is of type lock: cannot pickle '_thread.lock' object"):
        parcel.seal_args(parcel.ARGS, ({"a": (0, shelf.HoldsLock())},), "f")


def test_a_callable_object_at_fault_is_told_by_its_own_name() -> None:
    with pytest.raises(NotPicklable, match=r"the object to call of list.append\(\) cannot be sent: .*lock"):
        parcel.seal_args(parcel.ARGS, ([sys.stdin, shelf.UNPICKLABLE["lock"]].append, 1), "call_object")
    with pytest.raises(NotPicklable, match=r"argument 1 of list.append\(\) cannot"):
        parcel.seal_args(parcel.ARGS, ([].append, shelf.UNPICKLABLE["lock"]), "call_object")


def test_what_can_be_sealed_is_sealed_by_seal_args_too() -> None:
    assert parcel.seal_args(parcel.ARGS, ([1],), "f") == parcel.seal(([1],))
