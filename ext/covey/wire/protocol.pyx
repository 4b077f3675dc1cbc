# SPDX-License-Identifier: BSD-3-Clause
"""The parser of the protocol; protocol.pxd is the page that it enforces."""
from libc.string cimport memcpy

cdef Header wire_header(int kind, uint32_t count, int flags) noexcept nogil:
    cdef Header header
    header.magic = MAGIC
    header.version = VERSION
    header.kind = <uint8_t> kind
    header.flags = <uint16_t> flags
    header.count = count
    header.spare = 0
    return header


cdef size_t wire_record_size(int kind, const unsigned char* record, uint32_t* length) noexcept nogil:
    length[0] = 0
    if kind == TASKS:
        if record != NULL:
            length[0] = (<const TaskRecord*> record).length
        return sizeof(TaskRecord)
    if kind == OUTCOMES:
        if record != NULL:
            length[0] = (<const OutcomeRecord*> record).length
        return sizeof(OutcomeRecord)
    if kind == FUNCTION:
        if record != NULL:
            length[0] = (<const FunctionRecord*> record).length
        return sizeof(FunctionRecord)
    if kind == OUTPUT:
        if record != NULL:
            length[0] = (<const OutputRecord*> record).length
        return sizeof(OutputRecord)
    if kind == HELLO:
        if record != NULL:
            length[0] = (<const HelloRecord*> record).length
        return sizeof(HelloRecord)
    if kind == REFUSE or kind == BYE:
        if record != NULL:
            length[0] = (<const RefuseRecord*> record).length
        return sizeof(RefuseRecord)
    if kind == QUERY or kind == ANSWER:
        if record != NULL:
            length[0] = (<const QueryRecord*> record).length
        return sizeof(QueryRecord)
    if kind == WELCOME:
        if record != NULL:
            length[0] = (<const WelcomeRecord*> record).length
        return sizeof(WelcomeRecord)
    if kind == NOTE:
        if record != NULL:
            length[0] = (<const NoteRecord*> record).length
        return sizeof(NoteRecord)
    if kind == FORGET:
        return sizeof(ForgetRecord)
    if kind == CANCEL:
        return sizeof(CancelRecord)
    if kind == RETRACT or kind == STARTED:
        return sizeof(TicketRecord)
    if kind == RETRACTED:
        return sizeof(RetractedRecord)
    if kind == HELD:
        return sizeof(HeldRecord)
    if kind == CREDIT:
        return sizeof(CreditRecord)
    if kind == PIECES:
        return sizeof(PieceRecord)
    if kind == TAKEN:
        return sizeof(TakenRecord)
    return 0


cdef bint _is_capacity(const void* places, uint32_t window, bint relays) noexcept nogil:
    """A slot has one place or more of one kind; a loop may just now have none of any."""
    cdef uint32_t capacity[RESOURCES]
    cdef int kinds = 0
    cdef int i
    # A record stands at any address, an array of numbers may not.
    memcpy(capacity, places, sizeof(capacity))
    for i in range(RESOURCES):
        kinds += capacity[i] != 0
        if capacity[i] > window or capacity[i] > MAX_CAPACITY:
            return False
    return relays or kinds == 1


cdef int _check_fields(int kind, const unsigned char* record, uint32_t length) noexcept nogil:
    """Values that later code uses as an index or a case must be ones that the page gives."""
    cdef const HelloRecord* hello
    cdef const TaskRecord* task
    if kind == TASKS:
        task = <const TaskRecord*> record
        if task.ticket == 0:
            return BAD_FIELD
        if task.needs == 0 or task.needs > NEEDS_LAST or task.function == NO_FUNCTION or task.share > WHOLE_SHARE:
            return BAD_FIELD
    elif kind == OUTCOMES:
        if (<const OutcomeRecord*> record).status < VALUE or (<const OutcomeRecord*> record).status > LAST_STATUS:
            return BAD_FIELD
    elif kind == FUNCTION:
        if (<const FunctionRecord*> record).number == NO_FUNCTION:
            return BAD_FIELD
    elif kind == OUTPUT:
        if (<const OutputRecord*> record).stream < STDOUT or (<const OutputRecord*> record).stream > LOG:
            return BAD_FIELD
        if (<const OutputRecord*> record).host > min(length, <uint32_t> MAX_NAME):
            return BAD_FIELD
    elif kind == HELLO:
        hello = <const HelloRecord*> record
        if hello.role < ASKER or hello.role > DOER or length > MAX_NAME:
            return BAD_FIELD
        if hello.role == DOER and not _is_capacity(hello.capacity, hello.window, hello.relays != 0):
            return BAD_FIELD
    elif kind == WELCOME:
        if length > MAX_NAME or not _is_capacity(
                (<const WelcomeRecord*> record).capacity, (<const WelcomeRecord*> record).window, True):
            return BAD_FIELD
    elif kind == QUERY or kind == ANSWER:
        if length > MAX_TEXT:
            return BAD_FIELD
    elif kind == CREDIT:
        if not _is_capacity((<const CreditRecord*> record).capacity, (<const CreditRecord*> record).window, True):
            return BAD_FIELD
    return 0


