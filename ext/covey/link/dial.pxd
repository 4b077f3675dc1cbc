# SPDX-License-Identifier: BSD-3-Clause
"""A link that this side dials, again and again, until it is hung up.

Why a socket for each connection, and not libzmq's own reconnection: what was meant for a peer's former life must not
reach its new one, and whoever waits must be told when and why a connection ended. So libzmq dials once for each
socket, a monitor tells what became of it, and this file decides when to dial again.

    RESTING ──when──▶ DIALLING ──handshake──▶ OPEN
       ▲                 │ refused, late         │ cut, refused, silent
       └─────────────────┴───────────────────────┘

May not know: messages. Guarantees: nothing here waits; `why` says in a few words why the last try or connection ended.
"""
from libc.stdint cimport uint8_t, uint32_t

cdef enum DialState:
    RESTING = 0
    DIALLING = 1
    OPEN = 2

cdef enum DialNews:
    NOTHING_NEW = 0
    OPENED = 1                      # say HELLO
    ENDED = 2                       # forget who was there

cdef struct CurveKeys:
    bint used                       # else: no encryption, for ipc
    uint8_t server[32]
    uint8_t public[32]
    uint8_t secret[32]

cdef struct Dial:
    char* address                   # owned
    CurveKeys keys
    int role                        # what we are going to be, see the protocol
    void* socket
    void* monitor
    int state
    double when                     # RESTING: of the next try; DIALLING: when this one has taken too long
    double pause                    # before the next try, about
    uint32_t dice                   # so that those who were cut off together do not all come back together
    uint32_t tries                  # since it was last open
    char why[200]

cdef int dial_init(Dial* self, const char* address, int role, const CurveKeys* keys) noexcept nogil
cdef void dial_free(Dial* self) noexcept nogil
# From its next try on it dials this address; -1: no memory. One that was made with an empty address rests until then.
cdef int dial_redirect(Dial* self, const char* address) noexcept nogil
# Looks at what happened and at the time; sockets are made in `context`.
cdef int dial_step(Dial* self, void* context, double now) noexcept nogil
# Ends the connection, to be dialled again after at least `patience` seconds; `why` NULL leaves what was said.
cdef void dial_end(Dial* self, const char* why, double patience, double now) noexcept nogil
# The next event that a monitor tells of, with its value; 0 for none.
cdef int monitor_next(void* monitor, int* value) noexcept nogil
# When it wants to be looked at though nothing happens; infinity: never.
cdef double dial_next_time(const Dial* self) noexcept nogil
