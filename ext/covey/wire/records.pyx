# SPDX-License-Identifier: BSD-3-Clause
"""Records of the protocol for an end that is written in Python: its messages taken apart, and put together.

Why compiled: the layout of a record stands in protocol.pxd and nowhere else.

May not know: sockets, what a parcel holds. Guarantees: what takes a message apart is given one that `check` accepted;
a TaskRecord is kept whole, so that fields that nobody here knows of travel with it.
"""
import sys

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from covey.wire.protocol cimport (
    ASKER, DOER, FORCE, JOURNAL, NEEDS_CPU, ONCE, CancelRecord, FunctionRecord, Header, HelloRecord,
    OutcomeRecord, RetractedRecord, TaskRecord, TicketRecord, WelcomeRecord)


def hello(bint asks, uint32_t pid, bytes name not None, uint32_t capacity=0):
    """A HELLO's record: of a client, or of a journal that keeps so many requests at once."""
    cdef HelloRecord record
    memset(&record, 0, sizeof(record))
    record.role = ASKER if asks else DOER
    record.python = <uint16_t> (sys.version_info[0] << 8 | sys.version_info[1])
    record.pid = pid
    record.device = -1
    record.capacity[<int> JOURNAL] = capacity
    record.window = capacity
    record.length = <uint32_t> len(name)
    return (<const char*> &record)[:sizeof(record)] + name


def credit(bytes message not None):
    """What a WELCOME grants: so many tasks, so many bytes of parcels."""
    cdef const WelcomeRecord* record = <const WelcomeRecord*> (PyBytes_AS_STRING(message) + sizeof(Header))
    return record.tasks, record.bytes


def function(uint32_t number, bytes digest not None, bytes body not None):
    """A FUNCTION's record."""
    cdef FunctionRecord record
    record.number = number
    record.length = <uint32_t> len(body)
    if len(digest) != sizeof(record.digest):
        raise ValueError("a digest has 16 bytes")
    memcpy(record.digest, PyBytes_AS_STRING(digest), sizeof(record.digest))
    return (<const char*> &record)[:sizeof(record)] + body


def read_function(bytes message not None):
    """Number, digest and body of a FUNCTION."""
    cdef const FunctionRecord* record = <const FunctionRecord*> (PyBytes_AS_STRING(message) + sizeof(Header))
    cdef const char* body = <const char*> (record + 1)
    return record.number, (<const char*> record.digest)[:sizeof(record.digest)], body[:record.length]


def manner(
        *, int priority=0, int needs=NEEDS_CPU, int flags=0, int retries=0, int share=0, uint32_t timeout_ms=0,
        uint32_t retry_wait_ms=0):
    """How a task is to be treated: a TaskRecord that has no ticket, function and parcel yet."""
    cdef TaskRecord record
    memset(&record, 0, sizeof(record))
    record.priority = <int16_t> priority
    record.needs = <uint8_t> needs
    record.flags = <uint8_t> flags
    record.retries = <uint8_t> retries
    record.share = <uint16_t> share
    record.timeout_ms = timeout_ms
    record.retry_wait_ms = retry_wait_ms
    return (<const char*> &record)[:sizeof(record)]


cdef const TaskRecord* _record_of(bytes manner) except NULL:
    if PyBytes_GET_SIZE(manner) != sizeof(TaskRecord):
        raise ValueError(f"{len(manner)} bytes are no TaskRecord of this version")
    return <const TaskRecord*> PyBytes_AS_STRING(manner)


def read_manner(bytes manner not None):
    """Priority, needs, and whether it must not begin twice; ValueError for what is no `manner`."""
    cdef const TaskRecord* record = _record_of(manner)
    return record.priority, record.needs, record.flags & ONCE != 0


def task(bytes manner not None, uint64_t ticket, uint32_t number, bytes parcel not None, *, uint64_t name=0, int attempts=0):
    """A TASKS record, with its parcel, for a function of that number.

    `name` is the task's on all links, and `attempts` how often it was given out under that name before.
    """
    cdef TaskRecord record
    memcpy(&record, _record_of(manner), sizeof(record))
    record.ticket = ticket
    record.function = number
    record.length = <uint32_t> len(parcel)
    record.name = name
    record.attempts = <uint8_t> attempts
    return (<const char*> &record)[:sizeof(record)] + parcel


def read_tasks(bytes message not None):
    """Ticket, function and parcel of each record of TASKS."""
    cdef const char* at = PyBytes_AS_STRING(message) + sizeof(Header)
    cdef const char* end = PyBytes_AS_STRING(message) + PyBytes_GET_SIZE(message)
    cdef const TaskRecord* record
    cdef list found = []
    while at < end:
        record = <const TaskRecord*> at
        at += sizeof(TaskRecord)
        found.append((record.ticket, record.function, at[:record.length]))
        at += record.length
    return found


def outcome(uint64_t ticket, int status, bytes payload not None, uint32_t run_us=0):
    """An OUTCOMES record."""
    cdef OutcomeRecord record
    memset(&record, 0, sizeof(record))
    record.ticket = ticket
    record.length = <uint32_t> len(payload)
    record.run_us = run_us
    record.status = <uint8_t> status
    record.attempt = 1
    return (<const char*> &record)[:sizeof(record)] + payload


def read_outcomes(bytes message not None):
    """Ticket, status, attempt, microseconds and payload of each record of OUTCOMES."""
    cdef const char* at = PyBytes_AS_STRING(message) + sizeof(Header)
    cdef const char* end = PyBytes_AS_STRING(message) + PyBytes_GET_SIZE(message)
    cdef const OutcomeRecord* record
    cdef list found = []
    while at < end:
        record = <const OutcomeRecord*> at
        at += sizeof(OutcomeRecord)
        found.append((record.ticket, record.status, record.attempt, record.run_us, at[:record.length]))
        at += record.length
    return found


def cancel(uint64_t ticket, bint force=False):
    """A CANCEL's record; `force`: even if it runs."""
    cdef CancelRecord record
    record.ticket = ticket
    record.flags = FORCE if force else 0
    return (<const char*> &record)[:sizeof(record)]


def retracted(uint64_t ticket):
    """The answer to a RETRACT, that it is not given back."""
    cdef RetractedRecord record
    record.ticket = ticket
    record.given_back = 0
    return (<const char*> &record)[:sizeof(record)]


def ticket_of(bytes fixed not None):
    """The ticket of a record of CANCEL or RETRACT, as `split` gives it."""
    return (<const TicketRecord*> PyBytes_AS_STRING(fixed)).ticket
