# SPDX-License-Identifier: BSD-3-Clause
"""The covey protocol, version 4.

Why: every link between two parts of covey (client and broker, broker and node, node and slot)
speaks these messages and no others. One end *asks*, the other *does*; who dialled whom does not
matter. `docs/reference/protocol.md` is generated from this page.

A message is one or more ZeroMQ frames. The first opens with a Header, followed by `count`
records of the header's kind, back to back, without padding. All numbers are little-endian.
A number, once given here, keeps its meaning for ever; new meanings get new numbers.

May not know: sockets, pickles, Python objects. A parcel is bytes from end to end.
Guarantees: `wire_check` accepts a message only if every record of it lies inside its frames,
so whatever walks an accepted message needs no further bounds check.
"""
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

# MAGIC is "CVEY" as the bytes stand on the wire. A peer of another VERSION is refused by name.
cdef enum:
    MAGIC = 0x59455643
    VERSION = 4

# Limits: what a receiver must accept and a sender must not exceed.
cdef enum:
    MAX_RECORDS = 4096          # records in one message
    MAX_EXTRA = 65535           # extra frames behind the first one
    MAX_CAPACITY = 16777216     # tasks that a doer may say it runs at once
    MAX_NAME = 255              # bytes of a host name or a refusal's reason
    MAX_TEXT = 65536            # bytes of a question or an answer
    MAX_QUERIES = 8             # questions of one asker without an answer; more are not heard
    BATCH_BYTES = 65536         # a sender closes a batch of small records near this size
    NO_FUNCTION = 0             # function numbers start at 1
    LARGE_BYTES = 1048576       # a larger message travels between machines in pieces
    PIECE_BYTES = 262144        # of at most this size
    FRAME_BYTES = 4194304       # a connection that brings a larger one is cut

# Kind: what a message's records are. Below 16 either end may send it; 16 to 31 go from asker
# to doer; 32 to 47 go from doer to asker.
cdef enum Kind:
    HELLO = 1                   # first message of a dialling end: who I am
    WELCOME = 2                 # answer to HELLO: who you are here, and your credit
    REFUSE = 3                  # answer to HELLO: why not; the link ends
    BYE = 4                     # I leave; what you gave me and I did not finish is yours again
    BEAT = 5                    # I live; no records
    PIECES = 6                  # of a large message: the next bytes of its frames, behind; the first of its messages has a
                                # PieceRecord for each of them, the others none. What they make is read as if it had come
                                # itself; other messages may come in between, but no second one in pieces
    QUERY = 7                   # what people want to know or to have done; only an asker may ask, a doer is not heard
    ANSWER = 8                  # to a QUERY, with its serial number
    NOTE = 9                    # between a task that runs and who asked for it; to one that runs nowhere it is dropped,
                                # so the task is the first to write
    TAKEN = 10                  # of your PIECES I have so many bytes more
    FUNCTION = 16               # a function's number on this link, its digest and its body
    FORGET = 17                 # that number will not be used again
    TASKS = 18                  # do these
    CANCEL = 19                 # the outcome of these is no longer wanted
    RETRACT = 20                # give these back unless they have started
    STOP = 21                   # finish what runs, then leave; no records
    OUTCOMES = 32               # these are done
    STARTED = 33                # these run now (sent only for tasks that take long)
    RETRACTED = 34              # answer to RETRACT
    OUTPUT = 35                 # what a task printed or logged
    CREDIT = 36                 # how much I can do for you, from now on
    LEAVING = 37                # I want to leave: take back what waits, give me no more, and say STOP when you have all;
                                # no records
    HELD = 38                   # these tasks, which an earlier link brought, run here or have been done here: who asks
                                # again gets that, not another run

# Flag of a Header.
cdef enum Flag:
    EXTRA = 1                   # one record (of PIECES: any number), and the frames behind the first belong to it

# Role in HELLO.
cdef enum Role:
    ASKER = 1                   # the sender will ask
    DOER = 2                    # the sender will do

# Resource: what kind of place a doer has. What a task needs is a mask of them, 1 << kind each.
# An array of one each is indexed by it.
cdef enum:
    CPU = 0                     # a CPU slot of a machine that offers no GPU
    GPU = 1                     # a slot with a GPU
    CPU_BESIDE = 2              # a CPU slot of a machine that offers GPUs as well
    JOURNAL = 3                 # keeps calls on disk and runs none; what stands before it runs calls
    RESOURCES = 4               # how many there are; not a resource