cdef int wire_check(const unsigned char* data, size_t size, size_t extra_frames) noexcept nogil:
    cdef const Header* header = <const Header*> data
    cdef size_t at = sizeof(Header)
    cdef size_t fixed
    cdef uint32_t length
    cdef int kind
    cdef int fault
    if size < sizeof(Header):
        return TOO_SHORT
    if header.magic != MAGIC:
        return NOT_COVEY
    if header.version != VERSION:
        return OTHER_VERSION
    kind = header.kind
    if header.count > MAX_RECORDS or extra_frames > MAX_EXTRA:
        return TOO_MANY
    if header.flags & EXTRA:
        if kind != PIECES and (header.count != 1 or kind not in (FUNCTION, TASKS, OUTCOMES, BYE)):
            return STRAY_FRAMES
    elif extra_frames:
        return STRAY_FRAMES
    if header.flags & ~EXTRA or header.spare:
        return BAD_FIELD
    fixed = wire_record_size(kind, NULL, &length)
    if fixed == 0:
        if kind not in (BEAT, STOP, LEAVING):
            return UNKNOWN_KIND
        if header.count:
            return BAD_FIELD
    elif header.count == 0 and kind != PIECES:
        # Who reads the one record of a message, a client its CREDIT, does not look whether it is there.
        return BAD_FIELD
    for _ in range(header.count):
        if size - at < fixed:
            return TOO_SHORT
        wire_record_size(kind, data + at, &length)
        if size - at - fixed < length:
            return TOO_SHORT
        fault = _check_fields(kind, data + at, length)
        if fault:
            return fault
        at += fixed + length
    if at != size:
        return TRAILING
    return kind


# The Python view of the page, for tests, the reference page and the loop that runs on pyzmq.

PROTOCOL = VERSION

KINDS = {
    "HELLO": HELLO, "WELCOME": WELCOME, "REFUSE": REFUSE, "BYE": BYE, "BEAT": BEAT, "PIECES": PIECES, "TAKEN": TAKEN,
    "QUERY": QUERY, "ANSWER": ANSWER, "NOTE": NOTE,
    "FUNCTION": FUNCTION, "FORGET": FORGET, "TASKS": TASKS, "CANCEL": CANCEL, "RETRACT": RETRACT,
    "STOP": STOP, "OUTCOMES": OUTCOMES, "STARTED": STARTED, "RETRACTED": RETRACTED,
    "OUTPUT": OUTPUT, "CREDIT": CREDIT, "LEAVING": LEAVING, "HELD": HELD,
}

FAULTS = {
    TOO_SHORT: "the message is shorter than its records",
    NOT_COVEY: "this is not a covey message",
    OTHER_VERSION: "the message is of another protocol version",
    UNKNOWN_KIND: "the kind of message is unknown",
    TOO_MANY: "the message has too many records or frames",
    TRAILING: "bytes are left behind the last record",
    STRAY_FRAMES: "the message has frames that no record announces",
    BAD_FIELD: "a field holds a value that the protocol does not give",
}


def check(const unsigned char[::1] data, size_t extra_frames=0):
    """The kind of a well-formed message, or a negative number that `FAULTS` explains.

    >>> check(message(KINDS["BEAT"], []))
    5
    """
    cdef const unsigned char* at = &data[0] if data.shape[0] else NULL
    return wire_check(at, data.shape[0], extra_frames)


def message(int kind, list records, int flags=0):
    """The first frame of a message whose records are given as bytes."""
    cdef Header header = wire_header(kind, len(records), flags)
    return (<const char*> &header)[:sizeof(Header)] + b"".join(records)


def split(bytes data not None, size_t extra_frames=0):
    """The kind and the records of a message, each as (fixed part, variable part)."""
    cdef int kind = check(data, extra_frames)
    if kind < 0:
        raise ValueError(FAULTS[kind])
    cdef const unsigned char* start = data
    cdef size_t at = sizeof(Header)
    cdef size_t fixed
    cdef uint32_t length = 0
    records = []
    while at < <size_t> len(data):
        fixed = wire_record_size(kind, start + at, &length)
        records.append((data[at:at + fixed], data[at + fixed:at + fixed + length]))
        at += fixed + length
    return kind, records
