# SPDX-License-Identifier: BSD-3-Clause
"""The protocol as a table of messages and their exact bytes, read both ways, and the parser against what is wrong.

The bytes are written out by hand from docs/reference/protocol.md: a number that changed its meaning fails here.
"""
import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.wire import protocol
from covey.wire.protocol import FAULTS, KINDS, check, message, split

EXTRA = 1
HELLO = "<BBHIIiIIIIIQI"


@dataclass(frozen=True, slots=True)
class Case:
    """A message: its kind, its records as (fixed part, variable part), and what stands on the wire."""

    kind: str
    records: list[tuple[bytes, bytes]]
    wire: str
    flags: int = 0
    extra_frames: int = 0


def head(kind: str, count: str, flags: str = "0000") -> str:
    return f"43564559 04 {kind} {flags} {count} 00000000 "


# fmt: off
TABLE = [
    Case("HELLO", [(struct.pack(HELLO, 2, 0, 0x030B, 77, 5, -1, 1, 0, 0, 0, 1024, 0, 3), b"box")],
         head("01", "01000000")
         + "02 00 0b03 4d000000 05000000 ffffffff 01000000 00000000 00000000 00000000 00040000 0000000000000000"
         + "03000000 626f78"),
    Case("HELLO", [(struct.pack(HELLO, 2, 1, 0x030B, 77, 0, -1, 0, 4, 60, 0, 5000, 0xFEDCBA9876543210, 1), b"n")],
         head("01", "01000000")
         + "02 01 0b03 4d000000 00000000 ffffffff 00000000 04000000 3c000000 00000000 88130000 1032547698badcfe"
         + "01000000 6e"),
    Case("HELLO", [(struct.pack(HELLO, 1, 0, 0x030D, 9, 0, -1, 0, 0, 0, 0, 0, 0, 0), b"")],
         head("01", "01000000")
         + "01 00 0d03 09000000 00000000 ffffffff 00000000 00000000 00000000 00000000 00000000 0000000000000000"
         + "00000000"),
    Case("WELCOME",
         [(struct.pack("<IIQIIHHIIIIII", 3, 131072, 1 << 28, 15000, 7, 0x030B, 0, 2, 1, 0, 0, 90, 3), b"lab")],
         head("02", "01000000") + "03000000 00000200 0000001000000000 983a0000 07000000 0b03 0000"
         + "02000000 01000000 00000000 00000000 5a000000 03000000 6c6162"),
    Case("REFUSE", [(struct.pack("<II", 1, 2), b"no")], head("03", "01000000") + "01000000 02000000 6e6f"),
    Case("BYE", [(struct.pack("<II", 0, 0), b"")], head("04", "01000000") + "00000000 00000000"),
    Case("BYE", [(struct.pack("<II", 5, 0), b"")], head("04", "01000000", "0100") + "05000000 00000000", EXTRA, 1),
    Case("BEAT", [], head("05", "00000000")),
    Case("PIECES", [(struct.pack("<Q", 1 << 20), b""), (struct.pack("<Q", 3 << 20), b"")],
         head("06", "02000000", "0100") + "0000100000000000 0000300000000000", EXTRA, 4),
    Case("PIECES", [], head("06", "00000000", "0100"), EXTRA, 2),
    Case("TAKEN", [(struct.pack("<Q", 1 << 18), b"")], head("0a", "01000000") + "0000040000000000"),
    Case("QUERY", [(struct.pack("<II", 5, 6), b"status")], head("07", "01000000") + "05000000 06000000 737461747573"),
    Case("ANSWER", [(struct.pack("<II", 5, 2), b"{}")], head("08", "01000000") + "05000000 02000000 7b7d"),
    Case("NOTE", [(struct.pack("<QI", 1, 2), b"go")], head("09", "01000000") + "0100000000000000 02000000 676f"),
    Case("FUNCTION", [(struct.pack("<II16s", 1, 4, bytes(range(16))), b"body")],
         head("10", "01000000") + "01000000 04000000 000102030405060708090a0b0c0d0e0f 626f6479"),
    Case("FORGET", [(struct.pack("<I", 7), b""), (struct.pack("<I", 8), b"")],
         head("11", "02000000") + "07000000 08000000"),
    Case("TASKS", [(struct.pack("<QIIhBBBBBHIIQ", 1, 1, 2, -3, 5, 1, 2, 1, 3, 0, 5000, 750, 77), b"xy"),
                   (struct.pack("<QIIhBBBBBHIIQ", 2, 1, 0, 0, 2, 0, 0, 0, 0, 2500, 0, 0, 0), b"")],
         head("12", "02000000")
         + "0100000000000000 01000000 02000000 fdff 05 01 02 01 03 0000 88130000 ee020000 4d00000000000000 7879"
         + "0200000000000000 01000000 00000000 0000 02 00 00 00 00 c409 00000000 00000000 0000000000000000"),
    Case("TASKS", [(struct.pack("<QIIhBBBBBHIIQ", 1, 1, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0), b"x")],
         head("12", "01000000", "0100")
         + "0100000000000000 01000000 01000000 0000 07 00 00 00 00 0000 00000000 00000000 0000000000000000 78",
         EXTRA, 3),
    Case("CANCEL", [(struct.pack("<QI", 1, 1), b"")], head("13", "01000000") + "0100000000000000 01000000"),
    Case("RETRACT", [(struct.pack("<Q", 1 << 40), b"")], head("14", "01000000") + "0000000000010000"),
    Case("STOP", [], head("15", "00000000")),
    Case("OUTCOMES", [(struct.pack("<QIIBBH", 1, 2, 1500, 1, 1, 0), b"ok")],
         head("20", "01000000") + "0100000000000000 02000000 dc050000 01 01 0000 6f6b"),
    Case("STARTED", [(struct.pack("<Q", 1), b"")], head("21", "01000000") + "0100000000000000"),
    Case("RETRACTED", [(struct.pack("<QI", 1, 1), b"")], head("22", "01000000") + "0100000000000000 01000000"),
    Case("OUTPUT", [(struct.pack("<QHHI", 1, 1, 2, 5), b"h0hi\n")],
         head("23", "01000000") + "0100000000000000 0100 0200 05000000 683068690a"),
    Case("CREDIT", [(struct.pack("<IIQIIII", 10, 40, 1 << 20, 4, 0, 0, 0), b"")],
         head("24", "01000000") + "0a000000 28000000 0000100000000000 04000000 00000000 00000000 00000000"),
    Case("LEAVING", [], head("25", "00000000")),
    Case("HELD", [(struct.pack("<Q", 77), b""), (struct.pack("<Q", 78), b"")],
         head("26", "02000000") + "4d00000000000000 4e00000000000000"),
]
# fmt: on

