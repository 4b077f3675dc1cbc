# SPDX-License-Identifier: BSD-3-Clause
"""Tags: exact types in, the same out; anything else declined; arbitrary bytes refused."""
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.codec import values
from covey.errors import NotPicklable
from covey.testing import shelf

ARGS = values.FORMS["ARGS"]

atoms = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary(max_size=40)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
)
taken = st.recursive(atoms, lambda inner: st.lists(inner, max_size=5).map(tuple), max_leaves=12)
plain = st.recursive(
    atoms | st.integers() | st.complex_numbers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
    | st.lists(inner, max_size=4).map(tuple) | st.frozensets(st.integers(), max_size=4),
    max_leaves=20,
)


def depth(value: object) -> int:
    return 1 + max(map(depth, value), default=0) if type(value) is tuple else 0


def same(one: Any, other: Any) -> bool:
    """Equal, of the same exact types all the way down, NaN and negative zero included."""
    if type(one) is not type(other):
        return False
    if type(one) is float:
        return struct.pack("d", one) == struct.pack("d", other)
    if type(one) is complex:
        return same(one.real, other.real) and same(one.imag, other.imag)
    if type(one) in (tuple, list):
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is dict:
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    return bool(one == other)


@given(taken)
def test_what_is_encoded_comes_back_exactly(value: object) -> None:
    data = values.encode(value)
    if depth(value) > 4:
        assert data is None
    else:
        assert data is not None
        assert same(values.decode(data), value)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_value_or_valueerror(data: bytes) -> None:
    try:
        value = values.decode(data)
    except ValueError:
        return
    # A longer form of a number is read, too; what is written again reads the same.
    again = values.encode(value)
    assert again is not None
    assert same(values.decode(again), value)


@given(taken, st.data())
def test_cut_and_damaged_bytes_never_crash(value: object, data: st.DataObject) -> None:
    whole = values.encode(value) or b"\0"
    for cut in range(len(whole)):
        with pytest.raises(ValueError):
            values.decode(whole[:cut])
    with pytest.raises(ValueError):
        values.decode(whole + b"\0")
    damaged = bytearray(whole)
    damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        values.decode(damaged)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "value",
    [2**63, "\ud800", shelf.Colour.RED, shelf.MyInt(1), shelf.MyStr("a"), shelf.MyFloat(1.0), shelf.Point(1, 2),
     shelf.MyTuple((1,)), (1, [2]), tuple(range(17)), ((((1,),),),), [], {}, bytearray(b"a"), 1j, np.float64(1),
     b"x" * 65537, ("x" * 40_000, "y" * 40_000), object(), ..., int],
    ids=lambda value: repr(value)[:30],
)
def test_what_has_no_tags_is_declined(value: object) -> None:
    if value == ((((1,),),),):
        value = (value,)
    assert values.encode(value) is None


def test_nan_keeps_its_bits() -> None:
    odd = struct.unpack("d", struct.pack("Q", 0x7FF8_0000_DEAD_BEEF))[0]
    assert math.isnan(odd)
    assert struct.pack("d", values.decode(values.encode(odd) or b"")) == struct.pack("d", odd)


@pytest.mark.parametrize(
    "value",
    [None, 1, [1, {"a": (2.5, "x")}], {1: {2: {3}}}, frozenset({b"a"}), 1j, bytearray(3), "\ud800", 10**100,
     np.arange(3), {"x": np.zeros((2, 2), "f4")}, np.float64(2), np.array(1)],
    ids=repr,
)
def test_plain_things_are_seen_as_plain(value: object) -> None:
    assert values.plain(value) == 1


@pytest.mark.parametrize(
    "value",
    [object(), [object()], {"a": len}, {shelf.Colour.RED: 1}, shelf.MyDict(), shelf.Point(1, 2), int,
     np.array([1], object), np.zeros(2, [("a", "O")]), np.ma.masked_array([1]), range(3), [0] * 600,
     shelf.deep_list(17), shelf.recursive_list(), shelf.recursive_dict(), np.dtype("f8")],
    ids=lambda value: repr(value)[:30],
)
def test_anything_else_is_left_to_the_careful_pickler(value: object) -> None:
    assert values.plain(value) == 0


def test_large_arrays_are_seen() -> None:
    assert values.plain({"a": [np.zeros(2048)]}) == 2
    assert values.plain(np.zeros(2047)) == 1
    assert values.plain(np.zeros((100, 100))[:, ::2]) == 0


@given(plain)
def test_parcels_come_back_exactly(value: object) -> None:
    data, buffers = values.seal(ARGS, (value,))
    assert not buffers
    assert same(values.unseal(data), (value,))


@pytest.mark.parametrize("value", shelf.ODD_VALUES.values(), ids=shelf.ODD_VALUES)
def test_odd_values_keep_value_and_type(value: object) -> None:
    data, buffers = values.seal(ARGS, (value,))
    args: Any = values.unseal(data, buffers or None)
    back = args[0]
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_the_form_byte_tells_the_way() -> None:
    forms = values.FORMS
    assert values.seal(ARGS, (1, "a"))[0][0] == forms["VALUES"]
    assert values.seal(ARGS, ([1],))[0][0] == forms["ARGS"]
    assert values.seal(ARGS, (object(),))[0][0] == forms["ARGS"]
    assert values.seal(forms["CALL"], ((1,), {"k": 2}))[0][0] == forms["CALL"]
    assert values.seal(forms["ITEMS"], [1, 2])[0][0] == forms["ITEMS"]


@given(st.binary(min_size=1, max_size=60).filter(lambda data: (data[0] != 1 and data[0] > 6) or data[0] == 0))
def test_unknown_forms_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        values.unseal(data)
    with pytest.raises(ValueError):
        values.unseal(b"")


def test_errors_name_the_argument_if_the_function_is_named() -> None:
    with pytest.raises(NotPicklable, match=r"^argument 2 of f\(\) cannot be sent: .*lock"):
        values.seal(ARGS, (1, shelf.UNPICKLABLE["lock"]), "f")
    with pytest.raises(TypeError, match="lock"):
        values.seal(ARGS, (1, shelf.UNPICKLABLE["lock"]))