# Needs in common use.
cdef enum Needs:
    NEEDS_CPU = 5               # any CPU slot
    NEEDS_GPU = 2               # a GPU slot and nothing else
    NEEDS_GPU_FIRST = 3         # a GPU slot on a machine that has one, else a CPU slot
    NEEDS_ANY = 7               # whatever runs calls
    NEEDS_JOURNAL = 8           # a journal; nothing else will do beside it
    NEEDS_LAST = 8              # the largest mask; not a need of its own

# Share: what a task takes of a GPU is counted in these; 0 stands for all of one.
cdef enum:
    WHOLE_SHARE = 10000

# TaskFlag.
cdef enum TaskFlag:
    SPLITTABLE = 1              # a bundle of calls: hand it back as BROKEN at its first crash
    ONCE = 2                    # it must not begin twice: where it may have begun and is lost, it ends as MAYBE_RAN
    ATTENDED = 4                # it waits for notes of its asker: when that one's link ends, nobody wants it any more

# CancelFlag.
cdef enum CancelFlag:
    FORCE = 1                   # even if it runs: the slot under it is killed and replaced

# Flag of an outcome.
cdef enum OutcomeFlag:
    FINAL = 1                   # of an ERROR: it is not to be tried again, however many retries are left

# Status of an outcome: how the task ended. Behind a tab, a line an attempt may say how many bytes its slot had at most. In
# it a vertical tab stands before each line that is to be shown below it: what the slot wrote to stderr last.
cdef enum Status:
    VALUE = 1                   # the payload is the value
    ERROR = 2                   # the payload is the user's exception
    CANCELLED = 3               # by CANCEL; no payload
    POISONED = 4                # too many slots died under it; payload: a UTF-8 line an attempt
    TIMED_OUT = 5               # it ran longer than it was allowed; payload: a UTF-8 line
    LOST = 6                    # too many machines were lost under it; payload: a UTF-8 line an attempt
    BROKEN = 7                  # a SPLITTABLE task whose slot died; payload: a UTF-8 line an attempt
    REFUSED = 8                 # no doer may take it; payload: a UTF-8 reason
    MAYBE_RAN = 9               # it was to run once, and who may have begun it is gone; payload: a UTF-8 line an attempt
    OUT_OF_MEMORY = 10          # memory ran out under it too often; payload: a UTF-8 line an attempt
    LAST_STATUS = 10

# Stream in OUTPUT.
cdef enum Stream:
    STDOUT = 1
    STDERR = 2
    LOG = 3                     # a log record, sealed by the codec

# Reason of a REFUSE, a BYE or a credit of nothing.
cdef enum Reason:
    PLANNED = 0                 # nothing is wrong: a slot retires, a client closes
    BAD_VERSION = 1
    BAD_PYTHON = 2              # the two Pythons cannot read each other's functions
    BAD_MESSAGE = 3
    BAD_ROLE = 4
    SETUP_FAILED = 5            # the slot's initializer raised; a sealed error follows as extra frame
    SHUTTING_DOWN = 6
    BAD_NAME = 7                # another node of this name is here
    NOT_ALLOWED = 8             # the key you came with does not open this role
    WHO_ARE_YOU = 9             # a link that never said HELLO; dial again

# What `wire_check` finds wrong. Negative, so that it cannot be mistaken for a kind.
cdef enum Fault:
    TOO_SHORT = -1              # shorter than its header or its records
    NOT_COVEY = -2              # wrong magic
    OTHER_VERSION = -3
    UNKNOWN_KIND = -4
    TOO_MANY = -5               # over MAX_RECORDS or MAX_EXTRA
    TRAILING = -6               # bytes left behind the last record
    STRAY_FRAMES = -7           # extra frames without EXTRA, or EXTRA with other than one record
    BAD_FIELD = -8              # a field holds a value that this page does not give

cdef packed struct Header:      # opens every message
    uint32_t magic
    uint8_t version
    uint8_t kind
    uint16_t flags
    uint32_t count              # of records: one or more; none where a kind has none; of PIECES any number
    uint32_t spare              # 0