TOO_SHORT, NOT_COVEY, OTHER_VERSION, UNKNOWN_KIND, TOO_MANY, TRAILING, STRAY_FRAMES, BAD_FIELD = range(-1, -9, -1)


def by_name(case: Case) -> str:
    return case.kind


def of_kind(kind: str) -> Case:
    return next(case for case in TABLE if case.kind == kind)


def wire(kind: str) -> bytearray:
    return bytearray.fromhex(of_kind(kind).wire)


@pytest.mark.parametrize("case", TABLE, ids=by_name)
def test_message_has_these_bytes(case: Case) -> None:
    assert message(KINDS[case.kind], [a + b for a, b in case.records], case.flags) == bytes.fromhex(case.wire)


@pytest.mark.parametrize("case", TABLE, ids=by_name)
def test_these_bytes_are_the_message(case: Case) -> None:
    data = bytes.fromhex(case.wire)
    assert check(data, case.extra_frames) == KINDS[case.kind]
    assert split(data, case.extra_frames) == (KINDS[case.kind], case.records)


@pytest.mark.parametrize("case", TABLE, ids=by_name)
def test_every_shorter_message_is_refused(case: Case) -> None:
    data = bytes.fromhex(case.wire)
    for size in range(len(data)):
        assert check(data[:size], case.extra_frames) == TOO_SHORT


