# SPDX-License-Identifier: BSD-3-Clause
"""What a client asks of a journal, and how it is answered.

A request is a task that needs a journal. The body of its function is the word, its parcel is

    length of the facts (4 bytes) | facts, JSON | calls of `keep`

    open      job, session                  make the job, and speak for it from now on
    attach    job, session                  speak for a job that is there
    learn     job, digest                   the body of a function: frames behind the parcel
    keep      job, floor, digests, manners  these calls; one whose buffers are frames behind the parcel comes alone
    fetch     job, session, life, after     outcomes after that serial number of that life of the journal, as they came
    follow    job, session, index           outcomes of the calls from that index on, in order
    forget    job, floor, ranges, force     these calls are not wanted any more: acknowledged, or cancelled; by force:
                                            even if they run
    close     job, session                  this one speaks for it no more; if nothing is kept of it, it is over

`fetch` and `follow` are answered when there is something, or after some seconds, with nothing. Only who spoke for the
job last may ask for outcomes.

May not know: sockets, tables. Guarantees: what a client sends is read as JSON and numbers alone, and what is none of
that is a ValueError; answers are pickled here, and nothing is ever unpickled.
"""
from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

__all__ = ["WORDS", "KeptCall", "answer", "calls_of", "read_request", "request", "told"]

WORDS = ("open", "attach", "learn", "keep", "fetch", "follow", "forget", "close")
_LENGTH = struct.Struct("<I")
_CALL = struct.Struct("<QHHI")
# The codec's form byte of a pickled value; the journal has no codec.
_PICKLED = b"\2"
# Frames that are smaller travel inside the answer.
_OUT_OF_BAND = 1 << 16
_LONGEST_ID = 64


class KeptCall(NamedTuple):
    """A call in a `keep`: its index, places in its lists of digests and manners, and the parcel."""

    at: int
    digest: int
    manner: int
    parcel: bytes


def request(facts: dict[str, Any], calls: Iterable[KeptCall] = ()) -> bytes:
    """A request's parcel.

    >>> read_request(request({"job": "j"}))
    ({'job': 'j'}, b'')
    """
    text = json.dumps(facts).encode()
    packed = (part for call in calls for part in (_CALL.pack(*call[:3], len(call.parcel)), call.parcel))
    return b"".join((_LENGTH.pack(len(text)), text, *packed))


def read_request(parcel: bytes) -> tuple[dict[str, Any], bytes]:
    """Its facts, and the calls behind them; ValueError for what is no request."""
    if len(parcel) < _LENGTH.size:
        raise ValueError("a request is shorter than its length")
    end = _LENGTH.size + _LENGTH.unpack_from(parcel)[0]
    facts = json.loads(parcel[_LENGTH.size:end])
    if not isinstance(facts, dict) or end > len(parcel):
        raise ValueError("a request has no facts")
    job = facts.get("job")
    if not isinstance(job, str) or not 0 < len(job) <= _LONGEST_ID:
        raise ValueError("a request names no job")
    return facts, parcel[end:]


def calls_of(data: bytes) -> list[KeptCall]:
    """The calls of a `keep`; ValueError for what is none.

    >>> calls_of(b"1")
    Traceback (most recent call last):
        ...
    ValueError: a call ends before its end
    """
    at, found = 0, []
    while at < len(data):
        if len(data) - at < _CALL.size:
            raise ValueError("a call ends before its end")
        index, digest, manner, size = _CALL.unpack_from(data, at)
        at += _CALL.size
        found.append(KeptCall(index, digest, manner, data[at:at + size]))
        at += size
    if at != len(data):
        raise ValueError("a call ends before its end")
    return found


def answer(value: object) -> tuple[bytes, list[Any]]:
    """The payload of an answer, as a client's codec opens it, and its large frames."""
    frames: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, 5, buffer_callback=frames.append)
    return _PICKLED + data, [frame.raw() for frame in frames]


def told(frames: Sequence[bytes]) -> list[Any]:
    """Frames as they stand in an answer."""
    return [pickle.PickleBuffer(frame) if len(frame) > _OUT_OF_BAND else frame for frame in frames]