cdef packed struct HelloRecord:
    uint8_t role
    uint8_t relays              # 1: a broker or a node, which hands on what it gets; 0: a client or a slot itself
    uint16_t python             # major << 8 | minor
    uint32_t pid
    uint32_t number             # of a slot, as its node numbered it; else 0
    int32_t device              # of a slot: its node's number for its GPU; else -1
    uint32_t capacity[RESOURCES]    # tasks of each kind that a doer runs at once; of a loop's GPUs: whole ones
    uint32_t window             # tasks of each kind that it accepts unfinished, running ones included
    uint64_t session            # of a loop that asks: by it alone it gets again what an earlier link of it brought; 0: nothing
    uint32_t length             # of the name that follows, UTF-8

cdef packed struct WelcomeRecord:
    uint32_t peer               # what the sender calls the receiver; for logs only
    uint32_t tasks              # credit: tasks an asker may have unfinished
    uint64_t bytes              # credit: bytes of parcels it may have unfinished; all bits set: as many as it likes
    uint32_t beat_ms            # a doer that is silent for longer may be given up
    uint32_t pid
    uint16_t python
    uint16_t spare              # 0
    uint32_t capacity[RESOURCES]    # tasks of each kind that are run at once here, now
    uint32_t window
    uint32_t length             # of the sender's name that follows, UTF-8

cdef packed struct RefuseRecord:    # also the record of BYE
    uint32_t reason
    uint32_t length             # of the UTF-8 sentence that follows

cdef packed struct QueryRecord:     # also the record of ANSWER
    uint32_t serial             # chosen by who asks
    uint32_t length             # of the text that follows, UTF-8

cdef packed struct FunctionRecord:
    uint32_t number
    uint32_t length             # of the body that follows
    uint8_t digest[16]

cdef packed struct ForgetRecord:
    uint32_t number

cdef packed struct TaskRecord:
    uint64_t ticket             # the asker's name for it, never 0; low 32 bits should be dense
    uint32_t function
    uint32_t length             # of the parcel that follows
    int16_t priority            # higher first, among the tasks of one asker
    uint8_t needs               # mask of the kinds of places that will do
    uint8_t flags
    uint8_t retries             # times an ERROR is tried again before it is handed on
    uint8_t crashes             # slots that died under it before
    uint8_t attempts            # how often it was given out before, as far as it may have begun; above 254: 254
    uint16_t share              # of a GPU, in 1 / WHOLE_SHARE; 0: all of it
    uint32_t timeout_ms         # 0: none
    uint32_t retry_wait_ms      # how long at most it rests before its first retry, twice as long before the next; 0: not at all
    uint64_t name               # the same on all links, whatever happens to them; 0: the next loop gives it one

cdef packed struct CancelRecord:
    uint64_t ticket
    uint32_t flags

cdef packed struct TicketRecord:    # of RETRACT and STARTED
    uint64_t ticket

cdef packed struct HeldRecord:
    uint64_t name

cdef packed struct RetractedRecord:
    uint64_t ticket
    uint32_t given_back         # 1: yours again; 0: it runs or has run here

cdef packed struct OutcomeRecord:
    uint64_t ticket
    uint32_t length             # of the payload that follows
    uint32_t run_us             # microseconds it ran
    uint8_t status
    uint8_t attempt             # which attempt this was, from 1, those of all brokers above included
    uint16_t flags

cdef packed struct OutputRecord:
    uint64_t ticket
    uint16_t stream
    uint16_t host               # so many bytes of the text, its first, name the machine; 0: it is the asker's own
    uint32_t length             # of the text that follows, UTF-8

cdef packed struct NoteRecord:
    uint64_t ticket
    uint32_t length             # of the text that follows; what it says is theirs alone

cdef packed struct CreditRecord:
    uint32_t tasks              # as in WELCOME
    uint32_t window
    uint64_t bytes
    uint32_t capacity[RESOURCES]

cdef packed struct PieceRecord:
    uint64_t size               # of the frame

cdef packed struct TakenRecord:
    uint64_t bytes

# The parser. Returns the kind, or a Fault.
cdef int wire_check(const unsigned char* data, size_t size, size_t extra_frames) noexcept nogil
# The size of a record's fixed part and, through `length`, of its variable part.
cdef size_t wire_record_size(int kind, const unsigned char* record, uint32_t* length) noexcept nogil
# A filled header, ready for its records.
cdef Header wire_header(int kind, uint32_t count, int flags) noexcept nogil