@pytest.mark.parametrize("case", TABLE, ids=by_name)
def test_bytes_behind_the_last_record_are_refused(case: Case) -> None:
    assert check(bytes.fromhex(case.wire) + b"\0", case.extra_frames) == TRAILING


def test_the_table_holds_every_kind() -> None:
    assert {case.kind for case in TABLE} == set(KINDS)


def test_other_magic_and_other_version_are_told_apart() -> None:
    data = wire("BEAT")
    data[0] ^= 1
    assert check(data) == NOT_COVEY
    data = wire("BEAT")
    data[4] = 1
    assert check(data) == OTHER_VERSION


@pytest.mark.parametrize("number", sorted(set(range(256)) - set(KINDS.values())))
def test_unknown_kinds_are_refused(number: int) -> None:
    assert check(message(number, [])) == UNKNOWN_KIND


def test_too_many_records_or_frames_are_refused_before_they_are_walked() -> None:
    assert check(message(KINDS["FORGET"], [struct.pack("<I", 1)] * 4096)) == KINDS["FORGET"]
    assert check(message(KINDS["FORGET"], [struct.pack("<I", 1)] * 4097)) == TOO_MANY
    data = wire("BEAT")
    data[8:12] = b"\xff" * 4
    assert check(data) == TOO_MANY
    assert check(wire("PIECES"), 65536) == TOO_MANY


@pytest.mark.parametrize("kind", sorted({case.kind for case in TABLE if case.records} - {"PIECES"}))
def test_a_message_without_its_records_is_refused(kind: str) -> None:
    """Who reads the only record of a message need not look whether it is there."""
    assert check(message(KINDS[kind], [])) == BAD_FIELD


def test_extra_frames_need_their_flag_and_one_record() -> None:
    assert check(wire("OUTCOMES"), 1) == STRAY_FRAMES
    two = message(KINDS["TASKS"], [a + b for a, b in of_kind("TASKS").records], EXTRA)
    assert check(two, 1) == STRAY_FRAMES
    assert check(message(KINDS["FORGET"], [struct.pack("<I", 1)], EXTRA), 1) == STRAY_FRAMES


@pytest.mark.parametrize("flags", [2, 3, 0x8000])
def test_unknown_flags_are_refused(flags: int) -> None:
    record = struct.pack("<QIIhBBBBBHIIQ", 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)
    assert check(message(KINDS["TASKS"], [record], flags)) == BAD_FIELD


# What later code would use as an index or a case. (kind, offset behind the header, bytes that the page does not give)
BAD = [
    ("HELLO", 0, b"\0"),                # role
    ("HELLO", 0, b"\3"),
    ("HELLO", 16, b"\0\0\0\0"),         # a slot of no kind
    ("HELLO", 20, b"\1\0\0\0"),         # and one of two
    ("HELLO", 16, b"\1\0\0\x02"),       # a capacity that nobody has
    ("HELLO", 32, b"\0\0\0\0"),         # a window below the capacity
    ("WELCOME", 44, b"\0\0\0\0"),
    ("CREDIT", 4, b"\1\0\0\0"),
    ("TASKS", 0, b"\0"),               # a ticket of 0 is none
    ("TASKS", 8, b"\0\0\0\0"),          # no function
    ("TASKS", 18, b"\0"),               # no place will do
    ("TASKS", 18, b"\x09"),         # a journal and something else
    ("TASKS", 23, b"\x11\x27"),         # more than a whole GPU
    ("FUNCTION", 0, b"\0\0\0\0"),
    ("OUTCOMES", 16, b"\0"),            # status
    ("OUTCOMES", 16, b"\x0b"),
    ("OUTPUT", 8, b"\0\0\0\0"),         # stream
    ("OUTPUT", 8, b"\4\0\0\0"),
    ("OUTPUT", 10, b"\6\0"),            # more of a host than there is text
]


