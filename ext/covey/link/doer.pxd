# SPDX-License-Identifier: BSD-3-Clause
"""The doing end of a link, as a slot has it: tasks in, outcomes out, one socket under one lock.

Why: user code may hold the GIL for minutes, and meanwhile heartbeats, finished outcomes, retraction
and cancellation must move. So two threads share the socket: the *worker*, which runs tasks and, while
it has none, receives for itself (one wake-up less a task); and the *attendant*, which stands in while
a task runs. Both go through the lock; nobody takes the GIL while holding it.

May not know: pickles, functions. Guarantees: a finished outcome leaves within about a millisecond
whatever runs next; a task is given back only if it has not started; `mark` names the task that runs,
for whoever finds this process dead.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from cpython.pythread cimport PyThread_type_lock
from covey.link.notes cimport Notes
from covey.link.post cimport Letter, LetterQueue
from covey.link.wake cimport Wake
from covey.wire.bale cimport Bale
from covey.wire.buffer cimport Buffer

cdef struct QueuedTask:
    uint64_t ticket                 # 0: taken back or cancelled
    Bale* bale                      # held
    uint32_t offset                 # of the parcel in its first frame
    uint32_t length
    uint32_t function
    uint16_t share                  # of a GPU, as in TaskRecord
    uint8_t attempts                # before this one

cdef enum:
    TITLE_MAX = 120                 # with the final zero

cdef struct Doer:
    PyThread_type_lock lock
    void* socket                    # NULL: somebody else moves the letters (pyzmq loop)
    Wake worker_wake
    Wake attendant_wake
    int lifeline                    # readable when the node is gone; -1: none
    double beat_every
    double next_beat
    QueuedTask* queue               # a ring
    uint32_t room                   # a power of two
    uint32_t head
    uint32_t length                 # holes included
    bint busy                       # the worker runs a task
    double busy_since
    uint64_t current                # the task that runs; 0: none
    uint8_t attempt                 # which this is at it, from 1
    bint announced                  # STARTED was sent for it
    double idle_since
    double attendant_due            # when it looks again unless it is rung
    bint stopping                   # STOP came, or the link is refused
    bint closed
    uint32_t refusal                # reason of a REFUSE; 0: none
    char refusal_text[256]
    uint64_t* mark                  # where `current` is written for the node to read; never NULL
    char* title                     # the same for the name of its function, of TITLE_MAX bytes; NULL: nobody reads it
    uint64_t own_mark
    char* kin                       # what marks those that tasks have started, see kin.pxd; owned; NULL: nothing does
    Bale** bodies                   # function number → the message its body came in; NULL: taken or unknown
    uint32_t bodies_room
    uint32_t fresh                  # how many bodies wait to be taken
    uint32_t* forgotten             # numbers that FORGET named
    uint32_t forgotten_count
    uint32_t forgotten_room
    Notes notes                     # to tasks that are here
    bint unwanted                   # nobody waits for the current task any more
    Buffer out                      # OUTCOMES not yet a letter
    uint32_t out_count
    double out_since
    LetterQueue letters

cdef int doer_init(Doer* self) noexcept
cdef void doer_free(Doer* self) noexcept
cdef void doer_hello(
    Doer* self, int kind, int32_t device, uint16_t python, uint32_t pid, uint32_t number, uint32_t window,
    const char* host, uint32_t length) noexcept nogil
# The next task: 1 and it is yours (drop its bale); 0: none now; -1: leave. With `wait`, never 0.
cdef int doer_take(Doer* self, QueuedTask* task, bint wait) noexcept nogil
# The outcome of the current task. Frames of `bale` (ownership passes) go behind it; NULL: none.
cdef int doer_put_outcome(
    Doer* self, uint64_t ticket, int status, int flags, uint32_t run_us, const unsigned char* payload, size_t size,
    Bale* bale) noexcept nogil
# What a task wrote. The first `host` bytes of the text name this machine (see OutputRecord).
cdef int doer_put_output(
    Doer* self, uint64_t ticket, int stream, size_t host, const unsigned char* text, size_t size) noexcept nogil
cdef int doer_put_note(Doer* self, const unsigned char* text, size_t size) noexcept nogil
# The next note to the current task, which is the caller's from then on; NULL: none came within `seconds`, or none will
# ever come, because the task is not wanted any more, which `over` says.
cdef Bale* doer_take_note(Doer* self, double seconds, bint* over) noexcept nogil
# Makes what waiting for notes needs: 0, or -1 if the system gives none.
cdef int doer_listen(Doer* self) noexcept
cdef void doer_bye(Doer* self, uint32_t reason, Bale* bale) noexcept nogil
# The attendant's work; returns when the end is closed. Never touches Python.
cdef void doer_attend(Doer* self) noexcept nogil
# The message that brought the body of a function, passed on; NULL: it was taken already.
cdef Bale* doer_take_body(Doer* self, uint32_t function) noexcept nogil
cdef bint doer_next_forgotten(Doer* self, uint32_t* function) noexcept nogil
# A message that came in; ownership passes.
cdef void doer_receive_locked(Doer* self, Bale* bale) noexcept nogil
# Says that the current task runs, if it has for long enough and that was not said.
cdef void doer_announce_locked(Doer* self, double now) noexcept nogil
cdef Letter* doer_next_letter_locked(Doer* self) noexcept nogil
cdef void doer_flush(Doer* self) noexcept nogil