@pytest.mark.parametrize(("kind", "offset", "value"), BAD)
def test_values_that_the_page_does_not_give_are_refused(kind: str, offset: int, value: bytes) -> None:
    data = wire(kind)
    data[16 + offset:16 + offset + len(value)] = value
    assert check(data) == BAD_FIELD


def test_a_name_over_its_limit_is_refused() -> None:
    record = struct.pack(HELLO, 1, 0, 0x030B, 9, 0, -1, 0, 0, 0, 0, 0, 0, 256) + b"x" * 256
    assert check(message(KINDS["HELLO"], [record])) == BAD_FIELD


@pytest.mark.parametrize("kind", ["QUERY", "ANSWER"])
def test_a_text_over_its_limit_is_refused(kind: str) -> None:
    longest = struct.pack("<II", 1, 65536) + b"x" * 65536
    assert check(message(KINDS[kind], [longest])) == KINDS[kind]
    assert check(message(KINDS[kind], [struct.pack("<II", 1, 65537) + b"x" * 65537])) == BAD_FIELD


def test_split_says_what_is_wrong() -> None:
    for data, fault in [(b"", TOO_SHORT), (b"x" * 16, NOT_COVEY), (message(200, []), UNKNOWN_KIND)]:
        with pytest.raises(ValueError, match=FAULTS[fault]):
            split(data)


def test_every_fault_has_one_sentence() -> None:
    assert set(FAULTS) == set(range(-8, 0))
    assert len(set(FAULTS.values())) == len(FAULTS)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_arbitrary_bytes_give_a_kind_or_a_fault(data: bytes, extra_frames: int) -> None:
    found = check(data, extra_frames)
    assert found in FAULTS or found in KINDS.values()


@given(
    st.sampled_from(sorted(KINDS.values())),
    st.integers(0, 5),
    st.integers(0, 3),
    st.integers(0, 2),
    st.binary(max_size=200),
)
def test_arbitrary_bytes_behind_a_good_header(
    kind: int, count: int, flags: int, extra_frames: int, body: bytes
) -> None:
    data = bytearray(message(kind, [body], flags))
    data[8:12] = struct.pack("<I", count)
    found = check(data, extra_frames)
    assert found == kind or found in FAULTS
    if found == kind:
        _, records = split(bytes(data), extra_frames)
        assert len(records) == count
        assert b"".join(a + b for a, b in records) == body


@given(st.sampled_from(TABLE), st.data())
def test_a_good_message_with_some_bytes_changed(case: Case, data: st.DataObject) -> None:
    changed = bytearray.fromhex(case.wire)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    found = check(changed, case.extra_frames)
    if found < 0:
        assert found in FAULTS
    else:
        kind, records = split(bytes(changed), case.extra_frames)
        assert message(kind, [a + b for a, b in records], changed[6])[:4] == b"CVEY"
        assert sum(len(a) + len(b) for a, b in records) == len(changed) - 16


ANY_TASK = st.tuples(st.integers(1, 2**64 - 1), st.integers(1, 2**32 - 1), st.binary(max_size=40))


@given(st.lists(ANY_TASK, min_size=1, max_size=20))
def test_tasks_come_back_as_they_were(tasks: list[tuple[int, int, bytes]]) -> None:
    packed = [(struct.pack("<QIIhBBBBBHIIQ", t, f, len(p), 0, 7, 0, 0, 0, 0, 0, 0, 0, 0), p) for t, f, p in tasks]
    data = message(KINDS["TASKS"], [a + b for a, b in packed])
    assert split(data) == (KINDS["TASKS"], packed)


def test_any_contiguous_buffer_is_looked_at() -> None:
    data = wire("BEAT")
    assert check(memoryview(data)) == check(bytes(data)) == protocol.KINDS["BEAT"]
